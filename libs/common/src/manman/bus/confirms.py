"""What became of messages that were sent together: confirms come one by one, several at a time, and in any order.

Pure: no socket and no waiting; `manman.bus.lane` tells it what the broker said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from manman.bus.publisher import Outgoing

RETURNED = "returned"
"""The outcome of a mandatory message that no queue takes."""

_PENDING = "pending"


class Confirms:
    """The outcomes of messages whose delivery tags follow each other from `first_tag` on.

    An outcome is None (confirmed), RETURNED, or why the message was not confirmed; the first one counts. The broker
    returns a message before it confirms it.
    """

    def __init__(self, first_tag: int, messages: Sequence[Outgoing], when_complete: Callable[[], None]) -> None:
        self.first_tag = first_tag
        self.last_tag = first_tag + len(messages) - 1
        self.outcomes: list[str | None] = [_PENDING] * len(messages)
        self._messages = messages
        self._when_complete = when_complete
        self._waiting = len(messages)
        self._settled_before = 0

    def settle(self, tag: int, outcome: str | None) -> None:
        """Note what became of the message with this tag."""
        self._note(tag - self.first_tag, outcome)

    def settle_until(self, tag: int, outcome: str | None) -> None:
        """Note the same of all messages up to this tag that have no outcome yet."""
        end = min(tag, self.last_tag) - self.first_tag + 1
        for index in range(self._settled_before, end):
            self._note(index, outcome)
        self._settled_before = max(self._settled_before, end)

    def settle_returned(self, message_id: str | None) -> bool:
        """Note that the first mandatory message with this id came back; tell whether it was one of these."""
        for index, message in enumerate(self._messages):
            if message.message_id == message_id and message.mandatory and self.outcomes[index] is _PENDING:
                self._note(index, RETURNED)
                return True
        return False

    def _note(self, index: int, outcome: str | None) -> None:
        if self.outcomes[index] is _PENDING:
            self.outcomes[index] = outcome
            self._waiting -= 1
            if not self._waiting:
                self._when_complete()
