"""A *scene* is a site with one of everything in it, for calls that name what is there.

A request may hold words in angle brackets: `<game>` is the id of the one that is always there, `<new game>` of one made
for this request, `<text>` and `<path>` a text and a path that nobody used before. So no row of a
table hangs on another.
"""

import itertools
from typing import Any

from manman import clock
from manman.db import transitions
from manman.db.samples import SampleRow
from manman.db.transitions import Change
from manman.domain.sessions import Status
from manman.messages.health import HostSample, SessionSample
from manman_devstack.control import Control, Json

FEATURES = ["entrypoint", "config_files", "read_only_volumes"]


class Scene:
    """The things, by the words for them; `control` is the door by which they are made."""

    def __init__(self, control: Control, uow: Any) -> None:
        self.control = control
        self.uow = uow
        self.ids: dict[str, str] = {}
        self._numbers = itertools.count(1)

    async def filled(self, value: Any) -> Any:
        """Return `value` with every word in angle brackets replaced."""
        if isinstance(value, dict):
            return {key: await self.filled(one) for key, one in value.items()}
        if isinstance(value, list):
            return [await self.filled(one) for one in value]
        return await self._thing(value[1:-1]) if isinstance(value, str) and value.startswith("<") else value

    async def _thing(self, word: str) -> str:
        if word.startswith("new "):
            made: str = await getattr(self, word.replace(" ", "_"))()
            return made
        return {"text": self.text, "path": lambda: f"/{self.text()}"}.get(word, lambda: self.ids[word])()

    def text(self) -> str:
        return f"thing_{next(self._numbers)}"

    async def build(self) -> None:
        """Make the things that are always there, and a game that runs."""
        offer = {"total_memory_mb": 8192, "available_memory_mb": 8192}
        registered = await self.control.call("RegisterServer", name="host", features=FEATURES, capabilities=offer)
        self.ids["server"] = registered["server_id"]
        for word in ("game", "config", "volume", "strategy", "patch", "action"):
            self.ids[word] = await getattr(self, f"new_{word}")()
        binding = {"container_port": 7777, "protocol": "udp"}
        deployed = await self._made("DeployGameConfig", "config", port_bindings=[binding], **self._place("config"))
        self.ids |= {"deployment": deployed["server_game_config_id"], "port": deployed["port_bindings"][0]["host_port"]}
        self.ids["session"] = await self._started(self.ids["deployment"], Status.RUNNING)
        self.ids["ended"] = await self._started(await self.new_deployment(), Status.CRASHED)
        await self._measure()

    async def _made(self, method: str, field: str, **fields: Any) -> Json:
        answer: Json = (await self.control.call(method, **fields))[field]
        return answer

    def _place(self, config: str) -> Json:
        return {"server_id": self.ids["server"], "game_config_id": self.ids[config]}

    async def new_server(self) -> str:
        return str((await self._made("CreateServer", "server", name=self.text()))["server_id"])

    async def new_game(self) -> str:
        return str((await self._made("CreateGame", "game", name=self.text()))["game_id"])

    async def new_config(self) -> str:
        parameters = [{"key": "slots", "type": "int", "default_value": "8", "max_value": 64}]
        fields: Json = {"game_id": self.ids["game"], "name": self.text(), "image": "game:1", "parameters": parameters}
        made = await self._made("CreateGameConfig", "config", **fields)
        volume: Json = {"config_id": made["config_id"], "name": "data", "container_path": "/data"}
        await self._made("CreateGameConfigVolume", "volume", **volume)
        return str(made["config_id"])

    async def new_volume(self) -> str:
        fields: Json = {"config_id": self.ids["config"], "name": self.text(), "container_path": f"/{self.text()}"}
        return str((await self._made("CreateGameConfigVolume", "volume", **fields))["volume_id"])

    async def new_strategy(self) -> str:
        fields: Json = {
            "game_id": self.ids["game"],
            "name": self.text(),
            "base_template": "# settings\nslots={{slots}}",
        }
        where = {"strategy_type": "file_properties", "target_path": "/data/server.properties"}
        return str((await self._made("CreateConfigurationStrategy", "strategy", **fields, **where))["strategy_id"])

    async def new_patch(self) -> str:
        fields: Json = {"strategy_id": self.ids["strategy"], "patch_content": "motd=hello"}
        where = {"patch_level": "game_config", "entity_id": self.ids["config"]}
        return str((await self._made("CreateConfigurationPatch", "patch", **fields, **where))["patch_id"])

    async def new_action(self) -> str:
        fields = [{"name": "words", "label": "Words", "field_type": "text", "required": True}]
        action: Json = {"definition_level": "game", "entity_id": self.ids["game"], "name": self.text(), "enabled": True}
        action["command_template"] = "say {{.words}}"
        made = await self.control.call("CreateActionDefinition", action=action, input_fields=fields)
        return str(made["action_id"])

    async def new_deployment(self) -> str:
        fields: Json = {"server_id": self.ids["server"], "game_config_id": await self.new_config()}
        return str((await self._made("DeployGameConfig", "config", **fields))["server_game_config_id"])

    async def new_session(self) -> str:
        """Make a session that its host has not answered for."""
        return await self._started(await self.new_deployment(), None)

    async def _started(self, deployment_id: str, status: Status | None) -> str:
        started = await self._made("StartSession", "session", server_game_config_id=deployment_id)
        if status is not None:
            async with self.uow() as tx:
                row = await tx.sessions.lock(int(started["session_id"]))
                await transitions.apply(tx, row, Change(status=status), now=row.created_at)
                await tx.commit()
        return str(started["session_id"])

    async def _measure(self) -> None:
        """Have the host and its session measured a moment ago."""
        row = SampleRow(
            server_id=int(self.ids["server"]),
            at=clock.now(),
            span_seconds=15,
            host=HostSample(cpu_count=2, load=1.5),
            sessions=[SessionSample(session_id=int(self.ids["session"]), cpu_cores=0.5, players=3)],
        )
        async with self.uow.batch() as batch:
            batch.add_samples([row])
            await batch.commit()
