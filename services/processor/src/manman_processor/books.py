"""The *books*: every host and session that a batch of reports is about, locked and in memory, written at its end.

    books = await open_books(batch, messages, now=..., grace_s=...)
    ...                                   # each message changes rows in memory, in the order of the queue
    books.close()                         # what has changed is written with the commit

Whatever the number of messages, opening takes one statement for the hosts, one for the sessions that their inventories
concern (read, not locked), and one for the sessions that are locked: those that are reported on, and all of a host
whose inventory disagrees with what is recorded, or of which a session is reported on in the same batch. In good weather
an inventory agrees, and nothing but its host is locked.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING

import prometheus_client

from manman.db.batch import CapabilityRow
from manman.db.samples import SampleRow
from manman.domain.hosts import is_returning
from manman.domain.reconcile import Listed, Missing, Recorded, reconcile
from manman.domain.sessions import LIVE, Status, Verdict
from manman.errors import NotFound
from manman.messages.health import MAX_INVENTORY, Heartbeat
from manman.messages.status import HostReported, SessionReported

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from manman.db.batch import Batch, ServerRow, SessionRow
    from manman.domain.reconcile import Finding
    from manman.messages.health import Capabilities, Samples, SessionInventoryItem

VERDICTS = prometheus_client.Counter(
    "manman_session_verdicts_total", "Judgements on what hosts reported about sessions.", ["verdict"]
)
_COUNTED = {verdict: VERDICTS.labels(verdict) for verdict in Verdict}


class Sessions:
    """Sessions in memory; those of a host by id, and who holds the place of a deployment."""

    def __init__(self, rows: Iterable[SessionRow], live_elsewhere: Mapping[int, int]) -> None:
        """`live_elsewhere`: the live session of deployments as the database has it, for those with a lost session."""
        self.by_id = {row.session_id: row for row in rows}
        self._live_elsewhere = live_elsewhere

    @cached_property
    def _of_server(self) -> dict[int, list[SessionRow]]:
        return _by(attrgetter("server_id"), self.by_id.values())

    @cached_property
    def _of_deployment(self) -> dict[int, list[SessionRow]]:
        return _by(attrgetter("sgc_id"), self.by_id.values())

    def of_server(self, server_id: int) -> Sequence[SessionRow]:
        """Return the sessions of a host, in id order."""
        return self._of_server.get(server_id, ())

    def has_other_live(self, row: SessionRow) -> bool:
        """Tell whether the place of a lost session is taken by another one of its deployment."""
        if row.status != Status.LOST:
            return False
        if any(other.status in LIVE for other in self._of_deployment[row.sgc_id]):
            return True
        holder = self._live_elsewhere.get(row.sgc_id)
        return holder is not None and holder not in self.by_id

    def findings(
        self, server_id: int, inventory: Sequence[SessionInventoryItem], now: datetime, grace_s: float
    ) -> list[Finding]:
        """Return what the host's own list says that its events did not; oldest session first."""
        recorded = [
            Recorded(
                session_id=row.session_id,
                view=row,
                other_live=self.has_other_live(row),
                last_news_at=row.created_at if row.last_event_at is None else max(row.last_event_at, row.created_at),
            )
            for row in self.of_server(server_id)
        ]
        listed = [Listed(session_id=item.session_id, status=item.status) for item in inventory]
        findings = reconcile(recorded, listed, now, grace_s)
        if len(listed) < MAX_INVENTORY:
            return findings
        return [finding for finding in findings if not isinstance(finding, Missing)]  # a full list may be cut off


def _by(key: Callable[[SessionRow], int], rows: Iterable[SessionRow]) -> dict[int, list[SessionRow]]:
    groups: dict[int, list[SessionRow]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


class Books:
    """The open books of one transaction."""

    def __init__(self, batch: Batch, servers: dict[int, ServerRow], sessions: Sessions, now: datetime) -> None:
        """Hold what was locked in `batch`."""
        self.batch = batch
        self.sessions = sessions
        self.changed: dict[str, list[int]] = defaultdict(list)
        """The sessions that changed because of reports, by their new state, for the log."""
        self.verdicts: dict[Verdict, int] = defaultdict(int)
        """How each report about a session was judged, for the metrics."""
        self.offers: dict[int, Capabilities] = {}
        """What hosts say that they offer, by host."""
        self.samples: list[tuple[int, Samples]] = []
        """Numbers that hosts sent, each with its host; those of unknown hosts are left out."""
        self._servers = servers
        self._now = now

    def server(self, server_id: int) -> ServerRow:
        """Return a host; raise `NotFound`."""
        row = self._servers.get(server_id)
        if row is None:
            raise NotFound("server", server_id)
        return row

    def session(self, session_id: int) -> SessionRow:
        """Return a session; raise `NotFound`."""
        row = self.sessions.by_id.get(session_id)
        if row is None:
            raise NotFound("session", session_id)
        return row

    def close(self) -> None:
        """Have what has changed written with the commit, which raises what the database refuses."""
        for verdict, count in self.verdicts.items():
            _COUNTED[verdict].inc(count)
        self.batch.write_servers(self._servers.values())
        self.batch.write_sessions(self.sessions.by_id.values())
        self.batch.add_capabilities([_offer(*item) for item in self.offers.items()], now=self._now)
        self.batch.add_samples([_sampled(*item) for item in self.samples if item[0] in self._servers])


async def open_books(batch: Batch, messages: Iterable[object], *, now: datetime, grace_s: float) -> Books:
    """Lock what the messages are about."""
    beats: dict[int, Heartbeat] = {}
    hosts: set[int] = set()
    reported: set[int] = set()
    for message in messages:
        match message:
            case SessionReported():
                reported.add(message.session_id)
            case Heartbeat():
                beats[message.server_id] = message
            case HostReported():
                hosts.add(message.server_id)
    servers = await batch.lock_servers(hosts | beats.keys())
    inventories = {
        server_id: beat.sessions
        for server_id, beat in beats.items()
        if server_id in servers and (beat.sessions is not None or _may_recover(beat, servers[server_id], hosts, now))
    }
    listed = {item.session_id for items in inventories.values() for item in items or ()}
    # not one live session of these hosts is missing in it, so it knows by itself whose place is taken
    recorded = Sessions(await batch.sessions_of(inventories, also=listed), {})
    concerned = {
        row.session_id
        for server_id, items in inventories.items()
        if items is None
        or any(row.session_id in reported for row in recorded.of_server(server_id))
        or recorded.findings(server_id, items, now, grace_s)
        for row in recorded.of_server(server_id)
    }
    rows = await batch.lock_sessions(reported | concerned)
    lost = {row.sgc_id for row in rows.values() if row.status == Status.LOST}
    live = await batch.live_of(lost)
    return Books(batch, servers, Sessions(rows.values(), live), now)


def _may_recover(beat: Heartbeat, row: ServerRow, speaking: Collection[int], now: datetime) -> bool:
    """Tell whether a heartbeat without inventory may be about lost sessions. `speaking` hosts come and go meanwhile."""
    returning = row.server_id in speaking or is_returning(row.status, row.status_since, now)
    return beat.session_stats is not None and returning


def _offer(server_id: int, said: Capabilities) -> CapabilityRow:
    return CapabilityRow(
        server_id=server_id,
        total_memory_mb=said.total_memory_mb,
        available_memory_mb=said.available_memory_mb,
        cpu_cores=said.cpu_cores,
        available_cpu_millicores=said.available_cpu_millicores,
        docker_version=said.docker_version.replace("\x00", "")[:50] or None,
    )


def _sampled(server_id: int, sent: Samples) -> SampleRow:
    return SampleRow(
        server_id=server_id,
        at=sent.taken_at,
        span_seconds=sent.interval_seconds,
        host=sent.host,
        sessions=sent.sessions,
    )
