import pytest
from _pytest.capture import CaptureFixture
from _pytest.monkeypatch import MonkeyPatch
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import make_url
from sqlalchemy.dialects.postgresql.psycopg import PGDialectAsync_psycopg

from manman import service
from manman.settings import BusSettings, DatabaseSettings, ObjectStoreSettings, RuntimeSettings


class Both(RuntimeSettings, DatabaseSettings, BusSettings):
    required_name: str


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: MonkeyPatch) -> None:
    for name in ("PG_DATABASE_URL", "RABBITMQ_URL", "S3_BUCKET", "LOG_LEVEL", "REQUIRED_NAME"):
        monkeypatch.delenv(name, raising=False)


def test_each_bad_variable_gets_one_line_with_its_name_and_the_fix(
    monkeypatch: MonkeyPatch, capsys: CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOG_LEVEL", "loud")
    monkeypatch.setenv("RABBITMQ_URL", "http://somewhere")
    monkeypatch.setenv("DB_PORT", "seven")
    with pytest.raises(SystemExit) as leaving:
        service.read_settings(Both)
    assert leaving.value.code == 2
    lines = capsys.readouterr().err.splitlines()[1:]
    assert {line.split()[0] for line in lines} == {"RABBITMQ_URL", "DB_PORT", "LOG_LEVEL", "REQUIRED_NAME"}
    text = "\n".join(lines)
    assert "it must be amqp or amqps" in text
    assert "REQUIRED_NAME is not set: set it" in text


def test_a_secret_never_shows(monkeypatch: MonkeyPatch, capsys: CaptureFixture[str]) -> None:
    monkeypatch.setenv("RABBITMQ_URL", "ftp://user:hunter2@host/")
    with pytest.raises(SystemExit):
        service.read_settings(BusSettings)
    assert "hunter2" not in capsys.readouterr().err
    monkeypatch.setenv("RABBITMQ_URL", "amqp://user:hunter2@host/")
    assert "hunter2" not in repr(BusSettings())


def test_the_database_url_wins_over_its_parts(
    monkeypatch: MonkeyPatch,
) -> None:
    monkeypatch.setenv("PG_DATABASE_URL", "postgres://u:p@h:1/d")
    monkeypatch.setenv("DB_HOST", "other")
    settings = DatabaseSettings()
    assert settings.psycopg_url == "postgresql://u:p@h:1/d"
    assert settings.sqlalchemy_url == "postgresql+psycopg://u:p@h:1/d"


def test_the_parts_make_a_url_with_special_characters_quoted(monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "p@ss/word")
    assert DatabaseSettings().psycopg_url == "postgresql://postgres:p%40ss%2Fword@localhost:5432/manman?sslmode=prefer"


@pytest.mark.parametrize(
    "variables",
    [
        {"DB_HOST": "/var/run/Postgres", "DB_PORT": "6000", "DB_PASSWORD": "p@ss"},
        {"PG_DATABASE_URL": "postgresql://postgres:p%40ss@%2Fvar%2Frun%2FPostgres:6000/manman?sslmode=prefer"},
    ],
)
def test_both_drivers_find_the_socket_in_a_directory(monkeypatch: MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = DatabaseSettings()
    for_libpq = conninfo_to_dict(settings.psycopg_url)
    _, for_sqlalchemy = PGDialectAsync_psycopg().create_connect_args(make_url(settings.sqlalchemy_url))
    wanted = {"host": "/var/run/Postgres", "port": "6000", "user": "postgres", "password": "p@ss", "dbname": "manman"}
    assert for_libpq == wanted | {"sslmode": "prefer"}
    assert {name: str(for_sqlalchemy[name]) for name in wanted} == wanted


def test_an_empty_variable_counts_as_not_set(monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setenv("S3_BUCKET", "")
    assert ObjectStoreSettings().s3_bucket == "manman-logs"


def test_settings_cannot_be_changed_after_they_were_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        RuntimeSettings().log_level = "debug"
