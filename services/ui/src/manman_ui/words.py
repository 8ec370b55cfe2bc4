"""How values become words on a page: durations, ages, sizes, and the tone (colour) of a status.

Pure functions; `now` is an argument. Times are Unix seconds as the contract sends them, 0 meaning never.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from manman.v1.values_pb2 import RestartPolicy

MINUTE_S = 60
HOUR_S = 3600
DAY_S = 86400
MEBIBYTES_PER_GIBIBYTE = 1024
BYTES_PER_MEBIBYTE = 1 << 20

TONES = {
    "running": "good",
    "online": "good",
    "active": "good",
    "completed": "good",
    "pending": "wait",
    "starting": "wait",
    "stopping": "wait",
    "crashed": "bad",
    "failed": "bad",
    "lost": "bad",
}

REASONS = {
    "deadline_exceeded": "The host did not take the order in time.",
    "exited": "The game ended by itself.",
    "heartbeat_timeout": "The host went silent.",
    "hung": "The game did not answer any more and was ended.",
    "host_offline": "The host went offline.",
    "host_rebooted": "The host restarted and the game did not survive it.",
    "host_returned": "The host is back, and the game still runs.",
    "host_unreachable": "The host could not be reached.",
    "expired": "The order reached the host too late.",
    "host_error": "The host met an error of its own.",
    "image_unavailable": "The image could not be fetched.",
    "invalid_command": "The host could not make sense of the order.",
    "killed": "It was ended at once, without a grace period.",
    "not_found": "The host has no such session any more.",
    "oom": "The game ran out of memory and was ended by the system.",
    "signal": "The game was ended by a signal.",
    "start_failed": "The game could not be started.",
    "stop_failed": "The last attempt to stop it failed.",
    "stopped": "It was stopped on request.",
    "superseded": "A forced start replaced this session.",
    "stop_requested": "It was stopped on request.",
    "wrapper_failed": "The helper container of the game did not start.",
    "vanished": "Its container disappeared.",
}

PHASES = {
    "pending": "Waiting for the host",
    "accepted": "Accepted by the host",
    "pull": "Fetching the image",
    "config": "Writing the configuration",
    "create": "Creating the container",
    "start": "Starting the game",
    "stopping": "Stopping the game",
}


RESTARTS = {"on_crash": "on crash", "always": "whenever it ends by itself"}


def tone(status: str) -> str:
    """Return good, wait, bad or quiet: which colour a status has everywhere."""
    return TONES.get(status, "quiet")


def duration(seconds: float) -> str:
    """Return a length of time in its two largest units: `42 s`, `5 min`, `2 h 10 min`, `3 d 4 h`."""
    whole = max(0, int(seconds))
    if whole < MINUTE_S:
        return f"{whole} s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S} min"
    if whole < DAY_S:
        return f"{whole // HOUR_S} h {whole % HOUR_S // MINUTE_S} min"
    return f"{whole // DAY_S} d {whole % DAY_S // HOUR_S} h"


def ago(then: int, now: datetime) -> str:
    """Return how long ago `then` was, in its largest unit: `3 s ago`, `2 h ago`."""
    if not then:
        return "never"
    seconds = int(now.timestamp() - then)
    if seconds < 2:  # noqa: PLR2004 - about now
        return "just now"
    for unit_s, name in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "min")):
        if seconds >= unit_s:
            return f"{seconds // unit_s} {name} ago"
    return f"{seconds} s ago"


def stamp(then: int) -> str:
    """Return an instant in full, in UTC; pages show the viewer's own time on top of it where scripts run."""
    return datetime.fromtimestamp(then, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if then else "never"


def machine_stamp(then: int) -> str:
    """Return an instant for the `datetime` attribute of a `time` element."""
    return datetime.fromtimestamp(then, UTC).isoformat()


def memory(mebibytes: int) -> str:
    """Return an amount of memory: `512 MB`, `7.5 GB`."""
    if mebibytes < MEBIBYTES_PER_GIBIBYTE:
        return f"{mebibytes} MB"
    return f"{mebibytes / MEBIBYTES_PER_GIBIBYTE:.1f}".removesuffix(".0") + " GB"


def size(size_bytes: float) -> str:
    """Return an amount of memory given in bytes, as `memory` does."""
    return memory(round(size_bytes / BYTES_PER_MEBIBYTE))


def cores(number: float) -> str:
    """Return how many cores are in use: `0.25 cores`, `1 core`, `1.5 cores`."""
    text = f"{number:.2f}".rstrip("0").rstrip(".")
    return "1 core" if text == "1" else f"{text} cores"


def count(number: float) -> str:
    """Return a number that may be a mean: `3`, `2.5`."""
    return f"{number:.1f}".removesuffix(".0")


def reason(code: str) -> str:
    """Return why, in a sentence: known codes are explained, anything else is shown as it came."""
    if code in REASONS:
        return REASONS[code]
    text = code.replace("_", " ").strip()
    return text[:1].upper() + text[1:]


def phase(code: str) -> str:
    """Return what a starting or stopping session is busy with; unknown phases are shown as they came."""
    return PHASES.get(code) or label(code)


def restart_policy(policy: RestartPolicy) -> str:
    """Return when a game is started again, and how often where the policy says so."""
    if policy.policy not in RESTARTS:
        return "never"
    times = f", at most {plural(policy.max_attempts, 'time')}" if policy.max_attempts else ""
    window = f" in {duration(policy.window_seconds)}" if policy.window_seconds and times else ""
    return f"{RESTARTS[policy.policy]}{times}{window}"


def label(code: str) -> str:
    """Return a code such as `pulling_image` the way people read it: `Pulling image`."""
    text = code.replace("_", " ").replace("-", " ").strip()
    return text[:1].upper() + text[1:]


def plural(count: int, one: str, many: str = "") -> str:
    """Return the count and the noun that goes with it."""
    return f"{count} {one if count == 1 else many or one + 's'}"
