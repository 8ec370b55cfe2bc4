"""The audit log: one entry for every call that may change something, and no secret in it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc
import pytest

from manman import clock
from manman.db.engine import connected
from manman.db.unit_of_work import UnitOfWork
from manman.errors import Unavailable
from manman.rpc import audit
from manman.rpc.access import required_role
from manman.settings import DatabaseSettings
from manman.v1 import (
    access_control_pb2,
    access_control_pb2_grpc,
    game_configs_pb2,
    games_pb2,
    permissions_pb2,
    server_game_configs_pb2,
    servers_pb2,
    values_pb2,
)
from manman_api.app import services_of
from manman_api.handlers.access import create_token
from manman_api.journal import OUTCOMES_LOST, DatabaseJournal

from .conftest import Api, served

METHODS = {method.name: method for service in services_of(None)[:4] for method in service.methods()}  # type: ignore[arg-type] # nothing is called


@pytest.fixture
async def guarded(database_url: str, amqp_url: str) -> AsyncIterator[Api]:
    async with served(database_url, amqp_url, grpc_auth_mode="token") as api:
        yield api


async def metadata(uow: Any, role: str, request_id: str = "r-1") -> tuple[tuple[str, str], ...]:
    _, secret = await create_token(name=f"{role}s", role=role, expires_at=None, now=clock.now(), uow=uow)
    return (("authorization", f"Bearer {secret}"), ("x-request-id", request_id))


async def entries(uow: Any) -> list[Any]:
    async with uow() as tx:
        return list(reversed(await tx.audit_log.list(limit=1000)))


async def refused(call: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await call


def test_what_may_change_something_is_recorded_and_nothing_else() -> None:
    recorded = {name for name, method in METHODS.items() if audit.is_recorded(method)}
    changing = ("Create", "Update", "Delete", "Start", "Stop", "Send", "Register", "Deploy", "Revoke", "Trigger")
    changing += ("Execute", "Install", "Add", "Remove", "Reset")
    assert {name for name in METHODS if name.startswith(changing)} - recorded == {"SendBatchedLogs"}
    assert {name for name in recorded if name.startswith(("Get", "List", "Preview", "Validate", "Stream"))} == set()
    for name, method in METHODS.items():
        if name not in recorded and name not in audit.CHATTER:
            assert required_role(method) == permissions_pb2.ROLE_VIEWER or name.startswith(("List", "Get")), name


async def test_a_call_leaves_who_what_when_and_how_it_ended(guarded: Api, uow: Any) -> None:
    admin, viewer = await metadata(uow, "admin", "r-admin"), await metadata(uow, "viewer", "r-viewer")
    before = clock.now() - timedelta(seconds=1)
    game = (await guarded.control.CreateGame(games_pb2.CreateGameRequest(name="g"), metadata=admin)).game
    await refused(guarded.control.CreateGame(games_pb2.CreateGameRequest(name="g"), metadata=admin))
    await refused(guarded.control.UpdateGame(games_pb2.UpdateGameRequest(game_id=999, name="x"), metadata=admin))
    await refused(guarded.control.UpdateGame(games_pb2.UpdateGameRequest(), metadata=admin))
    await refused(guarded.control.DeleteGame(games_pb2.DeleteGameRequest(game_id=game.game_id), metadata=viewer))

    found = await entries(uow)

    assert [(one.role, one.rpc, one.ids, one.code, one.request_id) for one in found] == [
        ("admin", "ManManAPI.CreateGame", {"game_id": str(game.game_id)}, "OK", "r-admin"),
        ("admin", "ManManAPI.CreateGame", {}, "ALREADY_EXISTS", "r-admin"),
        ("admin", "ManManAPI.UpdateGame", {"game_id": "999"}, "NOT_FOUND", "r-admin"),
        ("admin", "ManManAPI.UpdateGame", {}, "INVALID_ARGUMENT", "r-admin"),
        ("viewer", "ManManAPI.DeleteGame", {"game_id": str(game.game_id)}, "PERMISSION_DENIED", "r-viewer"),
    ]
    assert [one.subject for one in found] == ["mm_1:admins"] * 4 + ["mm_2:viewers"]
    assert all(before <= one.at <= clock.now() for one in found)


async def test_reads_heartbeats_and_strangers_leave_nothing(guarded: Api, uow: Any) -> None:
    host = await metadata(uow, "host")
    server = await guarded.control.RegisterServer(servers_pb2.RegisterServerRequest(name="h"), metadata=host)
    for _ in range(3):
        beat = servers_pb2.HeartbeatRequest(server_id=server.server_id)
        await guarded.control.Heartbeat(beat, metadata=host)
    await guarded.control.ListServers(servers_pb2.ListServersRequest(), metadata=host)
    await refused(guarded.control.CreateGame(games_pb2.CreateGameRequest(name="g")))

    assert [(one.rpc, one.ids) for one in await entries(uow)] == [
        ("ManManAPI.RegisterServer", {"server_id": str(server.server_id)})
    ]


async def test_a_batch_leaves_the_ids_of_all_its_parts(guarded: Api, uow: Any) -> None:
    admin = await metadata(uow, "admin")
    parts = [server_game_configs_pb2.UpdateServerGameConfigRequest(server_game_config_id=number) for number in (8, 9)]
    request = server_game_configs_pb2.BatchUpdateServerGameConfigsRequest(requests=parts)
    await refused(guarded.control.BatchUpdateServerGameConfigs(request, metadata=admin))

    (entry,) = await entries(uow)

    assert (entry.ids, entry.code) == ({"server_game_config_id": "8,9"}, "NOT_FOUND")


async def test_secrets_are_not_recorded(guarded: Api, uow: Any) -> None:
    admin = await metadata(uow, "admin")
    tokens = access_control_pb2_grpc.AccessControlStub(guarded.channel)
    made = await tokens.CreateApiToken(access_control_pb2.CreateApiTokenRequest(name="n", role="host"), metadata=admin)
    game = (await guarded.control.CreateGame(games_pb2.CreateGameRequest(name="g"), metadata=admin)).game
    password = values_pb2.Parameter(key="password", type="secret", value="hunter2")
    config = game_configs_pb2.CreateGameConfigRequest(
        game_id=game.game_id, name="c", image="i", parameters=[password], env_template={"PASSWORD": "hunter2"}
    )
    await guarded.control.CreateGameConfig(config, metadata=admin)

    told = repr([vars(one) for one in await entries(uow)])

    assert "CreateGameConfig" in told
    assert made.secret[-43:] not in told
    assert "hunter2" not in told


async def test_everybody_is_recorded_where_nobody_has_to_say_who_he_is(api: Api, uow: Any) -> None:
    await api.control.CreateGame(games_pb2.CreateGameRequest(name="g"))
    assert [(one.subject, one.role, one.code) for one in await entries(uow)] == [("dev-user", "admin", "OK")]


async def test_an_outcome_that_the_database_does_not_take_is_counted() -> None:
    lost = OUTCOMES_LOST._value.get()
    async with connected(DatabaseSettings(db_host="127.0.0.1", db_port=1)) as engine:
        with pytest.raises(Unavailable):
            await DatabaseJournal(UnitOfWork(engine), clock.now).end(1, "OK", {})
    assert OUTCOMES_LOST._value.get() == lost + 1


async def test_the_log_is_listed_newest_first_in_pages_that_do_not_move(api: Api) -> None:
    tokens = access_control_pb2_grpc.AccessControlStub(api.channel)
    for number in range(5):
        await api.control.CreateGame(games_pb2.CreateGameRequest(name=f"game {number}"))

    seen: list[int] = []
    page_token = ""
    for _ in range(3):
        request = access_control_pb2.ListAuditEntriesRequest(page_size=2, page_token=page_token)
        page = await tokens.ListAuditEntries(request)
        seen += [one.entry_id for one in page.entries]
        page_token = page.next_page_token
        await api.control.CreateGame(games_pb2.CreateGameRequest(name=f"later {len(seen)}"))

    assert seen == [5, 4, 3, 2, 1]
    assert page_token == ""


async def test_the_log_is_listed_by_caller_call_and_time(api: Api) -> None:
    tokens = access_control_pb2_grpc.AccessControlStub(api.channel)
    await api.control.CreateGame(games_pb2.CreateGameRequest(name="g"))
    await api.control.DeleteGame(games_pb2.DeleteGameRequest(game_id=1))

    async def found(**filters: Any) -> list[str]:
        answer = await tokens.ListAuditEntries(access_control_pb2.ListAuditEntriesRequest(**filters))
        return [one.rpc.partition(".")[2] for one in answer.entries]

    soon = int(clock.now().timestamp()) + 60
    assert await found(subject="dev-user", rpc="ManManAPI.CreateGame") == ["CreateGame"]
    assert await found(subject="somebody") == []
    assert await found(since=1, until=soon) == ["DeleteGame", "CreateGame"]
    assert await found(since=soon) == await found(until=1) == []
