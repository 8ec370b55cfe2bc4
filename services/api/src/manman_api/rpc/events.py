"""The RPCs about the log of external events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manman.rpc.chain import current_subject
from manman.v1 import events_pb2 as pb
from manman.v1.events_pb2_grpc import EventsServicer
from manman_api.handlers import events
from manman_api.rpc.parts import Servicer
from manman_api.rpc.present import seconds

if TYPE_CHECKING:
    from manman.db.event_log import LoggedEvent


class Events(Servicer, EventsServicer):
    """Every RPC of `manman.v1.Events`."""

    async def ListEvents(self, request: pb.ListEventsRequest, context: object) -> pb.ListEventsResponse:
        """Answer with the events after a position."""
        part = await events.list_events(
            after_position=request.after_position,
            page_size=request.page_size,
            wanted=_filter(request.filter),
            uow=self._parts.uow,
        )
        return pb.ListEventsResponse(
            events=map(_event, part.events),
            last_position=part.last_position,
            more=part.more,
            forgotten=part.forgotten,
        )

    async def ReplayEvents(self, request: pb.ReplayEventsRequest, context: object) -> pb.ReplayEventsResponse:
        """Publish events again."""
        part = await events.replay_events(
            from_position=request.from_position,
            to_position=request.to_position,
            wanted=_filter(request.filter),
            by=current_subject(),
            uow=self._parts.uow,
        )
        return pb.ReplayEventsResponse(replayed=len(part.events), last_position=part.last_position, more=part.more)


def _filter(request: pb.EventFilter) -> events.Filter:
    return events.Filter(
        routing_keys=request.routing_keys,
        server_id=request.server_id,
        sgc_id=request.sgc_id,
        session_id=request.session_id,
    )


def _event(event: LoggedEvent) -> pb.Event:
    return pb.Event(
        position=event.position,
        event_id=str(event.message_id),
        routing_key=event.routing_key,
        body=event.body.decode(),
        published_at=seconds(event.published_at),
    )
