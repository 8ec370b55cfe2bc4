"""The gRPC port with certificates: who gets in, and what is refused at start."""

import ipaddress
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from manman import clock
from manman.errors import Invalid, Unavailable
from manman.rpc import client
from manman.rpc.server import tls_credentials
from manman.settings import RpcClientSettings
from manman.v1 import api_pb2_grpc, games_pb2

from .conftest import Api, served, settings_for


class Authority:
    """Signs certificates, and writes them with their keys into a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.path = self._write(f"{name}.pem", self._sign(self._name, self._key.public_key(), is_authority=True))

    def issue(self, name: str) -> tuple[str, str]:
        """Return the paths of a new certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        certificate = self._write(f"{name}.pem", self._sign(subject, key.public_key(), is_authority=False))
        return certificate, self._write(f"{name}.key", secret)

    def _sign(self, subject: x509.Name, key: Any, *, is_authority: bool) -> bytes:
        now = clock.now()
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
        )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _write(self, name: str, content: bytes) -> str:
        path = self._folder / name
        path.write_bytes(content)
        return str(path)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
async def mutual(authority: Authority, database_url: str, amqp_url: str) -> AsyncIterator[Api]:
    certificate, key = authority.issue("server")
    files = {"grpc_tls_cert_path": certificate, "grpc_tls_key_path": key, "grpc_tls_client_ca_path": authority.path}
    async with served(database_url, amqp_url, **files) as api:
        yield api


async def ask(api: Api, **settings: Any) -> None:
    values = {"api_address": f"https://localhost:{api.addresses.grpc}", **settings}
    async with client.channel_to_api(RpcClientSettings(**values)) as channel:
        stub: Any = api_pb2_grpc.ManManAPIStub(channel)
        await client.call(stub.ListGames, games_pb2.ListGamesRequest(), timeout_s=5)


async def test_only_clients_with_a_certificate_of_the_authority_get_in(
    authority: Authority, mutual: Api, tmp_path: Path
) -> None:
    ours = dict(zip(("api_client_cert_path", "api_client_key_path"), authority.issue("host"), strict=True))
    stranger = Authority(tmp_path, "stranger").issue("spy")
    foreign = dict(zip(("api_client_cert_path", "api_client_key_path"), stranger, strict=True))

    await ask(mutual, api_ca_cert_path=authority.path, **ours)
    refused: list[dict[str, Any]] = [
        {"api_ca_cert_path": authority.path},
        {"api_ca_cert_path": authority.path, **foreign},
        ours,
        {"api_ca_cert_path": authority.path, **ours, "api_tls_server_name": "elsewhere"},
        {"api_use_tls": False},
    ]
    for settings in refused:
        with pytest.raises(Unavailable):
            await ask(mutual, **settings)


async def test_without_an_authority_for_clients_every_client_gets_in(
    authority: Authority, database_url: str, amqp_url: str
) -> None:
    certificate, key = authority.issue("server")
    async with served(database_url, amqp_url, grpc_tls_cert_path=certificate, grpc_tls_key_path=key) as api:
        await ask(api, api_ca_cert_path=authority.path)


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.pem")
    with pytest.raises(Invalid, match=r"missing.pem: cannot be read: No such file"):
        tls_credentials(missing, missing)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"grpc_tls_cert_path": "/a"}, "belong together"),
        ({"grpc_tls_key_path": "/a"}, "belong together"),
        ({"grpc_tls_client_ca_path": "/a"}, "needs GRPC_TLS_CERT_PATH"),
    ],
)
def test_half_a_certificate_is_refused_at_start(files: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        settings_for("postgresql://x/y", "amqp://x", **files)
