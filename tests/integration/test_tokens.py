"""A platform that asks for tokens: the host and the page work with theirs, and say what is wrong without."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from manman import clock
from manman.db.engine import connected
from manman.db.unit_of_work import UnitOfWork
from manman.errors import PermissionDenied
from manman.health import Health
from manman.rpc.client import channel_to_api
from manman.settings import DatabaseSettings
from manman.v1 import servers_pb2
from manman_api import app as api
from manman_api.handlers.access import create_token
from manman_api.settings import Settings as ApiSettings
from manman_devstack.eventually import eventually
from manman_host.identity import register
from manman_host.orphans import asks_api
from manman_host.settings import Settings as HostSettings
from manman_ui import app as ui
from manman_ui.pages.problems import explain
from manman_ui.settings import Settings as UiSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HERE = {"health_check_host": "127.0.0.1", "health_check_port": 0}


class Guarded:
    """An api in token mode, and tokens for it."""

    def __init__(self, address: str, uow: UnitOfWork) -> None:
        self.address = address
        self._uow = uow

    async def token(self, role: str) -> str:
        made = await create_token(name=role, role=role, expires_at=None, now=clock.now(), uow=self._uow)
        return made[1]


@pytest.fixture
async def guarded(database_url: str, amqp_url: str) -> AsyncIterator[Guarded]:
    settings = ApiSettings(
        pg_database_url=database_url,
        rabbitmq_url=amqp_url,
        listen_host="127.0.0.1",
        port=0,
        rest_port=0,
        grpc_auth_mode="token",
        **HERE,
    )
    up: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()

    async def live() -> None:
        async with api.serving(settings) as addresses:
            up.set_result(addresses.grpc)
            await stop.wait()

    life = asyncio.get_running_loop().create_task(live())
    async with connected(DatabaseSettings(pg_database_url=database_url)) as engine:
        yield Guarded(f"127.0.0.1:{await up}", UnitOfWork(engine))
    stop.set()
    await life


@contextlib.asynccontextmanager
async def registering(guarded: Guarded, token: str, folder: Path) -> AsyncIterator[tuple[Any, Any]]:
    """Register a host; gives the task and the component that tells how it goes."""
    settings = HostSettings(
        api_address=guarded.address, grpc_auth_token=token, host_data_dir=str(folder), server_name="h", **HERE
    )
    component = Health().component("api")
    async with channel_to_api(settings) as channel, asyncio.TaskGroup() as group:
        wanted = servers_pb2.ServerCapabilities(total_memory_mb=1)
        task = group.create_task(
            register(channel, settings, wanted, (), file=folder / "host.json", component=component)
        )
        yield task, component
        task.cancel()


async def test_a_host_with_the_role_host_registers(guarded: Guarded, tmp_path: Path) -> None:
    token = await guarded.token("host")
    async with registering(guarded, token, tmp_path) as (task, component):
        assert (await task).name == "h"
        assert component.reason is None


@pytest.mark.parametrize(("role", "words"), [("", "wants to know who calls"), ("viewer", "needs the role host")])
async def test_a_refused_host_says_which_setting_is_wrong(
    guarded: Guarded, tmp_path: Path, role: str, words: str
) -> None:
    token = await guarded.token(role) if role else ""
    async with registering(guarded, token, tmp_path) as (task, component):
        await eventually(lambda: words in (component.reason or ""), timeout_s=10)
        assert "GRPC_AUTH_TOKEN must be an API token with the role host" in component.reason
        assert not task.done()


async def test_a_host_asks_about_sessions_with_its_token(guarded: Guarded, tmp_path: Path) -> None:
    settings = HostSettings(api_address=guarded.address, host_data_dir=str(tmp_path), **HERE)
    async with channel_to_api(settings) as channel:
        assert await asks_api(channel, await guarded.token("host"))(999) is False


@pytest.mark.parametrize(
    ("role", "status", "words"),
    [("operator", 200, "Dashboard"), ("", 502, "GRPC_AUTH_TOKEN")],
)
async def test_the_page_shows_what_its_token_may_see(guarded: Guarded, role: str, status: int, words: str) -> None:
    token = await guarded.token(role) if role else ""
    settings = UiSettings(host="127.0.0.1", port=0, control_api_url=guarded.address, grpc_auth_token=token, **HERE)
    async with ui.serving(settings) as running, httpx2.AsyncClient(trust_env=False) as browser:
        answer = await browser.get(running.url)
        assert (answer.status_code, words in answer.text) == (status, True)


def test_a_refusal_is_explained_as_a_matter_of_the_page_s_own_token() -> None:

    assert "GRPC_AUTH_TOKEN" in explain(PermissionDenied("x")).advice
