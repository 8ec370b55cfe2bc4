"""A *dead letter* is a message that its reader could not digest; these headers say why, where and when.

The consumer writes them (`manman.bus.consumer`). A letter that the broker itself put away has its header `x-death`
instead.
"""

from __future__ import annotations

REASON = "x-manman-reason"
"""The class of the error."""

ERROR = "x-manman-error"
"""The text of the error, for people."""

QUEUE = "x-manman-queue"
"""The queue whose reader gave up."""

ROUTING_KEY = "x-manman-routing-key"
"""The key under which the message was sent."""

DEAD_AT = "x-manman-dead-at"
"""When the reader gave up, RFC 3339."""

REPLAYED = "x-manman-replayed"
"""On a message that was sent again: the id of that replay. It stays on the letter if the message dies again."""

X_DEATH = "x-death"
"""The broker's own record, the latest death first: a list of tables."""
