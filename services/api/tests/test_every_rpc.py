"""The table of RPCs, walked: every one that the proto has, by both doors, against a real site.

A new RPC gets rows in `rpc_table_catalogue` or `rpc_table_sessions`: at least one success and one refusal.
"""

import base64
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.api import annotations_pb2

from manman.db.engine import connected
from manman.db.unit_of_work import UnitOfWork
from manman.errors import ManManError
from manman.rpc.access import required_role
from manman.rpc.errors import RemoteFailure
from manman.settings import DatabaseSettings
from manman.v1.permissions_pb2 import ROLE_UNSPECIFIED
from manman_devstack import databases, parts, vhosts
from manman_devstack.control import SERVICE, Control, by_grpc, by_rest
from manman_devstack.partly import missing
from manman_devstack.scripted_host import console

from .conftest import in_own_task, served
from .rpc_rows import Row
from .rpc_scene import Scene
from .rpc_table_catalogue import CATALOGUE
from .rpc_table_sessions import LATER, SESSIONS

TABLE = {**CATALOGUE, **SESSIONS}
RPCS = {method.name: method for method in SERVICE.methods}
ROWS = [(rpc, row) for rpc, rows in {**TABLE, **LATER}.items() for row in rows]
PAGED = [name for name, rpc in RPCS.items() if "page_token" in rpc.input_type.fields_by_name and name not in LATER]
NEWEST_FIRST = {"ListSessions"}


@contextlib.asynccontextmanager
async def site(database_url: str, amqp_url: str) -> AsyncIterator[tuple[Scene, dict[str, Control]]]:
    async with (
        connected(DatabaseSettings(pg_database_url=database_url)) as engine,
        served(database_url, amqp_url) as api,
        by_grpc(f"127.0.0.1:{api.addresses.grpc}") as grpc,
        by_rest(f"http://127.0.0.1:{api.addresses.rest}") as rest,
    ):
        scene = Scene(grpc, UnitOfWork(engine))
        await scene.build()
        async with console(amqp_url, int(scene.ids["server"])):
            yield scene, {"grpc": grpc, "rest": rest}


@pytest.fixture(scope="module")
async def running(
    postgres_url: str, template_database: str, rabbitmq_urls: parts.Broker
) -> AsyncIterator[tuple[Scene, dict[str, Control]]]:
    with (
        databases.fresh_database(postgres_url, template_database) as database_url,
        vhosts.fresh_vhost(rabbitmq_urls.url, rabbitmq_urls.management_url) as amqp_url,
    ):
        async with in_own_task(site(database_url, amqp_url)) as given:
            yield given


@pytest.mark.parametrize("rpc", RPCS)
def test_every_rpc_has_a_role_a_path_and_its_rows_in_the_table(rpc: str) -> None:
    method = RPCS[rpc]
    options: Any = method.GetOptions()

    assert required_role(method) != ROLE_UNSPECIFIED
    assert options.Extensions[annotations_pb2.http].WhichOneof("pattern") is not None
    if rpc in LATER:
        assert rpc not in TABLE
        return
    rows = TABLE[rpc]
    assert any(row.succeeds for row in rows), f"{rpc} has no success in the table"
    assert any(not row.succeeds for row in rows), f"{rpc} has no refusal in the table"


def test_the_table_has_no_rpc_that_is_not_there() -> None:
    assert {*TABLE, *LATER} <= RPCS.keys()


@pytest.mark.parametrize("door", ["grpc", "rest"])
@pytest.mark.parametrize(("rpc", "row"), ROWS, ids=[f"{rpc}-{row.name}" for rpc, row in ROWS])
async def test_a_call_answers_as_the_table_says(
    running: tuple[Scene, dict[str, Control]], rpc: str, row: Row, door: str
) -> None:
    scene, doors = running
    request = await scene.filled(row.request)

    if row.error is not None:
        with pytest.raises((ManManError, RemoteFailure)) as refused:
            await doors[door].call(rpc, **request)
        assert (type(refused.value), row.words in str(refused.value)) == (row.error, True), str(refused.value)
        return
    answer = await doors[door].call(rpc, **request)
    assert missing(await scene.filled(row.answer), answer) == []


@pytest.mark.parametrize("door", ["grpc", "rest"])
@pytest.mark.parametrize("rpc", PAGED)
async def test_a_paged_list_shows_every_row_once_in_the_order_of_ids(
    running: tuple[Scene, dict[str, Control]], rpc: str, door: str
) -> None:
    scene, doors = running
    for word in ("<new server>", "<new game>", "<new session>"):
        await scene.filled(word)
    rows = RPCS[rpc].output_type.fields[0]
    identifier = rows.message_type.fields[0]
    ids: list[int] = []
    token = ""
    while True:
        page = await doors[door].call(rpc, page_size=1, page_token=token)
        ids += [int(row[identifier.name]) for row in page[rows.name]]
        token = page["next_page_token"]
        if not token:
            break
        assert base64.b64decode(token) == str(len(ids)).encode()

    assert len(ids) > 1
    assert ids == sorted(set(ids), reverse=rpc in NEWEST_FIRST)
