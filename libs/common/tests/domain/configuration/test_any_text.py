"""What holds for every text: nothing changes by nothing, and what no layer names stays."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from manman.domain.configuration.overlays import overlay
from manman.domain.configuration.strategies import FORMATS, TYPES, Options, Unreadable

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
        assert any(line.replace(" ", "") == f"{key}={value}" for line in merged)
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
