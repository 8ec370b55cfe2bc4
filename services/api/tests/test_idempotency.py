"""A caller that heard no answer asks again, and nothing happens twice: by gRPC, by REST, and by one after the other."""

import asyncio
import contextlib
from typing import Any

import grpc
import httpx2
import pytest

from manman.v1 import server_game_configs_pb2, sessions_pb2
from manman_api.app import Addresses
from manman_devstack.eventually import eventually

KEY = "3a7b-4c"


@pytest.fixture
async def deployment_id(uow: Any) -> int:
    async with uow() as tx:
        server = await tx.servers.add(name="host", status="online")
        game = await tx.games.add(name="game")
        config = await tx.configs.add(game_id=game.game_id, name="config", image="image")
        row = await tx.deployments.add(server_id=server.server_id, game_config_id=config.config_id)
        await tx.commit()
        return int(row.sgc_id)


async def start(api: Any, deployment_id: int, key: str | None = KEY, **more: Any) -> sessions_pb2.Session:
    request = sessions_pb2.StartSessionRequest(server_game_config_id=deployment_id, **more)
    metadata = () if key is None else (("idempotency-key", key),)
    answer = await api.control.StartSession(request, metadata=metadata)
    session: sessions_pb2.Session = answer.session
    return session


async def post(addresses: Addresses, path: str, body: dict[str, Any], key: str = KEY) -> httpx2.Response:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{addresses.rest}", trust_env=False) as client:
        return await client.post(path, json=body, headers={"Idempotency-Key": key})


async def count_of_sessions(uow: Any) -> int:
    return len(await uow.reads.runs.list())


async def commands(uow: Any) -> int:
    async with uow() as tx:
        return len([row for row in await tx.outbox.unpublished(limit=100) if ".session.start" in row.routing_key])


async def test_a_start_that_is_repeated_is_one_session_and_one_command(api: Any, deployment_id: int, uow: Any) -> None:
    first = await start(api, deployment_id)
    assert await start(api, deployment_id) == first
    again = await post(api.addresses, "/v1/sessions", {"server_game_config_id": deployment_id})
    assert again.status_code == 200
    assert again.json()["session"]["session_id"] == str(first.session_id)
    assert (await count_of_sessions(uow), await commands(uow)) == (1, 1)


async def test_a_repeated_start_with_force_does_not_end_the_session_it_made(api: Any, deployment_id: int) -> None:
    first = await start(api, deployment_id, force=True)
    again = await start(api, deployment_id, force=True)
    assert (again.session_id, again.status) == (first.session_id, "pending")


async def test_a_repeated_start_is_told_how_its_session_is_by_now(api: Any, deployment_id: int) -> None:
    first = await start(api, deployment_id)
    await api.control.StopSession(sessions_pb2.StopSessionRequest(session_id=first.session_id))
    again = await start(api, deployment_id)
    assert (again.session_id, again.status) == (first.session_id, "stopping")


async def test_a_deployment_that_is_repeated_is_one_deployment(api: Any, deployment_id: int, uow: Any) -> None:
    async with uow() as tx:
        placed = await tx.deployments.get(deployment_id)
        config = await tx.configs.add(game_id=1, name="other", image="image")
        await tx.commit()
    body = {
        "server_id": placed.server_id,
        "game_config_id": config.config_id,
        "port_bindings": [{"container_port": 25565}],
    }
    first = await post(api.addresses, "/v1/deployments", body)
    assert first.status_code == 200, first.text
    assert (await post(api.addresses, "/v1/deployments", body)).json() == first.json()
    request = server_game_configs_pb2.DeployGameConfigRequest(
        server_id=placed.server_id,
        game_config_id=config.config_id,
        port_bindings=[{"container_port": 25565}],
    )
    again = await api.control.DeployGameConfig(request, metadata=(("idempotency-key", KEY),))
    assert str(again.config.server_game_config_id) == first.json()["config"]["server_game_config_id"]
    assert (await post(api.addresses, "/v1/deployments", body, key="another")).status_code == 409


async def test_a_key_with_another_request_is_refused_in_words(api: Any, deployment_id: int, uow: Any) -> None:
    await start(api, deployment_id)
    code, text = await api.refusal(start(api, deployment_id, force=True))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "idempotency-key: it came with another StartSession request before" in text
    answer = await post(api.addresses, "/v1/sessions", {"server_game_config_id": deployment_id, "force": True})
    assert answer.status_code == 400
    assert answer.json()["details"][0]["field_violations"][0]["field"] == "idempotency-key"
    assert await count_of_sessions(uow) == 1


async def test_another_key_is_another_start(api: Any, deployment_id: int) -> None:
    await start(api, deployment_id)
    code, _ = await api.refusal(start(api, deployment_id, key="another"))
    assert code is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_start_that_was_refused_can_be_repeated_under_its_key(api: Any, deployment_id: int, uow: Any) -> None:
    async with uow() as tx:
        (await tx.servers.lock(1)).status = "offline"
        await tx.commit()
    assert (await api.refusal(start(api, deployment_id)))[0] is grpc.StatusCode.FAILED_PRECONDITION
    async with uow() as tx:
        (await tx.servers.lock(1)).status = "online"
        await tx.commit()
    assert (await start(api, deployment_id)).status == "pending"


@pytest.mark.parametrize("key", ["a b", "x" * 201])
async def test_a_key_that_is_none_is_refused_by_both_ways_in(api: Any, deployment_id: int, key: str) -> None:
    code, text = await api.refusal(start(api, deployment_id, key=key))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "idempotency-key" in text
    answer = await post(api.addresses, "/v1/sessions", {"server_game_config_id": deployment_id}, key=key)
    assert answer.status_code == 400


async def test_ten_attempts_at_once_are_one_session(api: Any, deployment_id: int, uow: Any) -> None:
    sessions = await asyncio.gather(*(start(api, deployment_id) for _ in range(10)))
    assert len({session.session_id for session in sessions}) == 1
    assert (await count_of_sessions(uow), await commands(uow)) == (1, 1)


async def test_a_caller_that_hung_up_before_the_answer_finds_its_session(
    api: Any, deployment_id: int, uow: Any
) -> None:
    """The commit is done, nobody heard of it: the same as a process that dies between the two."""
    async with uow() as holder:
        await holder.deployments.lock(deployment_id)
        body = f'{{"server_game_config_id": {deployment_id}}}'
        _, writer = await asyncio.open_connection("127.0.0.1", api.addresses.rest)
        writer.write(
            f"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nIdempotency-Key: {KEY}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        await writer.drain()
        await eventually(lambda: _is_under_way(uow))
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    await eventually(lambda: count_of_sessions(uow))
    assert (await start(api, deployment_id)).status == "pending"
    assert await count_of_sessions(uow) == 1


async def _is_under_way(uow: Any) -> bool:
    """Tell whether the audit log knows of the call, which is the last step before the servicer."""
    async with uow() as tx:
        return len(await tx.audit_log.list(limit=1)) == 1
