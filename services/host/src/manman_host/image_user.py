"""Which user and group an image runs as: its USER, looked up in its own /etc/passwd and /etc/group as the engine does.

A pure rule; reading those files out of an image is `docker_images`' business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from manman_host.config_files import Owner

ROOT: Owner = (0, 0)


def needs_lookup(user: str) -> bool:
    """Tell whether the image's own files are needed to know who `user` (its USER) is."""
    name, _, group = user.partition(":")
    return not (name in {"", "0", "root"} and not group) and not (name.isdigit() and group.isdigit())


def owner_of(user: str, passwd: str = "", group: str = "") -> Owner | None:
    """Return the (uid, gid) that USER `user` means, None for one that is not in the image: that does not start.

    `user` is a name or number, with or without a group after a colon. A number that is not in `passwd` has group 0.
    """
    name, _, wanted_group = user.partition(":")
    found = next((fields for fields in _fields(passwd, 4) if name in fields[:1] or name == fields[2]), None)
    if found is not None:
        uid, gid = int(found[2]), int(found[3])
    elif name in {"", "root"}:
        uid, gid = ROOT
    elif name.isdigit():
        uid, gid = int(name), 0
    else:
        return None
    if not wanted_group:
        return uid, gid
    named = next((fields for fields in _fields(group, 3) if wanted_group in fields[:1]), None)
    if named is not None:
        return uid, int(named[2])
    return (uid, int(wanted_group)) if wanted_group.isdigit() else None


def _fields(text: str, count: int) -> Iterator[list[str]]:
    """Yield the fields of the lines that have enough of them, with numbers where numbers belong."""
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) >= count and all(field.isdigit() for field in fields[2:count]):
            yield fields
