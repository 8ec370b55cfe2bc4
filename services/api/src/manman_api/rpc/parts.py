"""What servicers work with, put together once by `manman_api.app`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from manman.bus.connection import Connection
    from manman.bus.requests import Requests
    from manman.db.unit_of_work import Uow
    from manman.domain.ports import PortRange


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts behind the API. Times are in seconds; `now` reads the clock."""

    uow: Uow
    now: Callable[[], datetime]
    requests: Requests
    broker: Connection
    default_ranges: Sequence[PortRange]
    start_timeout_s: float
    input_timeout_s: float
    log_idle_s: float


class Servicer:
    """Root of the mixins: it holds the parts."""

    def __init__(self, parts: Parts) -> None:
        """Answer with these parts."""
        self._parts = parts
