"""The examples of docs/rendering.md, each run as it stands there."""

import re
from pathlib import Path

import pytest

from manman.domain.configuration.layering import Configuration, render
from manman.domain.configuration.overlays import check_base, check_patch
from manman.domain.configuration.strategies import LEVELS, TYPES, Patch, Strategy, check_format
from manman.domain.configuration.targets import levels_of

GUIDE = Path(__file__).parents[5] / "docs" / "rendering.md"
BLOCK = re.compile(r"^```\w+ (?P<name>\w+)(?: (?P<kind>\w+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
SECTIONS = GUIDE.read_text().split("\n## ")[1:]


def run(section: str) -> tuple[Configuration, str]:
    """Return what the example of a section gives, and what the page says that it gives."""
    blocks = [(block["name"], block["kind"] or "", block["text"]) for block in BLOCK.finditer(section)]
    base = next(text for name, _, text in blocks if name == "base")
    strategy_type, result = next((kind, text) for name, kind, text in blocks if name == "result")
    parameters = next((text for name, _, text in blocks if name == "parameters"), "")
    values = dict(line.split("=", 1) for line in parameters.splitlines())
    patches = [
        Patch(patch_id=number, level=name, content=text, format=kind)
        for number, (name, kind, text) in enumerate(blocks, start=1)
        if name in LEVELS
    ]
    for patch in patches:
        assert check_format(strategy_type, patch.format) == []
        assert check_patch(strategy_type, patch.content, patch.format) == []
    assert check_base(strategy_type, base) == []
    strategy = Strategy(strategy_id=1, name="example", type=strategy_type, base=base)
    levels = levels_of([], {}, values)
    return render(strategy, patches=patches, bindings=[], levels=levels, values=values, env={}), result


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.splitlines()[0])
def test_an_example_gives_what_the_page_says(section: str) -> None:
    found, result = run(section)
    assert found.content.splitlines() == result.splitlines()


def test_every_type_has_an_example() -> None:
    shown = {run(section)[0].strategy.type for section in SECTIONS}
    assert shown | {"file_custom"} == set(TYPES)
