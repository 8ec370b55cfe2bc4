from __future__ import annotations

from manman_devstack import configuration_page


def test_the_configuration_page_is_what_the_settings_classes_say() -> None:
    assert configuration_page.PAGE.read_text() == configuration_page.page(), (
        "run: python -m manman_devstack.configuration_page"
    )


def test_every_variable_has_a_meaning() -> None:
    rows = [line for line in configuration_page.page().splitlines() if line.startswith("| `")]

    assert len(rows) > 50
    assert [row for row in rows if row.endswith("|  |")] == []
