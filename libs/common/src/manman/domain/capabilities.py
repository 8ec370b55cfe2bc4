"""Which Linux capabilities a game has in its container: a small set by default, more or none when its config says so.

The default is what images commonly need to set up their folders, change to a user of their own, stop their children
and listen on low ports. Of what Docker gives by default it leaves out AUDIT_WRITE, MKNOD, NET_RAW, SETFCAP, SETPCAP and
SYS_CHROOT. Nothing that reaches beyond the container (SYS_ADMIN, SYS_MODULE, SYS_PTRACE, NET_ADMIN …) can be had.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from manman.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID")
ON_REQUEST = ("AUDIT_WRITE", "IPC_LOCK", "MKNOD", "NET_RAW", "SETFCAP", "SETPCAP", "SYS_CHROOT", "SYS_NICE")


def granted(*, without_default: bool, extra: Iterable[str]) -> list[str]:
    """Return all capabilities of a game, by name."""
    return sorted({*(() if without_default else DEFAULT), *extra})


def check_extra(names: Iterable[str], field: str) -> list[Problem]:
    """Return what is wrong with the capabilities asked for beyond the default."""
    known = {*DEFAULT, *ON_REQUEST}
    return [
        Problem(f"{field}[{index}]", f"a game can have one of {', '.join(sorted(known))}, not {name!r}")
        for index, name in enumerate(names)
        if name not in known
    ]
