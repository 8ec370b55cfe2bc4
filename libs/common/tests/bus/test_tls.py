"""The TLS rules for amqps, against a server with a certificate of its own."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from manman.bus.connection import tls_context
from manman.settings import BusSettings

NAME = "broker.example"


@dataclass(frozen=True)
class Server:
    port: int
    certificate: Path


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Make a certificate for `NAME`, signed by itself; return it and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl makes the certificate, and is not installed")
    folder = tmp_path_factory.mktemp("tls")
    subject = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject]
    made = folder / "certificate.pem", folder / "key.pem"
    subprocess.run([*command, "-out", made[0], "-keyout", made[1]], check=True, capture_output=True)
    return made


@pytest.fixture(scope="module")
async def server(certificate: tuple[Path, Path]) -> AsyncIterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    listening = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with listening:
        yield Server(listening.sockets[0].getsockname()[1], certificate[0])


async def shake_hands(server: Server, settings: BusSettings) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=tls_context(settings))
    writer.close()


async def test_an_unknown_authority_is_refused(server: Server) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        await shake_hands(server, BusSettings(rabbitmq_tls_server_name=NAME))


async def test_another_name_than_the_dialled_one_may_be_expected(server: Server) -> None:
    trusted = BusSettings(rabbitmq_ca_cert_path=str(server.certificate))
    with pytest.raises(ssl.SSLCertVerificationError):
        await shake_hands(server, trusted)
    await shake_hands(server, trusted.model_copy(update={"rabbitmq_tls_server_name": NAME}))


async def test_verification_can_be_switched_off(server: Server) -> None:
    await shake_hands(server, BusSettings(rabbitmq_ssl_verify=False))
