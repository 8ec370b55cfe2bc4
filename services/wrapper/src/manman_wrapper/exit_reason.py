"""Why a game ended, worked out from what the engine says and from what was asked of us. Pure."""

from __future__ import annotations

import dataclasses
import signal

SIGNAL_BASE = 128
SIGKILL = 9
NOT_KNOWN = -1
"""The exit code of a game that ended where nobody saw it. 0 would say that it ended well."""


@dataclasses.dataclass(frozen=True)
class Ending:
    """The end of a game: `status` is stopped or crashed, `reason` one word, `message` a sentence for people."""

    status: str
    reason: str
    message: str
    signal: int = 0


def explain_exit(exit_code: int, *, oom_killed: bool, asked_to: str) -> Ending:
    """Explain an exit. `asked_to` is what we were told to do before it: "stop", "kill", or "" for nothing.

    A code above 128 is a shell's or the engine's way to name the signal that ended the process.
    """
    number = exit_code - SIGNAL_BASE if SIGNAL_BASE < exit_code < SIGNAL_BASE + 65 else 0
    if asked_to == "kill" or (asked_to == "stop" and number == SIGKILL):
        return Ending("stopped", "killed", f"the game was killed, exit code {exit_code}", number)
    if asked_to == "stop":
        return Ending("stopped", "stopped", f"the game stopped when asked to, exit code {exit_code}", number)
    if exit_code == 0:
        return Ending("stopped", "exited", "the game ended by itself with exit code 0")
    if oom_killed:
        return Ending(
            "crashed", "oom", f"the game was killed because it used up its memory limit (exit code {exit_code})", number
        )
    if number:
        return Ending(
            "crashed", "signal", f"the game was ended by {_signal_name(number)} (exit code {exit_code})", number
        )
    return Ending("crashed", "exited", f"the game ended by itself with exit code {exit_code}")


def explain_absence(*, asked_to: str) -> Ending:
    """Explain a container that is gone, and its exit code with it; `asked_to` as in `explain_exit`."""
    message = "the game's container was removed by somebody else"
    return Ending("stopped", "killed", message) if asked_to else Ending("crashed", "vanished", message)


def explain_refused_start(message: str) -> tuple[str, str]:
    """Return (reason, message) for an engine that would not create or start the game."""
    lowered = message.lower()
    if "port is already allocated" in lowered or "address already in use" in lowered:
        return "port_in_use", f"a port of this game is taken by another program on the host: {message}"
    if "no such image" in lowered:
        return "image_unavailable", f"the image is not on this host: {message}"
    if "already in use by container" in lowered:
        return "name_in_use", f"another container has this game's name: {message}"
    return "start_failed", f"the engine did not start the game: {message}"


def _signal_name(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"
