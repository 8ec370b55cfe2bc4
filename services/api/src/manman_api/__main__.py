"""Starts the control API: `python -m manman_api`."""

from manman import logs, service

from manman_api import app
from manman_api.settings import Settings

if __name__ == "__main__":
    settings = service.read_settings(Settings)
    logs.configure(settings.log_level, settings.log_format, "api")
    service.run(app.main(settings))
