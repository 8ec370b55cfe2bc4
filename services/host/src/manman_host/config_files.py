"""Writes into folders that games write to as well: never through a link that a game left there, never half a file.

Every step opens the next folder without following links, so nothing leaves the base folder whatever the game put in it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from manman.domain.configuration import ini, properties
from manman.domain.configuration.strategies import Options, Unreadable
from manman.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

FOLDER_MODE = 0o755
SHARED_FOLDER_MODE = 0o777
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

MAX_MERGED_BYTES = 1024 * 1024
"""Of a file that something is laid over."""

MERGES: Mapping[str, Callable[[str, str], str]] = {
    "properties": lambda text, layer: properties.overlay(text, layer, "properties", Options()),
    "ini": lambda text, layer: ini.overlay(text, layer, Options()),
}
"""How to lay a text over a file that is there."""

Owner = tuple[int, int]
"""(uid, gid)."""


def make_folder(base: Path, relative: str, owner: Owner | None) -> None:
    """Make a folder below `base` that belongs to the game's user; everybody's when this process may not give it away.

    A folder that is there already, and what is in it, is left as it is. Without an owner the folder is this process'.
    Raises `Conflict` when a link is in the way.
    """
    with _open_folder(base, PurePosixPath(relative).parts, owner, make=True):
        return


def write_file(base: Path, relative: str, content: bytes, mode: int, owner: Owner | None) -> None:
    """Write a file below `base` in one step, making its folders. Raises `Conflict` when a link is in the way."""
    *folders, name = PurePosixPath(relative).parts
    with _open_folder(base, tuple(folders), owner, make=True) as folder:
        staging = f".{name}.{secrets.token_hex(4)}.new"
        handle = os.open(
            staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=folder
        )
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                os.fchmod(file.fileno(), mode)
                if owner is not None:
                    with contextlib.suppress(PermissionError):
                        os.fchown(file.fileno(), *owner)
                file.flush()
                os.fsync(file.fileno())
            os.replace(staging, name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(staging, dir_fd=folder)
            raise Conflict(f"{relative} cannot be written: {error.strerror}") from error


def read_file(base: Path, relative: str, owner: Owner | None) -> bytes | None:
    """Read a file that is to be written again; None when there is none. Raises `Conflict` when a link is in the way."""
    *folders, name = PurePosixPath(relative).parts
    with _open_folder(base, tuple(folders), owner, make=True) as folder:
        try:
            handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except FileNotFoundError:
            return None
        with os.fdopen(handle, "rb") as file:
            return file.read(MAX_MERGED_BYTES + 1)


def merged(existing: bytes | None, content: str, merge: str) -> bytes:
    """Lay `content` over what a file holds. Bytes of it that are no UTF-8 stay as they are."""
    if existing is None:
        return content.encode()
    if len(existing) > MAX_MERGED_BYTES:
        raise Conflict(f"has more than {MAX_MERGED_BYTES} bytes: give the strategy a base, or remove the file")
    try:
        return MERGES[merge](existing.decode(errors="surrogateescape"), content).encode(errors="surrogateescape")
    except Unreadable as error:
        raise Conflict(str(error)) from error


@contextlib.contextmanager
def _open_folder(base: Path, parts: tuple[str, ...], owner: Owner | None, *, make: bool) -> Iterator[int]:
    base.mkdir(parents=True, exist_ok=True)
    current = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts:
            if make:
                _make_one(current, part, owner)
            following = os.open(part, _OPEN_FOLDER, dir_fd=current)
            os.close(current)
            current = following
        yield current
    except NotADirectoryError as error:
        raise Conflict(f"{'/'.join(parts)} in {base} leads over a link or a file: remove that first") from error
    except OSError as error:
        raise Conflict(f"{'/'.join(parts)} in {base} cannot be used: {error.strerror}") from error
    finally:
        os.close(current)


def _make_one(parent: int, name: str, owner: Owner | None) -> None:
    try:
        os.mkdir(name, FOLDER_MODE, dir_fd=parent)
    except FileExistsError:
        return
    if owner is None:
        return
    try:
        os.chown(name, *owner, dir_fd=parent, follow_symlinks=False)
    except PermissionError:
        os.chmod(name, SHARED_FOLDER_MODE, dir_fd=parent)
