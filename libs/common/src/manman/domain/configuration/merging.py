"""Documents of objects, lists and values: JSON merge patch (RFC 7396) and JSON patch (RFC 6902), both in place.

In place, because the objects of YAML and TOML documents hold their comments.
"""

from __future__ import annotations

import json
from collections.abc import Callable, MutableMapping, MutableSequence
from typing import Any

import jsonpatch
import jsonpointer

from manman.domain.configuration.strategies import Options, Unreadable


def read_json(text: str) -> Any:  # noqa: ANN401 - any JSON value
    """Parse JSON; raise `Unreadable`, also for NaN and Infinity, which JSON does not have."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"is not JSON: {error}") from error


def merge_patch(
    target: Any,  # noqa: ANN401 - any document
    patch: Any,  # noqa: ANN401 - any document
    options: Options,
    own: Callable[[Any], Any] = lambda child: child,
) -> tuple[Any, bool]:
    """Return `target` with a merge patch applied, and whether anything changed. Null removes.

    `own` returns a child as one that may be changed: a copy, if something else in the document shares it.
    """
    if not isinstance(patch, MutableMapping):
        return _replaced(target, patch, options)
    if not isinstance(target, MutableMapping):
        return without_nulls(patch), True
    changed = False
    for key, value in patch.items():
        if value is None:
            changed |= _remove(target, key)
        elif key not in target:
            target[key] = without_nulls(value)
            changed = True
        else:
            held = target[key]
            if options.shallow:
                child, different = without_nulls(value), True
            else:
                child, different = merge_patch(own(held), value, options, own)
            if different:
                if child is not held:
                    target[key] = child
                changed = True
    return target, changed


def json_patch(document: Any, operations: Any) -> tuple[Any, bool]:  # noqa: ANN401 - any document
    """Return `document` with the operations applied in order, and whether there were any that change."""
    check_operations(operations)
    try:
        result = jsonpatch.apply_patch(document, operations, in_place=True)
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException) as error:
        raise Unreadable(f"cannot be applied: {error}") from error
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise Unreadable(f"cannot be applied: an operation does not fit the document ({error})") from error
    return result, any(operation["op"] != "test" for operation in operations)


def check_operations(operations: Any) -> None:  # noqa: ANN401 - any JSON value
    """Raise `Unreadable` unless this is a JSON patch."""
    if not isinstance(operations, list) or not all(isinstance(operation, dict) for operation in operations):
        raise Unreadable('is not a JSON patch: a list of objects such as {"op": "remove", "path": "/a"}')
    try:
        jsonpatch.JsonPatch(operations)
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError) as error:
        raise Unreadable(f"is not a JSON patch: {error}") from error


def without_nulls(value: Any) -> Any:  # noqa: ANN401 - any document
    """Remove the nulls of objects: what a merge patch over nothing gives."""
    if isinstance(value, MutableMapping):
        for key in [key for key, child in value.items() if child is None]:
            del value[key]
        for child in value.values():
            without_nulls(child)
    return value


def _replaced(target: Any, patch: Any, options: Options) -> tuple[Any, bool]:  # noqa: ANN401 - any document
    if options.append and isinstance(patch, MutableSequence) and isinstance(target, MutableSequence):
        for item in patch:
            target.append(item)
        return target, bool(patch)
    return (target, False) if _same(target, patch) else (patch, True)


def _same(one: Any, other: Any) -> bool:  # noqa: ANN401 - any document
    """Tell whether two values are written the same way: 1, 1.0 and true are not."""
    if isinstance(other, MutableSequence):
        return (
            isinstance(one, MutableSequence)
            and len(one) == len(other)
            and all(_same(mine, yours) for mine, yours in zip(one, other, strict=True))
        )
    if isinstance(other, MutableMapping):
        return (
            isinstance(one, MutableMapping)
            and list(one) == list(other)
            and all(_same(one[key], other[key]) for key in other)
        )
    alike = isinstance(one, type(other)) or isinstance(other, type(one))
    return alike and isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _remove(target: MutableMapping[Any, Any], key: object) -> bool:
    if key not in target:
        return False
    try:
        del target[key]
    except KeyError as error:
        raise Unreadable(f"{key} cannot be removed: it is inherited from another part of the document") from error
    return True


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")
