"""`python -m manman_migration upgrade|downgrade|current|check`: one line on stdout, or one on stderr and status 1."""

from __future__ import annotations

import argparse
import sys

from manman.service import read_settings
from manman_migration import app
from manman_migration.settings import Settings


def main() -> int:
    """Run one command; return the process's exit status."""
    parser = argparse.ArgumentParser(prog="manman_migration", description="The database schema of ManMan.")
    parser.add_argument("command", choices=list(app.COMMANDS), help="downgrade drops every table, with its data")
    asked = parser.parse_args()
    try:
        line = app.COMMANDS[asked.command](read_settings(Settings))
    except app.Refused as error:
        sys.stderr.write(f"manman_migration {asked.command}: {error}\n")
        return 1
    sys.stdout.write(f"{line}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
