"""Field masks: which fields of an update request are meant.

Without a mask everything that is not empty is meant, so nothing can be cleared. With a mask exactly its paths are
meant, also when they are empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from manman.errors import Invalid, Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


def changes(
    update_paths: Sequence[str], values: Mapping[str, object], *, mandatory: Collection[str] = ()
) -> dict[str, Any]:
    """Return the fields to write. `values` has one entry per path that may be updated; None stands for "not given".

    Raises `Invalid` for an unknown path and for a mandatory field that would become empty.
    """
    problems = [
        Problem("update_paths", f"{path!r} cannot be updated; use {', '.join(values)}")
        for path in update_paths
        if path not in values
    ]
    if update_paths:
        chosen = {path: value for path, value in values.items() if path in update_paths}
    else:
        chosen = {path: value for path, value in values.items() if value}
    problems += [Problem(path, "must not be empty") for path in chosen if path in mandatory and not chosen[path]]
    if problems:
        raise Invalid(problems)
    return chosen
