"""Run the host."""

from __future__ import annotations

from manman import logs, service
from manman_host import app
from manman_host.settings import Settings

if __name__ == "__main__":
    settings = service.read_settings(Settings)
    logs.configure(settings.log_level, settings.log_format, "host")
    service.run(app.main(settings))
