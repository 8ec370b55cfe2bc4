"""The RPCs about who may call and who did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manman.v1 import access_control_pb2 as pb
from manman.v1.access_control_pb2_grpc import AccessControlServicer
from manman_api import paging
from manman_api.handlers import access
from manman_api.rpc.parts import Servicer
from manman_api.rpc.present import seconds
from manman_api.rpc.unpack import moment

if TYPE_CHECKING:
    from manman.db.models import ApiToken, AuditEntry


class AccessControl(Servicer, AccessControlServicer):
    """Every RPC of `manman.v1.AccessControl`."""

    async def CreateApiToken(self, request: pb.CreateApiTokenRequest, context: object) -> pb.CreateApiTokenResponse:
        """Make a token and show it this once."""
        row, secret = await access.create_token(
            name=request.name,
            role=request.role,
            expires_at=moment(request.expires_at),
            now=self._parts.now(),
            uow=self._parts.uow,
        )
        return pb.CreateApiTokenResponse(token=_token(row), secret=secret)

    async def ListApiTokens(self, request: pb.ListApiTokensRequest, context: object) -> pb.ListApiTokensResponse:
        """Answer with a page of tokens."""
        page = paging.read(request.page_size, request.page_token)
        rows, following = await access.list_tokens(page=page, uow=self._parts.uow)
        return pb.ListApiTokensResponse(tokens=map(_token, rows), next_page_token=following)

    async def RevokeApiToken(self, request: pb.RevokeApiTokenRequest, context: object) -> pb.RevokeApiTokenResponse:
        """Make a token worthless."""
        row = await access.revoke_token(token_id=request.token_id, now=self._parts.now(), uow=self._parts.uow)
        return pb.RevokeApiTokenResponse(token=_token(row))

    async def ListAuditEntries(
        self, request: pb.ListAuditEntriesRequest, context: object
    ) -> pb.ListAuditEntriesResponse:
        """Answer with a page of the audit log."""
        rows, following = await access.list_audit_entries(
            subject=request.subject,
            rpc=request.rpc,
            since=moment(request.since),
            until=moment(request.until),
            page=paging.read(request.page_size, request.page_token),
            uow=self._parts.uow,
        )
        return pb.ListAuditEntriesResponse(entries=map(_entry, rows), next_page_token=following)


def _token(row: ApiToken) -> pb.ApiToken:
    return pb.ApiToken(
        token_id=row.token_id,
        name=row.name,
        role=row.role,
        created_at=seconds(row.created_at),
        expires_at=seconds(row.expires_at),
        revoked_at=seconds(row.revoked_at),
        last_used_at=seconds(row.last_used_at),
    )


def _entry(row: AuditEntry) -> pb.AuditEntry:
    return pb.AuditEntry(
        entry_id=row.entry_id,
        at=seconds(row.at),
        subject=row.subject,
        role=row.role,
        rpc=row.rpc,
        ids=row.ids,
        code=row.code or "",
        request_id=row.request_id,
    )
