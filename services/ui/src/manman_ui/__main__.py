"""The web UI's process: `python -m manman_ui`."""

from manman import logs, service
from manman_ui import app
from manman_ui.settings import Settings


def main() -> None:
    """Read the settings, start the log, run until told to stop."""
    settings = service.read_settings(Settings)
    logs.configure(settings.log_level, settings.log_format, "ui")
    service.run(app.main(settings))


if __name__ == "__main__":
    main()
