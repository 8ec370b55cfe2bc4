"""Starts the processor: settings, log, then `app.main` until told to stop."""

from __future__ import annotations

import uvloop

from manman import logs, service
from manman_processor import app
from manman_processor.settings import Settings

if __name__ == "__main__":
    settings = service.read_settings(Settings)
    logs.configure(settings.log_level, settings.log_format, "processor")
    service.run(app.main(settings), loop_factory=uvloop.new_event_loop)
