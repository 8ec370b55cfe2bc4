from manman.bus.confirms import RETURNED, Confirms
from manman.bus.publisher import Outgoing


class Sent:
    def __init__(self, count: int, *, first_tag: int = 1, mandatory: bool = False) -> None:
        self.complete = 0
        messages = [
            Outgoing(exchange="e", routing_key="k", body=b"", message_id=str(index), mandatory=mandatory)
            for index in range(count)
        ]
        self.confirms = Confirms(first_tag, messages, self._done)

    def _done(self) -> None:
        self.complete += 1


def test_confirms_in_any_order_complete_it_once() -> None:
    sent = Sent(5, first_tag=11)
    sent.confirms.settle(13, None)
    sent.confirms.settle_until(12, None)
    sent.confirms.settle(13, "twice")
    assert not sent.complete
    sent.confirms.settle_until(99, None)
    sent.confirms.settle_until(99, None)
    assert sent.confirms.outcomes == [None] * 5
    assert sent.complete == 1


def test_a_confirm_of_messages_before_these_says_nothing_about_them() -> None:
    sent = Sent(2, first_tag=11)
    sent.confirms.settle_until(10, None)
    sent.confirms.settle_until(11, None)
    assert not sent.complete
    sent.confirms.settle_until(12, "refused")
    assert sent.confirms.outcomes == [None, "refused"]


def test_what_came_back_stays_returned_when_it_is_confirmed_after() -> None:
    sent = Sent(3, mandatory=True)
    assert sent.confirms.settle_returned("1")
    sent.confirms.settle_until(3, None)
    assert sent.confirms.outcomes == [None, RETURNED, None]
    assert sent.complete == 1


def test_only_a_mandatory_message_of_these_can_come_back() -> None:
    assert not Sent(2).confirms.settle_returned("1")
    assert not Sent(2, mandatory=True).confirms.settle_returned("another")
