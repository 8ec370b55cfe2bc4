"""One look at the control plane: each question asked at most once, and the answers joined for people.

A page makes a reading, renders, and drops it; the live poller makes one a second and lends it to every page that
somebody watches. A reading knows no HTML and caches nothing beyond itself.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

from manman.errors import NotFound
from manman_ui.usage import LENGTH_S, STEP_S, Usage, end_of, usage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from datetime import datetime

    from manman.v1.actions_pb2 import ActionDefinition, ActionExecution
    from manman.v1.game_configs_pb2 import GameConfig
    from manman.v1.games_pb2 import Game
    from manman.v1.server_game_configs_pb2 import RestartState, ServerGameConfig
    from manman.v1.servers_pb2 import Server
    from manman.v1.sessions_pb2 import CrashRecord, ListSessionsResponse, Session
    from manman.v1.values_pb2 import RestartPolicy
    from manman_ui.api_client import ApiClient

LIVE = ("pending", "starting", "running", "stopping")
PLAYING = ("running", "stopping")

AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True)
class Deployment:
    """A config on a host, with what it is called. `live` is its live session, if any."""

    row: ServerGameConfig
    server: Server | None
    config: GameConfig | None
    game: Game | None
    live: Session | None

    @property
    def id(self) -> int:
        """The deployment's id."""
        return self.row.server_game_config_id

    @property
    def title(self) -> str:
        """The game's name: what players call it."""
        return self.game.name if self.game else f"Deployment {self.id}"

    @property
    def config_name(self) -> str:
        """The config's name, or its id when it is gone."""
        return self.config.name if self.config else f"config {self.row.game_config_id}"

    @property
    def host_name(self) -> str:
        """The host's name, or its id when it is gone."""
        return self.server.name if self.server else f"host {self.row.server_id}"

    def hides(self, parameter: str) -> bool:
        """Whether the value of a parameter is a secret. Nobody knows when the config is gone: then it is."""
        declared = self.config.parameters if self.config else None
        return declared is None or any(each.key == parameter and each.type == "secret" for each in declared)

    @property
    def addresses(self) -> list[tuple[str, str]]:
        """Where players connect, as (address:port, protocols and names of ports), in the order of the bindings."""
        spoken: dict[str, list[str]] = {}
        for each in self.row.connect_addresses:
            spoken.setdefault(each.address, []).append(f"{each.protocol} {each.name}".rstrip())
        return [(address, " + ".join(words)) for address, words in spoken.items()]

    @property
    def restart(self) -> RestartState | None:
        """What was decided about its last session, if that ended by itself."""
        return self.row.restart_state if self.row.HasField("restart_state") and not self.live else None

    @property
    def restart_policy(self) -> RestartPolicy:
        """The policy in force: its own as a whole, else its config's."""
        own = self.row.restart_policy
        return own if own.policy or self.config is None else self.config.restart_policy

    @property
    def is_draining(self) -> bool:
        """Whether its host starts no sessions at present."""
        return bool(self.server and (self.server.draining or self.server.host_draining))


@dataclass(frozen=True)
class SessionView:
    """A session and the deployment it is of (None when that was deleted)."""

    row: Session
    deployment: Deployment | None

    @property
    def id(self) -> int:
        """The session's id."""
        return self.row.session_id

    @property
    def title(self) -> str:
        """The game's name, or the session's number when its deployment is gone."""
        return self.deployment.title if self.deployment else f"Session {self.id}"

    @property
    def is_live(self) -> bool:
        """Whether the session still holds its deployment."""
        return self.row.status in LIVE

    @property
    def can_stop(self) -> bool:
        """Whether a stop makes sense: live, or lost and perhaps still running somewhere."""
        return self.is_live or self.row.status == "lost"

    def hides(self, parameter: str) -> bool:
        """Whether the value of a parameter is a secret, or nobody knows any more."""
        return self.deployment is None or self.deployment.hides(parameter)

    @property
    def host_is_offline(self) -> bool:
        """Whether what we know of the session may be old."""
        return bool(self.deployment and self.deployment.server and self.deployment.server.status != "online")


class Reading:
    """The answers of one look. Methods are named after what they return; all may raise `manman.errors`."""

    def __init__(self, api: ApiClient, now: datetime) -> None:
        self.now = now
        self.api = api
        self._answers: dict[object, object] = {}

    async def _once(self, key: object, ask: Callable[[], Awaitable[AnswerT]]) -> AnswerT:
        if key not in self._answers:
            self._answers[key] = await ask()
        return cast("AnswerT", self._answers[key])

    async def servers(self) -> list[Server]:
        """Return every host: online first, then by name."""
        found = await self._once("servers", self.api.servers)
        return sorted(found, key=lambda server: (server.status != "online", server.name.lower()))

    async def server(self, server_id: int) -> Server:
        """Return one host or raise NotFound."""
        return _find("host", server_id, ((server.server_id, server) for server in await self.servers()))

    async def games(self) -> list[Game]:
        """Return every game by name."""
        return sorted(await self._once("games", self.api.games), key=lambda game: game.name.lower())

    async def game(self, game_id: int) -> Game:
        """Return one game or raise NotFound."""
        return _find("game", game_id, ((game.game_id, game) for game in await self.games()))

    async def configs(self) -> list[GameConfig]:
        """Return every config by name."""
        return sorted(await self._once("configs", self.api.configs), key=lambda config: config.name.lower())

    async def config(self, config_id: int) -> GameConfig:
        """Return one config or raise NotFound."""
        return _find("config", config_id, ((config.config_id, config) for config in await self.configs()))

    async def deployments(self) -> list[Deployment]:
        """Return every deployment with its names and its live session, by title, config and host."""
        return await self._once("deployments", self._deployments)

    async def deployment(self, deployment_id: int) -> Deployment:
        """Return one deployment or raise NotFound."""
        return _find("deployment", deployment_id, ((found.id, found) for found in await self.deployments()))

    async def live_sessions(self) -> list[SessionView]:
        """Return all live sessions, the newest first."""
        return await self._joined(await self._once("live", self.api.live_sessions))

    async def recently_ended(self, limit: int) -> list[SessionView]:
        """Return the newest sessions that are not live."""
        statuses = ("stopped", "crashed", "completed", "lost")
        page = await self._once(("ended", limit), lambda: self.api.sessions(statuses=statuses, page_size=limit))
        return await self._joined(page.sessions)

    async def sessions_of(self, *, deployment_id: int = 0, server_id: int = 0, limit: int = 10) -> list[SessionView]:
        """Return the newest sessions of a deployment or a host."""
        page = await self._once(
            ("of", deployment_id, server_id, limit),
            lambda: self.api.sessions(deployment_id=deployment_id, server_id=server_id, page_size=limit),
        )
        return await self._joined(page.sessions)

    async def session_page(
        self, *, statuses: tuple[str, ...], live_only: bool, server_id: int, deployment_id: int, page_token: str
    ) -> tuple[list[SessionView], str]:
        """Return one page of filtered sessions and the token of the next page ("" when there is none)."""
        page: ListSessionsResponse = await self._once(
            ("page", statuses, live_only, server_id, deployment_id, page_token),
            lambda: self.api.sessions(
                statuses=statuses,
                live_only=live_only,
                server_id=server_id,
                deployment_id=deployment_id,
                page_token=page_token,
            ),
        )
        return await self._joined(page.sessions), page.next_page_token

    async def session(self, session_id: int) -> SessionView:
        """Return one session or raise NotFound."""
        row = await self._once(("session", session_id), lambda: self.api.session(session_id))
        return (await self._joined([row]))[0]

    async def crash(self, session: SessionView) -> CrashRecord | None:
        """Return what is kept about a crash; None for a session that did not crash."""
        if session.row.status != "crashed":
            return None
        return await self._once(("crash", session.id), lambda: self.api.crash(session.id))

    async def usage(self, session: SessionView) -> Usage | None:
        """Return what its game used in the last hour; None when it does not run, or nothing is known."""
        if session.row.status not in PLAYING:
            return None
        now_s = int(self.now.timestamp())
        end_s = end_of(now_s)
        points = await self._once(
            ("stats", session.id),
            lambda: self.api.stats(session.id, since=end_s - LENGTH_S, until=end_s, step_s=STEP_S),
        )
        return usage(points, now_s)

    async def actions(self, session_id: int) -> list[ActionDefinition]:
        """Return what a session offers now, with its inputs; nothing unless it runs."""
        return await self._once(("actions", session_id), lambda: self.api.actions(session_id))

    async def executions(self, session_id: int, limit: int) -> list[ActionExecution]:
        """Return which actions were run on a session, the newest first."""
        return await self._once(("executions", session_id, limit), lambda: self.api.executions(session_id, limit))

    async def _deployments(self) -> list[Deployment]:
        servers = {server.server_id: server for server in await self.servers()}
        configs = {config.config_id: config for config in await self.configs()}
        games = {game.game_id: game for game in await self.games()}
        live = {row.server_game_config_id: row for row in await self._once("live", self.api.live_sessions)}
        found = []
        for row in await self._once("rows", self.api.deployments):
            config = configs.get(row.game_config_id)
            found.append(
                Deployment(
                    row=row,
                    server=servers.get(row.server_id),
                    config=config,
                    game=games.get(config.game_id) if config else None,
                    live=live.get(row.server_game_config_id),
                )
            )
        return sorted(found, key=lambda each: (each.title.lower(), each.config_name.lower(), each.host_name.lower()))

    async def _joined(self, rows: Iterable[Session]) -> list[SessionView]:
        deployments = {deployment.id: deployment for deployment in await self.deployments()}
        return [SessionView(row=row, deployment=deployments.get(row.server_game_config_id)) for row in rows]


def count_by_server(sessions: Iterable[SessionView]) -> Counter[int]:
    """Return how many of `sessions` each host has."""
    return Counter(session.deployment.row.server_id for session in sessions if session.deployment)


def _find(kind: str, key: int, pairs: Iterable[tuple[int, AnswerT]]) -> AnswerT:
    for found_key, found in pairs:
        if found_key == key:
            return found
    raise NotFound(kind, key)
