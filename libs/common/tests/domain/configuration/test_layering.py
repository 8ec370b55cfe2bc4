"""The worked examples, and where each layer comes from."""

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manman.domain.configuration.bindings import Binding
from manman.domain.configuration.layering import Level, render
from manman.domain.configuration.overlays import check_base, check_patch, overlay
from manman.domain.configuration.strategies import (
    FORMATS,
    TYPES,
    Options,
    Patch,
    Strategy,
    Unreadable,
    check_format,
    check_place,
    check_strategy,
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


def test_what_may_be_saved() -> None:
    def fields(strategy_type: str, target_path: str, **options: str) -> list[str]:
        found = check_strategy(strategy_type=strategy_type, target_path=target_path, render_options=options)
        return [problem.field for problem in found]

    assert fields("file_json", "/a/b", indent="4", merge_strategy="shallow", array_merge="append", mode="0640") == []
    assert fields("cli_args", "") == []
    assert fields("volume", "/a") == ["strategy_type"]
    for path in ("", "a", "/a/../b", "/a/", "//a", "/a/./b"):
        assert fields("file_json", path) == ["target_path"], path
    assert len(fields("file_json", "/a", indent="x", merge_strategy="x", array_merge="x", mode="x")) == 4
    assert check_format("file_json", "properties")
    assert not check_format("file_json", "json_patch")
    assert check_place(is_file=False, container_path="/data", path_override="")
    assert check_place(is_file=True, container_path="", path_override="a")
    assert check_place(is_file=True, container_path="/data", path_override="a/../b")
    assert not check_place(is_file=True, container_path="/data", path_override="a/b")


@pytest.mark.parametrize(
    ("strategy_type", "text", "text_format", "right"),
    [
        ("file_json", '{"a": {{n}}}', "template", True),
        ("file_json", '{"a": }', "template", False),
        ("file_json", '[{"op":"remove","path":"/not/there"}]', "json_patch", True),
        ("file_json", '{"op":"remove"}', "json_patch", False),
        ("file_xml", "/a/b=1", "xpath", True),
        ("file_xml", "<a>", "template", False),
        ("env_vars", "A=1", "properties", True),
        ("env_vars", "A", "template", False),
        ("cli_args", "--a 'b", "template", False),
        ("file_lua", "not lua at all {", "template", True),
        ("file_yaml", "a: [", "yaml_merge", False),
        ("file_toml", "a = 1", "template", True),
        ("file_ini", "[a]\nb=1", "ini", True),
    ],
)
def test_a_patch_must_be_readable_when_it_is_saved(
    strategy_type: str,
    text: str,
    text_format: str,
    right: bool,  # noqa: FBT001 - a column of the table
) -> None:
    assert (check_patch(strategy_type, text, text_format) == []) is right


def test_a_base_must_be_readable_when_it_is_saved() -> None:
    assert check_base("file_json", '{"a": {{n}}}') == []
    assert check_base("file_json", "{")[0].field == "base_template"
    for strategy_type in TYPES:
        assert check_base(strategy_type, "") == []


EMPTY = {"json_merge_patch": "{}", "json_patch": "[]"}
PIECES = [
    "# c\n",
    "a=1\n",
    "b: 2\n",
    "[s]\n",
    "\n",
    "{}",
    '{"a": [1, 2]}',
    "<a><!-- x --><b/></a>",
    "x: &a [1]\ny: *a\n",
    "\r\n",
]


@given(st.lists(st.sampled_from(PIECES), max_size=5).map("".join), st.sampled_from(TYPES), st.data())
def test_an_empty_layer_changes_nothing(text: str, strategy_type: str, data: Any) -> None:
    layer_format = data.draw(st.sampled_from(FORMATS[strategy_type]))
    layer = EMPTY.get(layer_format, "")
    if strategy_type == "env_vars" or layer_format == "replace":
        return
    try:
        merged = overlay(strategy_type, text, layer, layer_format, Options())
    except Unreadable:
        return
    if merged == "{}\n" and layer == "{}":
        return  # by the standard an object takes the place of a document that is none
    assert merged == text


keys = st.text(alphabet="abcAB_.-", min_size=1, max_size=5)
lines = st.lists(
    st.one_of(
        st.tuples(keys, st.text(alphabet="xyz =:é", max_size=5)).map(lambda pair: f"{pair[0]}={pair[1]}"),
        st.sampled_from(["# note", "", "; note"]),
    ),
    max_size=8,
)


@given(
    lines,
    st.dictionaries(keys, st.text(alphabet="pq", min_size=1, max_size=3), max_size=4),
    st.sampled_from(["file_properties", "file_ini"]),
)
def test_lines_that_no_layer_names_stay_where_they_are(text: list[str], changes: dict[str, str], kind: str) -> None:
    layer = "\n".join(f"{key}={value}" for key, value in changes.items())
    merged = overlay(kind, "\n".join(text), layer, "template", Options()).split("\n")
    untouched = [line for line in text if line.split("=")[0] not in changes and line]
    kept = [line for line in merged if line in untouched]
    assert kept == untouched
    for key, value in changes.items():
        assert any(line.replace("= ", "=") == f"{key}={value}" for line in merged)
    again = overlay(kind, "\n".join(merged), layer, "template", Options())
    assert again == "\n".join(merged)


documents = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(alphabet="ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


def merge(target: Any, patch: Any) -> Any:
    """Do what the pseudo code of RFC 7396 does."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


@given(documents, documents)
def test_a_merge_patch_does_what_the_standard_says(target: Any, patch: Any) -> None:
    text = json.dumps(target)
    found = json.loads(overlay("file_json", text, json.dumps(patch), "json_merge_patch", Options()))
    assert json.dumps(found, sort_keys=True) == json.dumps(merge(target, patch), sort_keys=True)


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
