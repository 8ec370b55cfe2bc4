"""What a host is told; the only reader of the environment in this service."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from manman.domain.samples import LONGEST_INTERVAL_S
from manman.settings import BusSettings, RpcClientSettings, RuntimeSettings, TracingSettings
from manman_host.session_folder import socket_path_problem

PORT_RANGE = re.compile(r"(\d{1,5})-(\d{1,5})(?:/(tcp|udp))?", re.IGNORECASE)
UNIX = "unix://"


class Settings(RuntimeSettings, BusSettings, RpcClientSettings, TracingSettings):
    """Everything a host needs to know before it asks the API who it is."""

    server_name: str = Field(default="", max_length=255, description="the host's name; empty: {hostname}-{ENVIRONMENT}")
    environment: str = Field(
        default="", pattern=r"^[A-Za-z0-9_-]{0,32}$", description="keeps containers of several environments apart"
    )
    public_address: str = Field(default="", max_length=255, description="where players connect to, shown to them")
    port_range: str = Field(
        default="",
        description="host ports for automatic choice, such as 27000-27999 or 27000-27499/udp,28000-28099/tcp",
    )
    host_data_dir: str = Field(
        min_length=1, pattern=r"^/", description="folder for game data, as the Docker engine's machine sees it"
    )
    data_dir_internal: str = Field(
        default="", description="the same folder as this process sees it; empty: HOST_DATA_DIR"
    )
    docker_host: str = Field(default="unix:///var/run/docker.sock", description="address of the engine: unix://...")
    docker_socket: str = Field(
        default="", description="the engine's socket on its own machine, for wrappers; empty: that of DOCKER_HOST"
    )
    wrapper_image: str = Field(default="manman-wrapper:dev", min_length=1, description="image of the wrapper")
    image_pull_policy: Literal["always", "if-not-present", "never"] = Field(
        default="always", description="always (falling back to a local image), if-not-present or never"
    )
    image_pull_timeout_seconds: float = Field(default=1200.0, gt=0, description="how long one pull may take")
    registry_auth_file: str = Field(
        default="",
        description="credentials of registries, a file such as docker login writes; empty: ~/.docker/config.json",
    )
    game_tty: bool = Field(default=False, description="give games a terminal; then stdout and stderr are one")
    game_pids_limit: int = Field(
        default=1024,
        ge=0,
        description="how many processes and threads a game may have; its config wins; 0: any",
    )
    heartbeat_seconds: float = Field(default=3.0, gt=0, le=60, description="how often this host says that it is alive")
    stats_interval_seconds: float = Field(
        default=15.0,
        ge=0,
        le=LONGEST_INTERVAL_S,
        description="how often CPU, memory, network, disk and players are looked at; 0: never",
    )
    starting_report_seconds: float = Field(
        default=5.0, gt=0, description="how often a session in preparation is reported again"
    )
    stop_grace_seconds: float = Field(
        default=30.0, gt=0, description="how long a game may take to stop when nobody said otherwise"
    )
    query_interval_seconds: float = Field(
        default=2.0, gt=0, description="how often a game with a query is asked whether it answers"
    )
    orphan_grace_seconds: float = Field(
        default=300.0, ge=0, description="how old a container that nobody knows must be before it is removed"
    )
    orphan_interval_seconds: float = Field(default=60.0, gt=0, description="how often orphans are looked for")
    orphan_dry_run: bool = Field(default=False, description="only report orphans, remove nothing")
    max_parallel_starts: int = Field(default=4, ge=1, le=64, description="how many sessions are prepared at a time")

    @field_validator("docker_host")
    @classmethod
    def _is_a_unix_socket(cls, value: str) -> str:
        if not value.startswith(UNIX):
            raise ValueError("it must be unix:// and a path: wrappers use the engine's socket")
        return value

    @model_validator(mode="after")
    def _has_room_for_sockets(self) -> Settings:
        problem = socket_path_problem(Path(self.inner_data_dir), self.environment)
        if problem:
            raise ValueError(f"{'DATA_DIR_INTERNAL' if self.data_dir_internal else 'HOST_DATA_DIR'}: {problem}")
        return self

    @field_validator("port_range")
    @classmethod
    def _is_a_port_range(cls, value: str) -> str:
        for part in filter(None, value.split(",")):
            match = PORT_RANGE.fullmatch(part.strip())
            if match is None or not 1 <= int(match[1]) <= int(match[2]) <= 65535:  # noqa: PLR2004 - the last port
                raise ValueError(f"{part.strip()!r} is not a range such as 27000-27999 or 27000-27999/udp")
        return value

    @property
    def inner_data_dir(self) -> str:
        """The data folder as this process sees it."""
        return self.data_dir_internal or self.host_data_dir

    @property
    def engine_socket(self) -> str:
        """The engine's socket on the engine's machine."""
        return self.docker_socket or self.docker_host.removeprefix(UNIX)

    @property
    def default_name(self) -> str:
        """The name when none is set and none was kept."""
        return self.server_name or "-".join(filter(None, [socket.gethostname(), self.environment]))

    @property
    def port_ranges(self) -> list[tuple[int, int, str]]:
        """The advertised ranges as (first, last, protocol); protocol TCP, UDP or empty for both."""
        found = [PORT_RANGE.fullmatch(part.strip()) for part in filter(None, self.port_range.split(","))]
        return [(int(match[1]), int(match[2]), (match[3] or "").upper()) for match in found if match]
