"""The RPCs about dead letters."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from manman.rpc.chain import current_subject
from manman.v1 import dead_letters_pb2 as pb
from manman.v1.dead_letters_pb2_grpc import DeadLettersServicer
from manman_api import paging
from manman_api.handlers import dead_letters
from manman_api.rpc.parts import Servicer
from manman_api.rpc.present import seconds

if TYPE_CHECKING:
    from manman.db.models import DeadLetter

SHOWN_BODY_BYTES = 65_536


class DeadLetters(Servicer, DeadLettersServicer):
    """Every RPC of `manman.v1.DeadLetters`."""

    async def ListDeadLetters(self, request: pb.ListDeadLettersRequest, context: object) -> pb.ListDeadLettersResponse:
        """Answer with a page of letters."""
        rows, following = await dead_letters.list_letters(
            queue=request.queue,
            waiting_only=request.waiting_only,
            page=paging.read(request.page_size, request.page_token),
            uow=self._parts.uow,
        )
        return pb.ListDeadLettersResponse(dead_letters=map(_letter, rows), next_page_token=following)

    async def GetDeadLetter(self, request: pb.GetDeadLetterRequest, context: object) -> pb.GetDeadLetterResponse:
        """Answer with a letter whole."""
        row = await dead_letters.get_letter(dead_letter_id=request.dead_letter_id, uow=self._parts.uow)
        text, encoding = readable(row.body)
        return pb.GetDeadLetterResponse(
            dead_letter=_letter(row), body=text, body_encoding=encoding, headers=row.headers
        )

    async def ReplayDeadLetters(
        self, request: pb.ReplayDeadLettersRequest, context: object
    ) -> pb.ReplayDeadLettersResponse:
        """Send letters again."""
        count = await dead_letters.replay(
            dead_letter_ids=set(request.dead_letter_ids),
            queue=request.queue,
            by=current_subject(),
            now=self._parts.now(),
            uow=self._parts.uow,
        )
        return pb.ReplayDeadLettersResponse(replayed=count)

    async def PurgeDeadLetters(
        self, request: pb.PurgeDeadLettersRequest, context: object
    ) -> pb.PurgeDeadLettersResponse:
        """Delete letters."""
        count = await dead_letters.purge(
            dead_letter_ids=set(request.dead_letter_ids), queue=request.queue, by=current_subject(), uow=self._parts.uow
        )
        return pb.PurgeDeadLettersResponse(purged=count)


def readable(body: bytes) -> tuple[str, str]:
    """Return the beginning of a body for people, and what it is: json, text or base64."""
    shown = body[:SHOWN_BODY_BYTES]
    try:
        text = shown.decode()
    except UnicodeDecodeError as error:
        if len(shown) == len(body) or error.start < len(shown) - 3:
            return base64.b64encode(shown).decode(), "base64"
        text = shown[: error.start].decode()  # a character was cut in two
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return text, "text"
    return text, "json"


def _letter(row: DeadLetter) -> pb.DeadLetter:
    return pb.DeadLetter(
        dead_letter_id=row.dead_letter_id,
        queue=row.queue,
        routing_key=row.routing_key,
        message_id=row.message_id,
        reason=row.reason,
        error=row.error,
        dead_at=seconds(row.dead_at),
        replayed_at=seconds(row.replayed_at),
        replayed_by=row.replayed_by or "",
        died_again=bool(row.replay),
        size_bytes=row.size_bytes,
        cut_off=row.is_cut_off,
    )
