import asyncio
import json

from manman.health import Health


async def get(port: int, path: str, *, request: bytes | None = None) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request or f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    if not answer:
        return 0, b""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


async def test_readiness_names_every_reason_and_turns_green_when_all_are_gone() -> None:
    health = Health()
    broker = health.component("broker")
    works = False

    async def database() -> None:
        if not works:
            raise ConnectionError("connection refused")

    health.add("database", database)
    async with health.serve("127.0.0.1", 0) as port:
        status, body = await get(port, "/readyz")
        assert status == 503
        reasons = json.loads(body)["problems"]
        assert reasons.pop("start")
        assert reasons == {"broker": "not started yet", "database": "connection refused"}
        broker.up()
        works = True
        status, body = await get(port, "/readyz")
        assert (status, list(json.loads(body)["problems"])) == (503, ["start"])
        health.complete()
        status, body = await get(port, "/readyz?verbose")
        assert (status, json.loads(body)["problems"]) == (200, {})
        broker.down("the broker is away")
        assert (await get(port, "/readyz"))[0] == 503
        assert (await get(port, "/livez"))[0] == 200
        assert (await get(port, "/healthz"))[0] == 200


async def test_a_check_that_hangs_makes_the_process_not_ready_instead_of_hanging_the_probe() -> None:
    health = Health()
    health.add("first", lambda: asyncio.sleep(60))
    health.add("second", lambda: asyncio.sleep(60))
    health.complete()
    async with asyncio.timeout(4):
        assert set(await health.problems()) == {"first", "second"}


async def test_metrics_are_prometheus_text_and_other_paths_and_methods_are_refused() -> None:
    async with Health().serve("127.0.0.1", 0) as port:
        status, body = await get(port, "/metrics")
        assert status == 200
        assert b"# TYPE " in body
        assert (await get(port, "/secret"))[0] == 404
        assert (await get(port, "", request=b"POST /livez HTTP/1.1\r\n\r\n"))[0] == 405


async def test_garbage_on_the_probe_port_closes_that_connection_only() -> None:
    async with Health().serve("127.0.0.1", 0) as port:
        assert await get(port, "", request=b"\x16\x03\x01\r\n") == (0, b"")
        assert await get(port, "", request=b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200) == (0, b"")
        assert (await get(port, "/livez"))[0] == 200
