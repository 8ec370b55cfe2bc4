"""`python -m manman_devstack up|down|status|clean|prepare|demo|bench-api|bench-host|bench-processor|chaos|soak`."""

import argparse
import sys

from manman_devstack import command_line


def main() -> int:
    """Run one command; problems that a person can solve are one sentence, not a traceback."""
    parser = argparse.ArgumentParser(prog="manman_devstack", description="The whole platform on this machine.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("up", help="start the platform and leave it running")
    commands.add_parser("down", help="end everything that `up` started")
    commands.add_parser("status", help="show what runs, and where")
    commands.add_parser("clean", help="`down`, and delete databases, images and logs")
    commands.add_parser("prepare", help="install and build what the tests need, so that no test waits for it")
    commands.add_parser("demo", help="play a real game server through the running platform")
    commands.add_parser("bench-api", help="measure what calls of the API cost")
    hosts = commands.add_parser("bench-host", help="measure what sessions cost, one at a time and many at once")
    hosts.add_argument("--sessions", type=int, default=100, metavar="N", help="so many at once (100)")
    soaks = commands.add_parser("soak", help="start and stop games while everything is killed at random")
    soaks.add_argument("--minutes", type=float, default=30.0, help="for so long (30)")
    soaks.add_argument("--seed", type=int, help="draw the same deeds as a soak with that seed did")
    commands.add_parser("bench-processor", help="measure how fast the processor is")
    faults = commands.add_parser("chaos", help="do every fault to a processor, its broker and its database")
    faults.add_argument("only", nargs="*", metavar="FAULT", help="only these; then docs/reliability.md is not written")
    faults.add_argument("--short", action="store_true", help="as short as in the tests; the page is not written")
    arguments = parser.parse_args()
    command = arguments.command
    if command == "chaos":
        from manman_devstack.chaos import run as chaos  # noqa: PLC0415 - the other commands start faster without it

        return chaos.run(short=arguments.short, only=arguments.only)
    if command == "demo":
        from manman_devstack import demo  # noqa: PLC0415 - the other commands start faster without it

        return demo.run()
    if command.startswith("bench-"):
        return _measure(command, arguments)
    if command == "soak":
        from manman_devstack.soak import run as soak  # noqa: PLC0415 - the same

        return soak.run(arguments.minutes * 60, arguments.seed)
    try:
        return {
            "up": command_line.up,
            "down": command_line.down,
            "status": command_line.status,
            "clean": command_line.clean,
            "prepare": command_line.prepare,
        }[command]()
    except command_line.PROBLEMS as problem:
        print("\n".join([f"error: {problem}", *getattr(problem, "__notes__", [])]), file=sys.stderr)
        return 1


def _measure(command: str, arguments: argparse.Namespace) -> int:
    from manman_devstack.bench import api, host, processor  # noqa: PLC0415 - the other commands start faster without it

    match command:
        case "bench-api":
            return api.run()
        case "bench-host":
            return host.run(arguments.sessions)
        case _:
            return processor.run()


if __name__ == "__main__":
    sys.exit(main())
