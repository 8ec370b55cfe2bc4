"""Starts the control API: `python -m manman_api`; or makes a token: `python -m manman_api create-token --help`."""

import sys

import uvloop

from manman import logs, service
from manman_api import app, create_token
from manman_api.settings import Settings

if __name__ == "__main__":
    if sys.argv[1:2] == [create_token.COMMAND]:
        sys.exit(create_token.main(sys.argv[2:]))
    settings = service.read_settings(Settings)
    logs.configure(settings.log_level, settings.log_format, "api")
    service.run(app.main(settings), loop_factory=uvloop.new_event_loop)
