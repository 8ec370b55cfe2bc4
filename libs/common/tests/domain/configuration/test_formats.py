"""One table per format: text, layer, format, result."""

import json

import pytest

from manman.domain.configuration import env_vars
from manman.domain.configuration.overlays import overlay
from manman.domain.configuration.strategies import Options, Unreadable

APPEND = Options(append=True)


@pytest.mark.parametrize(
    ("text", "layer", "layer_format", "result"),
    [
        ("# hdr\nmotd=A\npvp=true", "motd=B\nnew=1", "properties", "# hdr\nmotd=B\npvp=true\nnew=1"),
        ("a = 1\n\n! note\nb : 2\n", "b=3", "template", "a = 1\n\n! note\nb : 3\n"),
        ("a=1\na=2\n", "a=3", "template", "a=1\na=3\n"),
        ("a=1\r\nb=2\r\n", "a=2\nc=3", "template", "a=2\r\nb=2\r\nc=3\r\n"),
        ("url=http://x=y:z\n", "other=1", "template", "url=http://x=y:z\nother=1\n"),
        ("a\\=b=1\n", "a\\=b=2", "template", "a\\=b=2\n"),
        ("long=one \\\n  two\nb=1\n", "long=three", "template", "long=three\nb=1\n"),
        ("a=1\nb=2\n", '{"a": null, "b": true, "c d": "x\\ny", "e": " z"}', "json_merge_patch", None),
        ("", "a=1\n# comment of the patch\nb=2\n", "template", "a=1\nb=2"),
        ("no separator here\na=1", "a=2", "template", "no separator here\na=2"),
    ],
)
def test_properties(text: str, layer: str, layer_format: str, result: str | None) -> None:
    expected = "b=true\nc\\ d=x\\ny\ne=\\ z\n" if result is None else result
    assert overlay("file_properties", text, layer, layer_format, Options()) == expected


def test_appended_properties_repeat_the_key_after_its_last_line() -> None:
    assert overlay("file_properties", "op=ann\nx=1", "op=bob", "template", APPEND) == "op=ann\nop=bob\nx=1"


@pytest.mark.parametrize(
    ("text", "layer", "layer_format", "result"),
    [
        (
            '{"S":{"Max":70,"Pass":""},"X":[1]}',
            '{"S":{"Max":40}}',
            "json_merge_patch",
            {"S": {"Max": 40, "Pass": ""}, "X": [1]},
        ),
        ('{"S":1,"X":[1]}', '[{"op":"remove","path":"/X"}]', "json_patch", {"S": 1}),
        ("", '{"a":{"b":null,"c":1}}', "template", {"a": {"c": 1}}),
        ('{"a":1}', '["b"]', "json_merge_patch", ["b"]),
        ('{"a":[1,2]}', '{"a":[3]}', "template", {"a": [3]}),
        ('{"a":1}', '{"a":true}', "template", {"a": True}),
        (
            '{"a":[1]}',
            '[{"op":"add","path":"/a/-","value":2},{"op":"test","path":"/a/0","value":1}]',
            "json_patch",
            {"a": [1, 2]},
        ),
    ],
)
def test_json(text: str, layer: str, layer_format: str, result: object) -> None:
    assert json.loads(overlay("file_json", text, layer, layer_format, Options())) == result


RFC_7396 = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "patch", "result"), RFC_7396)
def test_every_example_of_the_merge_patch_standard(target: object, patch: object, result: object) -> None:
    merged = overlay("file_json", json.dumps(target), json.dumps(patch), "json_merge_patch", Options())
    assert json.loads(merged) == result


def test_json_keeps_order_and_is_written_with_the_indent_asked_for() -> None:
    merged = overlay("file_json", '{"z":1,"ä":2}\n', '{"y":3}', "template", Options(indent=4))
    assert merged == '{\n    "z": 1,\n    "ä": 2,\n    "y": 3\n}\n'


def test_lists_are_appended_and_objects_replaced_when_a_strategy_says_so() -> None:
    assert json.loads(overlay("file_json", '{"a":[1]}', '{"a":[2]}', "template", APPEND)) == {"a": [1, 2]}
    shallow = overlay("file_json", '{"a":{"x":1}}', '{"a":{"y":2}}', "template", Options(shallow=True))
    assert json.loads(shallow) == {"a": {"y": 2}}


YAML = """# server
name: "old"  # shown
limits: &limits
  max: 5
copy: *limits
list:
  - a
off: yes
"""


@pytest.mark.parametrize(
    ("layer", "layer_format", "old", "new"),
    [
        ("name: new", "template", 'name: "old"  # shown', 'name: "new"  # shown'),
        (
            "limits: {max: 6}",
            "yaml_merge",
            "limits: &limits\n  max: 5\ncopy: *limits",
            "limits:\n  max: 6\ncopy:\n  max: 5",
        ),
        ('{"list": ["b"]}', "json_merge_patch", "  - a", "  - b"),
        ('{"list": null}', "json_merge_patch", "list:\n  - a\n", ""),
        ('{"off": "no"}', "json_merge_patch", "off: yes", 'off: "no"'),
    ],
)
def test_yaml(layer: str, layer_format: str, old: str, new: str) -> None:
    assert overlay("file_yaml", YAML, layer, layer_format, Options()) == YAML.replace(old, new)


def test_a_yaml_patch_changes_what_it_names_and_nothing_that_is_shared_with_it() -> None:
    merged = overlay("file_yaml", "a: &x\n  k: 1\nb: *x\n", "b: {k: 2}", "template", Options())
    assert merged == "a:\n  k: 1\nb:\n  k: 2\n"


def test_a_json_patch_goes_over_yaml_in_place() -> None:
    merged = overlay(
        "file_yaml", "a: 1 # one\nb: 2\n", '[{"op":"replace","path":"/b","value":3}]', "json_patch", Options()
    )
    assert merged == "a: 1 # one\nb: 3\n"


def test_a_yaml_file_of_comments_keeps_them() -> None:
    assert overlay("file_yaml", "# only words\n", "a: 1", "template", Options()) == "# only words\na: 1\n"


TOML = '# top\n[server]\nport = 1 # here\nname = "x"\n'


@pytest.mark.parametrize(
    ("layer", "layer_format", "result"),
    [
        ("[server]\nport = 2", "template", TOML.replace("port = 1", "port = 2")),
        ('{"server": {"name": null}}', "json_merge_patch", TOML.replace('name = "x"\n', "")),
        ('[{"op":"replace","path":"/server/port","value":3}]', "json_patch", TOML.replace("port = 1", "port = 3")),
    ],
)
def test_toml(layer: str, layer_format: str, result: str) -> None:
    assert overlay("file_toml", TOML, layer, layer_format, Options()) == result


INI = "; top\nglobal=0\n[Server]\nMax = 5 ; five\nAdmin=ann\nAdmin=bob\n\n[Other]\nx=1\n"


@pytest.mark.parametrize(
    ("layer", "old", "new"),
    [
        ("[Server]\nMax=6", "Max = 5 ; five", "Max = 6"),
        ("[Server]\nAdmin=cid", "Admin=bob", "Admin=cid"),
        ("[Server]\nNew=1", "Admin=bob\n", "Admin=bob\nNew=1\n"),
        ("[Server]\nmax=6", "Admin=bob\n", "Admin=bob\nmax=6\n"),
        ("[Third]\ny=2\n[4th]\nz=3", "x=1\n", "x=1\n\n[Third]\ny=2\n\n[4th]\nz=3\n"),
        ("global=1", "global=0", "global=1"),
        ("other=1", "global=0\n", "global=0\nother=1\n"),
    ],
)
def test_ini(layer: str, old: str, new: str) -> None:
    assert overlay("file_ini", INI, layer, "ini", Options()) == INI.replace(old, new)


def test_appended_ini_keys_stand_after_the_last_of_their_name() -> None:
    merged = overlay("file_ini", INI, "[Server]\nAdmin=cid\nAdmin=dan", "template", APPEND)
    assert "Admin=ann\nAdmin=bob\nAdmin=cid\nAdmin=dan\n\n[Other]" in merged


XML = """<?xml version="1.0" encoding="UTF-8"?>
<!-- top -->
<Server port="1">
  <!-- note -->
  <Max>5</Max>
</Server>
"""


@pytest.mark.parametrize(
    ("layer", "old", "new"),
    [
        ("/Server/Max=6", "<Max>5", "<Max>6"),
        ("/Server/@port=2", 'port="1"', 'port="2"'),
        ("/Server/Max/@unit=a<b", "<Max>", '<Max unit="a&lt;b">'),
        ("/Server[@port='1']/Max=7", "<Max>5", "<Max>7"),
        ("/Server/Name=x=y", "  <Max>5</Max>\n", "  <Max>5</Max>\n  <Name>x=y</Name>\n"),
        ("# nothing\n", "", ""),
    ],
)
def test_xml(layer: str, old: str, new: str) -> None:
    assert overlay("file_xml", XML, layer, "xpath", Options()) == XML.replace(old, new)


def test_a_whole_document_takes_the_place_of_the_one_before() -> None:
    assert overlay("file_xml", XML, "<Other/>", "template", Options()) == "<Other/>"


def test_the_default_namespace_has_a_prefix() -> None:
    merged = overlay("file_xml", '<a xmlns="urn:x"><b>1</b></a>', "/ns:a/ns:b=2", "xpath", Options())
    assert merged == '<a xmlns="urn:x"><b>2</b></a>'


def test_entities_are_not_resolved() -> None:
    text = '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/hostname">]><a><b>1</b><c>&e;</c></a>'
    assert "&e;" in overlay("file_xml", text, "/a/b=2", "xpath", Options())


@pytest.mark.parametrize(
    ("text", "layer", "layer_format", "result"),
    [("--a", "--b", "template", "--a --b"), ("--a", "--b", "replace", "--b"), ("", " --b ", "template", "--b")],
)
def test_arguments(text: str, layer: str, layer_format: str, result: str) -> None:
    assert overlay("cli_args", text, layer, layer_format, Options()) == result


@pytest.mark.parametrize("strategy_type", ["file_lua", "file_custom"])
def test_the_last_text_of_a_free_format_wins(strategy_type: str) -> None:
    assert overlay(strategy_type, "return {}", "return {a=1}", "template", Options()) == "return {a=1}"
    assert overlay(strategy_type, "return {}", " \n", "template", Options()) == "return {}"


def test_the_environment_is_overlaid_by_name() -> None:
    env = {"A": "1", "B": "2\n3"}
    assert env_vars.overlay(env, "A=x=y\n# no\n\nC = 4", "template") == {"A": "x=y", "B": "2\n3", "C": "4"}
    assert env_vars.overlay(env, '{"A": null, "D": 5}', "json_merge_patch") == {"B": "2\n3", "D": "5"}


@pytest.mark.parametrize(
    ("strategy_type", "text", "layer", "layer_format", "told"),
    [
        ("file_json", "{}", "{", "template", "is not JSON"),
        ("file_json", "{}", '{"a": NaN}', "template", "NaN"),
        ("file_json", "{}", '{"op":"add"}', "json_patch", "is not a JSON patch"),
        ("file_json", "{}", '[{"op":"remove","path":"/x"}]', "json_patch", "cannot be applied"),
        ("file_json", "{}", '[{"op":"jump","path":"/x"}]', "json_patch", "is not a JSON patch"),
        ("file_json", "[" * 100_000, "{}", "template", "is not JSON"),
        ("file_yaml", "a: 1", "a: [", "template", "is not YAML"),
        ("file_toml", "", "a =", "template", "is not TOML"),
        ("file_toml", "", "[]", "json_merge_patch", "no table"),
        ("file_xml", "<a/>", "nothing", "xpath", "is not xpath=value"),
        ("file_xml", "<a/>", "/a[=1", "xpath", "xpath"),
        ("file_xml", "<a/>", "//b=1", "xpath", "names nothing"),
        ("file_xml", "", "/a=1", "xpath", "has no document"),
        ("file_xml", "<a/>", "<a>", "template", "is not XML"),
        ("file_xml", "<a/>", "/a=\x01", "xpath", "XML cannot"),
        ("file_properties", "", "words", "template", "is not key=value"),
        ("file_properties", "", '{"a": {}}', "json_merge_patch", "use a text"),
        ("file_ini", "", "=1", "ini", "no key"),
    ],
)
def test_what_cannot_be_read_is_told(strategy_type: str, text: str, layer: str, layer_format: str, told: str) -> None:
    with pytest.raises(Unreadable, match=told):
        overlay(strategy_type, text, layer, layer_format, Options())


def test_a_yaml_bomb_is_refused() -> None:
    bomb = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
    )
    with pytest.raises(Unreadable, match="aliases"):
        overlay("file_yaml", bomb, "b: 1", "template", Options())


@pytest.mark.parametrize("kind", ["file_properties", "file_ini"])
@pytest.mark.parametrize("text", [" " * 250_000, " " * 250_000 + "x", "\n".join(f"k{n}=1" for n in range(25_000))])
def test_a_large_text_takes_no_more_than_its_share_of_time(kind: str, text: str) -> None:
    layer = "\n".join(f"k{n}=2" for n in range(0, 40_000, 2))
    assert overlay(kind, text, layer, "template", APPEND).count("=2") == 20_000
