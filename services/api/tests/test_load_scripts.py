"""What scripts do that describe a game call by call: plain JSON in either spelling, run again as often as one likes."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message_factory import GetMessageClass

from manman.errors import AlreadyExists
from manman_devstack.control import SERVICE, Control, Json, by_grpc
from manman_devstack.partly import missing

ALREADY = "already exists"
Spelling = Callable[[Any], Any]


def plain(value: Any) -> Any:
    return value


def camel(value: Any) -> Any:
    """Return JSON values with the keys of objects in camelCase, as `grpcurl` prints them; names in maps stay."""
    if isinstance(value, list):
        return [camel(one) for one in value]
    if not isinstance(value, dict):
        return value
    spelled = {key: key if key.isupper() else _camel_word(key) for key in value}
    return {spelled[key]: camel(one) for key, one in value.items()}


def _camel_word(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


class Script:
    """Calls in one spelling, and how each ended."""

    def __init__(self, control: Control, spell: Spelling) -> None:
        self.control = control
        self.spell = spell
        self.refused: dict[str, str] = {}

    async def call(self, method: str, request: Json | None = None) -> Json:
        """Make a call; what is there already is fine, and said in a text that a script can look for."""
        try:
            return await self.control.call(method, **self.spell(request or {}))
        except AlreadyExists as there:
            self.refused[method] = str(there)
            return {}

    async def find(self, method: str, field: str, request: Json, **wanted: object) -> Json:
        """Turn the pages of a list until something has these values."""
        token = ""
        while True:
            page = await self.call(method, {**request, "page_size": 1, "page_token": token})
            for row in page[field]:
                if wanted.items() <= row.items():
                    return dict(row)
            token = page["next_page_token"]
            assert token, f"{wanted} is on no page of {method}"

    async def describe(self) -> dict[str, Any]:
        """Describe a game with all that it needs; return the ids of everything."""
        metadata = {"genre": "Sandbox", "publisher": "somebody", "tags": ["blocks", "co-op"]}
        await self.call("CreateGame", {"name": "Blocks", "steam_app_id": "", "metadata": metadata})
        game = (await self.find("ListGames", "games", {}, name="Blocks"))["game_id"]
        empty: Json = {"args_template": "", "entrypoint": [], "command": []}
        config_request = {"game_id": game, "name": "Vanilla", "image": "blocks:1", "env_template": {"EULA": "TRUE"}}
        await self.call("CreateGameConfig", {**config_request, **empty})
        config = (await self.find("ListGameConfigs", "configs", {"game_id": game}, name="Vanilla"))["config_id"]
        volume = {"config_id": config, "name": "data", "container_path": "/data", "host_subpath": "data"}
        await self.call("CreateGameConfigVolume", {**volume, "read_only": False, "volume_type": "named"})
        deployment = await self.deploy(config)
        strategy = await self.settings(game)
        for level, entity in (("game_config", config), ("server_game_config", deployment)):
            patch = {
                "strategy_id": strategy,
                "patch_level": level,
                "entity_id": entity,
                "patch_content": "motd=a\npvp=no",
            }
            await self.call("CreateConfigurationPatch", {**patch, "patch_format": "properties"})
        return {"game": game, "config": config, "deployment": deployment, "action": await self.action(game)}

    async def deploy(self, config: str) -> str:
        ports = [{"container_port": 25565, "host_port": 25565, "protocol": one} for one in ("TCP", "UDP")]
        await self.call("DeployGameConfig", {"server_id": 1, "game_config_id": config, "port_bindings": ports})
        found = await self.find("ListServerGameConfigs", "configs", {}, game_config_id=config)
        update = {"port_bindings": ports[:1], "update_paths": ["port_bindings"]}
        answer = await self.call(
            "UpdateServerGameConfig", {"server_game_config_id": found["server_game_config_id"], **update}
        )
        assert missing(ports[:1], answer["config"]["port_bindings"]) == []
        return str(found["server_game_config_id"])

    async def settings(self, game: str) -> str:
        request = {"game_id": game, "name": "server.properties", "strategy_type": "file_properties"}
        where = {"target_path": "/data/server.properties", "apply_order": 2, "description": "laid over the file"}
        await self.call("CreateConfigurationStrategy", {**request, **where})
        (found,) = (await self.call("ListConfigurationStrategies", {"game_id": game}))["strategies"]
        return str(found["strategy_id"])

    async def action(self, game: str) -> str:
        """Make a button with a choice; the choices name no input: there is one that they can be for."""
        what = {"definition_level": "game", "entity_id": game, "name": "say_preset", "label": "Say", "enabled": True}
        fields = [{"name": "message", "label": "Message", "field_type": "select", "required": True}]
        options = [{"value": "Restart soon!", "label": "Restart", "is_default": True}, {"value": "Welcome!"}]
        request = {"action": {**what, "command_template": "say {{.message}}"}, "input_fields": fields}
        return str((await self.call("CreateActionDefinition", {**request, "input_options": options}))["action_id"])


@pytest.fixture
async def control(api: Any) -> AsyncIterator[Control]:
    async with by_grpc(f"127.0.0.1:{api.addresses.grpc}") as opened:
        await opened.call("RegisterServer", name="host")
        yield opened


@pytest.mark.parametrize("spell", [plain, camel])
async def test_a_script_that_runs_twice_finds_everything_there(control: Control, spell: Spelling) -> None:
    first, second = Script(control, spell), Script(control, spell)

    made = await first.describe()
    found = await second.describe()

    assert first.refused == {}
    assert made == found
    assert second.refused.keys() == {
        "CreateGame",
        "CreateGameConfig",
        "CreateGameConfigVolume",
        "DeployGameConfig",
        "CreateConfigurationStrategy",
    }
    assert [method for method, text in second.refused.items() if ALREADY not in text] == []
    action = await control.call("GetActionDefinition", action_id=made["action"])
    assert [option["value"] for option in action["input_fields"][0]["options"]] == ["Restart soon!", "Welcome!"]
    patches = (await control.call("ListConfigurationPatches", patch_level="game_config"))["patches"]
    assert [patch["patch_format"] for patch in patches] == ["properties", "properties"]


def test_the_other_spelling_of_a_request_is_the_same_message() -> None:
    method = SERVICE.methods_by_name["CreateGameConfigVolume"]
    request = {"config_id": "1", "container_path": "/data", "host_subpath": "data"}
    message = ParseDict(camel(request), GetMessageClass(method.input_type)())
    assert MessageToDict(message, preserving_proto_field_name=True) == request
