"""The worked examples, and where each layer comes from."""

import dataclasses
import json
from typing import Any

import pytest

from manman.domain.configuration.bindings import Binding
from manman.domain.configuration.layering import Level, render
from manman.domain.configuration.strategies import (
    Options,
    Patch,
    Strategy,
    place,
)
from manman.domain.configuration.targets import Source, apply, configure, levels_of
from manman.domain.parameters import Declared
from manman.domain.rendering import FileTemplate, Rendered
from manman.errors import Conflict


def strategy(strategy_type: str = "file_properties", **more: Any) -> Strategy:
    target = "/data/x" if strategy_type.startswith("file_") else ""
    return Strategy(**{"strategy_id": 4, "name": "props", "type": strategy_type, "target_path": target, **more})


def levels(config: Any = (), deployment: Any = (), session: Any = (), **further: Any) -> list[Level]:
    return levels_of(
        [Declared(key=key, default_value=value) for key, value in dict(config).items()],
        dict(deployment),
        dict(session),
        **further,
    )


def rendered(given_strategy: Strategy, *patches: Patch, **more: Any) -> Any:
    plain: dict[str, Any] = {"bindings": [], "levels": levels(), "values": {}, "env": {}}
    return render(given_strategy, patches=patches, **{**plain, **more})


PATCHES = [
    Patch(patch_id=1, level="game_config", content="online-mode=true\nmax-players=20\nmotd=Base"),
    Patch(patch_id=2, level="game_config", content="max-players=50"),
    Patch(patch_id=3, level="server_game_config", content="motd=SGC override"),
]
BOUND = {
    "bindings": [Binding(parameter="max_players", kind="direct", target_key="max-players")],
    "levels": levels(session={"max_players": "5"}),
    "values": {"max_players": "5"},
}


@pytest.mark.parametrize(
    ("base", "content"),
    [
        ("", "online-mode=true\nmax-players=5\nmotd=SGC override"),
        ("# hdr\nmotd=A\npvp=true", "# hdr\nmotd=SGC override\npvp=true\nonline-mode=true\nmax-players=5"),
    ],
)
def test_layers_of_properties_go_over_each_other_in_their_order(base: str, content: str) -> None:
    found = rendered(strategy(base=base), *PATCHES, **BOUND)
    assert found.content == content
    assert found.base == base
    assert [(layer.level, layer.origin, layer.patch_id) for layer in found.layers] == [
        ("game_config", "patch", 1),
        ("game_config", "patch", 2),
        ("server_game_config", "patch", 3),
        ("session", "parameters", 0),
    ]


def test_json_takes_a_merge_patch_of_the_config_and_a_json_patch_of_the_session() -> None:
    found = rendered(
        strategy("file_json", base='{"S":{"Max":70,"Pass":""},"X":[1]}'),
        Patch(patch_id=1, level="game_config", content='{"S":{"Max":40}}', format="json_merge_patch"),
        Patch(patch_id=2, level="session", content='[{"op":"remove","path":"/X"}]', format="json_patch"),
    )
    assert json.loads(found.content) == {"S": {"Max": 40, "Pass": ""}}


def test_a_patch_beats_a_parameter_of_its_level_and_a_later_level_beats_both() -> None:
    binding = [Binding(parameter="n", kind="direct", target_key="n")]
    config, session = {"n": "default"}, {"n": "session"}
    patch = Patch(patch_id=1, level="game_config", content="n=patch")
    found = rendered(strategy(), patch, bindings=binding, levels=levels(config), values=config)
    assert found.content == "n=patch"
    found = rendered(strategy(), patch, bindings=binding, levels=levels(config, session=session), values=session)
    assert found.content == "n=session"
    found = rendered(strategy(), patch, bindings=binding, levels=levels(config, preview={"n": "try"}), values=config)
    assert (found.content, found.layers[-1].level) == ("n=try", "preview")


def test_placeholders_are_replaced_before_anything_is_parsed() -> None:
    found = rendered(
        strategy("file_json", base='{"max": {{max}}}'),
        Patch(patch_id=1, level="session", content='{"name": "{{name}} {{nope}}"}'),
        values={"max": "5", "name": "x"},
    )
    assert json.loads(found.content) == {"max": 5, "name": "x {{nope}}"}
    assert found.layers[0].text == '{"name": "x {{nope}}"}'


@pytest.mark.parametrize(
    ("strategy_type", "kind", "target", "base", "content"),
    [
        ("file_properties", "direct", "max", "max=1", "max=5"),
        ("file_properties", "template", "max", "max=1", "max=<n 5 b>"),
        ("file_json", "json_path", "$.a.b", "{}", {"a": {"b": 5}}),
        ("file_json", "direct", "a.b", "{}", {"a.b": 5}),
        ("file_yaml", "json_path", "$.a", "a: 1 # one\n", "a: 5 # one\n"),
        ("file_toml", "json_path", "$.a.b", "[a]\nb = 1\n", "[a]\nb = 5\n"),
        ("file_ini", "ini_section", "[S]/Max", "[S]\nMax=1\n", "[S]\nMax=5\n"),
        ("file_ini", "direct", "Max", "Max=1\n[S]\n", "Max=5\n[S]\n"),
        ("file_xml", "xpath", "/a/b", "<a><b>1</b></a>", "<a><b>5</b></a>"),
        ("cli_args", "direct", "--max", "-x", "-x --max 5"),
        ("cli_args", "template", "--max=", "-x", "-x --max='<n 5 b>'"),
    ],
)
def test_a_binding_puts_a_value_at_its_place(
    strategy_type: str, kind: str, target: str, base: str, content: Any
) -> None:
    binding = Binding(
        parameter="n",
        kind=kind,
        target_key=target,
        parameter_type="int",
        value_template="<{{key}} {{value}} {{other}}>",
    )
    values = {"n": "5", "other": "b"}
    found = rendered(
        strategy(strategy_type, base=base), bindings=[binding], levels=levels(session={"n": "5"}), values=values
    )
    assert (json.loads(found.content) if isinstance(content, dict) else found.content) == content


def test_a_binding_may_depend_on_another_parameter() -> None:
    binding = Binding(parameter="n", kind="direct", target_key="n", condition="only_if:mode=hard")
    for mode, content in (("hard", "n=5"), ("easy", "")):
        values = {"n": "5", "mode": mode}
        assert rendered(strategy(), bindings=[binding], levels=levels(session=values), values=values).content == content


def test_the_environment_goes_from_strategy_to_strategy() -> None:
    sources = [
        Source(strategy=strategy("env_vars", base="A=2\nB=1")),
        Source(
            strategy=strategy("env_vars"),
            patches=[Patch(patch_id=1, level="session", content='{"B": null}', format="json_merge_patch")],
        ),
    ]
    first, second = configure(sources, levels=levels(), values={}, env={"A": "1"})
    assert (first.base, first.content) == ("A=1\nA=2\nB=1", "A=2\nB=1")
    assert second.env == {"A": "2"}


CONFIG = Rendered(
    args="--a",
    command=(),
    entrypoint=(),
    env={"A": "1"},
    files=(FileTemplate(path="/data/x", content="old"),),
    stop_command="",
)


def test_configurations_become_arguments_environment_and_files() -> None:
    sources = [
        Source(strategy=strategy("cli_args", base="--name 'a b'")),
        Source(strategy=strategy("env_vars", base="B=2")),
        Source(strategy=strategy(base="k=1", options=Options(mode="0600"))),
    ]
    found = apply(CONFIG, configure(sources, levels=levels(), values={}, env=CONFIG.env), ["/data"])
    assert (found.args, found.command) == ("--a --name 'a b'", ())
    assert found.env == {"A": "1", "B": "2"}
    assert found.files == (FileTemplate(path="/data/x", content="k=1", mode="0600"),)


def test_arguments_are_added_to_a_command_as_a_shell_would_split_them() -> None:
    config = dataclasses.replace(CONFIG, command=("run", "x"))
    configurations = configure(
        [Source(strategy=strategy("cli_args", base="--name 'a b'"))], levels=[], values={}, env={}
    )
    found = apply(config, configurations, [])
    assert (found.args, found.command) == ("--a", ("run", "x", "--name", "a b"))


@pytest.mark.parametrize(
    ("given_strategy", "patch", "told"),
    [
        (
            strategy("file_json", base="{"),
            None,
            "strategy 4 (props, file_json) cannot be rendered: the base is not JSON",
        ),
        (
            strategy("file_json"),
            Patch(patch_id=7, level="session", content="{"),
            "patch 7 of level session is not JSON",
        ),
        (strategy("cli_args", base="'"), None, "the base cannot be split"),
        (strategy("env_vars", base="x"), None, "the base line 1 is not NAME=value"),
        (strategy("env_vars"), Patch(patch_id=7, level="session", content="x"), "patch 7 of level session line 1"),
    ],
)
def test_what_cannot_be_rendered_is_named(given_strategy: Strategy, patch: Patch | None, told: str) -> None:
    with pytest.raises(Conflict) as refused:
        rendered(given_strategy, *([patch] if patch else []))
    assert told in str(refused.value)


def test_a_binding_that_does_not_fit_is_named() -> None:
    binding = Binding(parameter="n", kind="xpath", target_key="/a")
    with pytest.raises(
        Conflict, match=r"the parameters of level session parameter n: a file_properties strategy has no"
    ):
        rendered(strategy(), bindings=[binding], levels=levels(session={"n": "1"}), values={"n": "1"})


def test_a_file_outside_every_volume_is_refused() -> None:
    configurations = configure([Source(strategy=strategy(base="a=1"))], levels=[], values={}, env={})
    with pytest.raises(Conflict, match=r"\(props\) cannot be rendered: no volume of the config covers /data/x"):
        apply(CONFIG, configurations, ["/dat", "/other/"])


@pytest.mark.parametrize(
    ("container_path", "path_override", "target"),
    [
        ("", "", ""),
        ("/data", "", "/data/x"),
        ("/saves/", "", "/saves/data/x"),
        ("/saves", "cfg/y", "/saves/cfg/y"),
        ("/saves", "/cfg//y", "/saves/cfg/y"),
    ],
)
def test_a_patch_puts_the_file_on_its_volume(container_path: str, path_override: str, target: str) -> None:
    assert place(target_path="/data/x", container_path=container_path, path_override=path_override) == target


def test_the_last_patch_with_a_place_decides_where_the_file_goes() -> None:
    patches = [
        Patch(patch_id=1, level="game_config", content="a=1", target_path="/one"),
        Patch(patch_id=2, level="session", content="b=1", target_path="/two"),
        Patch(patch_id=3, level="session", content="c=1"),
    ]
    assert rendered(strategy(), *patches).target_path == "/two"


@pytest.mark.parametrize(
    ("given_strategy", "merge"),
    [
        (strategy(), "properties"),
        (strategy("file_ini"), "ini"),
        (strategy(base="a=1"), ""),
        (strategy(options=Options(append=True)), ""),
        (strategy("file_json"), ""),
    ],
)
def test_lines_without_a_base_are_laid_over_the_file_of_the_host(given_strategy: Strategy, merge: str) -> None:
    content = '{"a": 1}' if given_strategy.type == "file_json" else "a=1"
    patch = Patch(patch_id=1, level="session", content=content)
    found = configure([Source(strategy=given_strategy, patches=[patch])], levels=levels(), values={}, env={})
    assert [file.merge for file in apply(CONFIG, found, ["/data"]).files] == [merge]


def test_a_strategy_that_gives_nothing_leaves_the_file_alone() -> None:
    found = configure([Source(strategy=strategy("file_json"))], levels=levels(), values={}, env={})
    assert apply(CONFIG, found, []).files == CONFIG.files
