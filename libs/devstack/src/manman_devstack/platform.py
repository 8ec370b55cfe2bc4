"""The whole platform for one test: api, processor, host and ui as real processes, beside any others.

Every platform has a database, a virtual host, an environment name, ports and folders of its own. Its processes can be
killed, frozen and restarted. When the test fails inside `async with`, the end of each log is printed.
"""

import asyncio
import secrets
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from manman_devstack import docker_engine, images, services, stack
from manman_devstack import parts as infrastructure_parts
from manman_devstack.home import Home
from manman_devstack.stack import Infrastructure

if TYPE_CHECKING:
    from manman_devstack.daemons import Daemon


class Platform:
    """One running platform, from `async with` to its end.

    Without an `infrastructure` it takes a fresh database, virtual host and bucket for itself. `settings` are more
    variables for all services, `settings_of` for single ones; `parts` says which services run. The wrapper's image is
    built first when a host runs and it is not current.
    """

    def __init__(
        self,
        infrastructure: Infrastructure | None = None,
        *,
        parts: Sequence[str] = stack.SERVICES,
        settings: Mapping[str, str] | None = None,
        settings_of: Mapping[str, Mapping[str, str]] | None = None,
        environment: str | None = None,
        home: Home | None = None,
    ) -> None:
        self.environment = environment or f"t{secrets.token_hex(3)}"
        self._parts = tuple(parts)
        self._settings = settings or {}
        self._settings_of = settings_of or {}
        self._home = home or infrastructure_parts.own_run_home()
        self._ports = stack.choose_ports(self._home, f"{self.environment}-")
        self._place = stack.Place(
            environment=self.environment,
            server_name=self.environment,
            data=self._home.short_folder(f"h-{self.environment}"),
            wrapper_image=images.WRAPPER,
        )
        self._borrowed = ExitStack()
        self._infrastructure: Infrastructure | None = infrastructure
        self._environments: dict[str, dict[str, str]] = {}
        self._daemons: dict[str, Daemon] = {}

    @property
    def infrastructure(self) -> Infrastructure:
        """What it stands on."""
        if self._infrastructure is None:
            raise RuntimeError("the platform runs only inside `async with`")
        return self._infrastructure

    @property
    def rest(self) -> str:
        """Base URL of the REST API."""
        return f"http://127.0.0.1:{self._ports.rest}"

    @property
    def grpc(self) -> str:
        """Address of the gRPC API (`host:port`)."""
        return f"127.0.0.1:{self._ports.grpc}"

    @property
    def ui(self) -> str:
        """Base URL of the web UI."""
        return f"http://127.0.0.1:{self._ports.ui}"

    @property
    def database_url(self) -> str:
        """Its database (`postgresql://`)."""
        return self.infrastructure.database_url

    @property
    def amqp_url(self) -> str:
        """Its virtual host (`amqp://`)."""
        return self.infrastructure.amqp_url

    @property
    def docker_host(self) -> str:
        """The Docker engine that its host uses."""
        return self.infrastructure.docker_host

    @property
    def server_name(self) -> str:
        """The name under which its host registers."""
        return self._place.server_name

    @property
    def host_data(self) -> Path:
        """The folder of its host."""
        return self._place.data

    @property
    def labels(self) -> list[str]:
        """The labels (`key=value`) that everything of this platform in the Docker engine carries."""
        return [f"manman.environment={self.environment}"]

    def probes(self, name: str) -> str:
        """Return the base URL of a service's /livez, /readyz and /metrics."""
        return f"http://127.0.0.1:{self._ports.probes[name]}"

    def log(self, name: str) -> str:
        """Return everything that a service printed so far."""
        path = self._daemons[name].log
        return path.read_text(errors="replace") if path.exists() else ""

    def runs(self, name: str) -> bool:
        """Return whether a service runs; one that is no part of this platform does not."""
        return name in self._daemons and self._daemons[name].pid is not None

    def pid(self, name: str) -> int | None:
        """Return the process id of a service, None when it does not run."""
        return self._daemons[name].pid

    async def start(self, name: str) -> None:
        """Start a service that was killed or stopped; return when it is ready."""
        await asyncio.to_thread(services.start_all, {name: self._daemons[name]}, {name: self._environments[name]})

    async def stop(self, name: str) -> None:
        """End a service in order (SIGTERM) and wait for it."""
        await asyncio.to_thread(services.stop_all, {name: self._daemons[name]})

    async def kill(self, name: str, sign: signal.Signals = signal.SIGKILL) -> None:
        """Send that signal to a service and return when it is gone."""
        await asyncio.to_thread(self._daemons[name].stop, sign)

    async def restart(self, name: str) -> None:
        """Stop and start a service on the same ports."""
        await self.stop(name)
        await self.start(name)

    def freeze(self, name: str) -> None:
        """Let a service hang (SIGSTOP): its connections stay open."""
        self._daemons[name].freeze()

    def thaw(self, name: str) -> None:
        """End `freeze`."""
        self._daemons[name].thaw()

    async def __aenter__(self) -> Self:
        try:
            await asyncio.to_thread(self._prepare)
            await asyncio.to_thread(services.start_all, self._daemons, self._environments)
        except BaseException:
            await asyncio.shield(self._end())
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            for service in self._daemons.values():
                print(f"--- {service.name}\n{service.last_lines(40)}", file=sys.stderr)
        await self._end()

    async def _end(self) -> None:
        for service in self._daemons.values():
            if service.pid is not None:
                service.thaw()
        await asyncio.to_thread(services.stop_all, self._daemons)
        await asyncio.to_thread(self._clean)

    def _prepare(self) -> None:
        if self._infrastructure is None:
            self._infrastructure = self._borrowed.enter_context(infrastructure_parts.fresh(self._home))
        if "host" in self._parts:
            images.ensure_wrapper(self.docker_host)
        own = stack.environments(self.infrastructure, self._ports, self._place)
        for name in self._parts:
            environment = {**own[name], **self._settings, **self._settings_of.get(name, {})}
            self._environments[name] = environment
            self._daemons[name] = services.daemon(self._home, name, environment, name=f"{self.environment}-{name}")

    def _clean(self) -> None:
        if "host" in self._daemons:
            docker_engine.remove_labelled(self.docker_host, self.labels, volumes=True)
        self._borrowed.close()
