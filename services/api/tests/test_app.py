"""The api as a process sees it: ports, probes, reflection, and what is not built."""

import asyncio
import json
import urllib.request
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from manman.v1 import (
    backups_pb2,
    servers_pb2,
    sessions_pb2,
    workshop_libraries_pb2,
    workshop_pb2_grpc,
    wrapper_control_pb2,
    wrapper_control_pb2_grpc,
)
from manman_devstack.eventually import eventually


def get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own ports
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


async def test_it_is_ready_once_database_and_broker_are_there(api: Any) -> None:
    async def ready() -> bool:
        return (await asyncio.to_thread(get, f"http://127.0.0.1:{api.addresses.health}/readyz"))[0] == 200

    await eventually(ready, timeout_s=10)


async def test_reflection_lists_all_four_services(api: Any) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(api.channel)
    call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))

    async for answer in call:
        names = {service.name for service in answer.list_services_response.service}
        break

    assert names >= {
        "manman.v1.ManManAPI",
        "manman.v1.WorkshopService",
        "manman.v1.LogProcessor",
        "manman.v1.WrapperControl",
    }


async def test_what_is_not_built_says_so(api: Any) -> None:
    workshop = workshop_pb2_grpc.WorkshopServiceStub(api.channel)
    wrapper = wrapper_control_pb2_grpc.WrapperControlStub(api.channel)
    calls = [
        api.control.GetBackup(backups_pb2.GetBackupRequest(backup_id=1)),
        workshop.GetLibrary(workshop_libraries_pb2.GetLibraryRequest(library_id=1)),
        wrapper.GetStatus(wrapper_control_pb2.GetStatusRequest(session_id=1)),
    ]

    for call in calls:
        code, _ = await api.refusal(call)
        assert code is grpc.StatusCode.UNIMPLEMENTED


async def test_rest_and_grpc_are_one_api(api: Any) -> None:
    await api.control.RegisterServer(servers_pb2.RegisterServerRequest(name="h1"))

    status, body = await asyncio.to_thread(get, f"http://127.0.0.1:{api.addresses.rest}/v1/servers")

    assert status == 200
    assert [server["name"] for server in json.loads(body)["servers"]] == ["h1"]


async def test_a_refusal_names_the_field_and_the_code(api: Any) -> None:
    code, text = await api.refusal(api.control.GetSession(sessions_pb2.GetSessionRequest(session_id=0)))

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "session_id" in text


async def test_an_unknown_id_is_not_found_over_both(api: Any) -> None:
    code, _ = await api.refusal(api.control.GetSession(sessions_pb2.GetSessionRequest(session_id=999)))
    status, _ = await asyncio.to_thread(get, f"http://127.0.0.1:{api.addresses.rest}/v1/sessions/999")

    assert (code, status) == (grpc.StatusCode.NOT_FOUND, 404)
