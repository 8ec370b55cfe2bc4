"""What may be saved as a strategy or a patch."""

import pytest

from manman.domain.configuration.overlays import check_base, check_patch
from manman.domain.configuration.strategies import TYPES, check_format, check_place, check_size, check_strategy


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


def test_a_text_has_a_limit_and_yaml_a_lower_one() -> None:
    assert check_size("f", "file_json", "x" * 100_000) == []
    assert check_size("f", "file_yaml", "x" * 100_000)[0].field == "f"
    assert check_size("f", "file_json", "ü" * 200_000)


def test_a_base_must_be_readable_when_it_is_saved() -> None:
    assert check_base("file_json", '{"a": {{n}}}') == []
    assert check_base("file_json", "{")[0].field == "base_template"
    for strategy_type in TYPES:
        assert check_base(strategy_type, "") == []
