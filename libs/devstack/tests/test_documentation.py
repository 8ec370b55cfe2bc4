"""The pages name only what is there: links lead somewhere, and every file that a flow names exists."""

from __future__ import annotations

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
FLOWS = sorted(ROOT.glob("docs/flows/*.md"))
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(#[^)\s]*)?\)")
METRIC = re.compile(r"(?:Counter|Gauge|Histogram)\(\s*\"(manman_\w+)\"")
FILE = re.compile(r"[\w./-]*\w+\.py\b|(?:libs|services|tests)/[\w./-]*[\w/]")


def named(path: pathlib.Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(page: pathlib.Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {"#" + re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_to_a_file_or_heading_that_is_there(page: pathlib.Path) -> None:
    for target, anchor in LINK.findall(page.read_text()):
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), target
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{target}{anchor}"


@pytest.mark.parametrize("page", FLOWS, ids=named)
def test_every_file_that_a_flow_names_is_there(page: pathlib.Path) -> None:
    sources = [
        str(path) for path in [*ROOT.glob("libs/**/*.py"), *ROOT.glob("services/**/*.py"), *ROOT.glob("tests/**/*.py")]
    ]
    for name in FILE.findall(page.read_text()):
        is_there = (ROOT / name).exists() or any(source.endswith("/" + name) for source in sources)
        assert is_there, f"{name} is named, but there is no such file"


def test_every_metric_is_on_the_operating_page() -> None:
    page = (ROOT / "docs" / "operating.md").read_text()
    sources = [*ROOT.glob("libs/common/src/manman/**/*.py"), *ROOT.glob("services/*/src/**/*.py")]
    metrics = {name for source in sources for name in METRIC.findall(source.read_text())}

    assert len(metrics) > 10
    assert sorted(name for name in metrics if f"`{name}`" not in page) == []


def test_the_six_flows_have_their_page_and_the_index_lists_them() -> None:
    index = (ROOT / "docs" / "README.md").read_text()

    assert [page.name.split("-")[0] for page in FLOWS] == ["1", "2", "3", "4", "5", "6"]
    for page in [*FLOWS, *ROOT.glob("docs/adr/000[1-9]*.md")]:
        assert str(page.relative_to(ROOT / "docs")) in index
