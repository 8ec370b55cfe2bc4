"""A game for benches and soaks: it says numbered lines at a steady pace, and what it hears ends it or lets it talk.

It is a few lines of bash on the plain Debian image, starts no process of its own and is ready at once. On its
standard input it takes `talk N` (say N lines), `quit` (say goodbye and end well) and `exit N` (end with that code).
"""

from manman_devstack.debian_base import DEBIAN

IMAGE = DEBIAN
STOP_COMMAND = "quit"
READY_PATTERN = "players can come"
LINES_PER_S = 20

_SCRIPT = f"""
number=0 word=$1 count=$2
say() {{ number=$((number + 1)); echo "line $number: $1"; }}
say "players can come"
while :; do
    while [ "$word" = talk ] && [ "$count" -gt 0 ]; do
        read -r -t {1 / LINES_PER_S} next rest
        heard=$?
        if [ $heard -gt 128 ]; then
            count=$((count - 1))
            say "a player walked over to the other side of the map"
        elif [ $heard -eq 0 ]; then
            word=$next count=$rest
        else
            exit 0
        fi
    done
    [ "$word" = quit ] && say goodbye && exit 0
    [ "$word" = exit ] && exit "$count"
    read -r word count || exit 0
done
"""


def command(lines_at_start: int = 0) -> list[str]:
    """Return the command of a game that says so many lines before it waits for a word."""
    return ["/bin/bash", "-c", _SCRIPT, "talking-game", "talk", str(lines_at_start)]
