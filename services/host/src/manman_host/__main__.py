"""Runs the host: `python -m manman_host`; or looks whether it could: `python -m manman_host doctor`."""

from __future__ import annotations

import sys

from manman import logs, service
from manman_host import app, doctor
from manman_host.settings import Settings

if __name__ == "__main__":
    if sys.argv[1:2] == [doctor.COMMAND]:
        sys.exit(doctor.main())
    settings = service.read_settings(Settings)
    logs.configure(settings.log_level, settings.log_format, "host")
    service.run(app.main(settings))
