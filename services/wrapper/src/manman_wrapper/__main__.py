"""Run one wrapper."""

from __future__ import annotations

from manman import logs, service
from manman_wrapper import app
from manman_wrapper.settings import Settings

if __name__ == "__main__":
    settings = service.read_settings(Settings)
    logs.configure(settings.log_level, settings.log_format, "wrapper")
    service.run(app.main(settings))
