from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from manman import service
from manman_wrapper.settings import Settings

if TYPE_CHECKING:
    from _pytest.capture import CaptureFixture
    from _pytest.monkeypatch import MonkeyPatch


@pytest.fixture(autouse=True)
def _given(monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setenv("SESSION_ID", "7")
    for name in ("WRAPPER_TOKEN", "LOG_LEVEL", "LOG_TAIL_LINES", "DATA_DIR"):
        monkeypatch.delenv(name, raising=False)


def test_numbers_and_words_are_read_and_the_rest_has_its_default(monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_TAIL_LINES", "10")
    monkeypatch.setenv("LOG_LEVEL", "debug")
    settings = service.read_settings(Settings)
    assert (settings.session_id, settings.log_tail_lines, settings.log_level) == (7, 10, "debug")
    assert (settings.data_dir, settings.wrapper_token) == ("/session", "")


def test_an_empty_variable_counts_as_not_set(monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", "")
    monkeypatch.setenv("SESSION_ID", "")
    assert Settings.from_environment() == ["SESSION_ID is not set: set it; it means: the session this wrapper serves"]


def test_each_bad_variable_gets_one_line_with_its_name_and_what_belongs_there(
    monkeypatch: MonkeyPatch, capsys: CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SESSION_ID", "0")
    monkeypatch.setenv("LOG_TAIL_LINES", "lots")
    monkeypatch.setenv("LOG_LEVEL", "loud")
    with pytest.raises(SystemExit) as leaving:
        service.read_settings(Settings)
    assert leaving.value.code == 2
    lines = capsys.readouterr().err.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["SESSION_ID", "LOG_TAIL_LINES", "LOG_LEVEL"]
    text = "\n".join(lines)
    assert ">= 1" in text
    assert "debug, info, warning or error" in text
    assert "loud" not in text
    assert "lots" not in text


def test_the_token_never_shows(monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setenv("WRAPPER_TOKEN", "hunter2")
    settings = service.read_settings(Settings)
    assert settings.wrapper_token == "hunter2"
    assert "hunter2" not in repr(settings)
