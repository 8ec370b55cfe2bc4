"""The root of every message body, and the field types that bodies share.

A default is always the zero value of its type, because a key that holds its default is left out and other
implementations read a missing key as zero.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""A point in time with its zone; RFC 3339 on the wire."""

UuidText = Annotated[str, msgspec.Meta(extra_json_schema={"format": "uuid"})]
"""A UUID that we only write: as text."""

Id = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
"""A database id."""


class Body(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A message body or a part of one: immutable, keyword arguments only, unknown keys ignored.

    The garbage collector need not look at it: nothing in it can point back at it.
    """
