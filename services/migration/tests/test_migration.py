from __future__ import annotations

import os
import socket
import subprocess
import sys

import psycopg
import pytest


def migrate(command: str, url: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "manman_migration", command],
        env={**os.environ, "PG_DATABASE_URL": url, **variables},  # noqa: TID251 - the program inherits ours
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    stdout, stderr = process.communicate(timeout=60)
    return process.returncode, stdout.strip(), stderr.strip()


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        return {name for (name,) in rows}


def test_upgrade_makes_the_schema_that_the_code_expects(empty_database_url: str) -> None:
    assert outcome(migrate("upgrade", empty_database_url))[0] == 0
    code, said, _ = outcome(migrate("check", empty_database_url))
    assert (code, said) == (0, "the schema is at 0001 and is what the code expects")
    assert {"servers", "sessions", "server_ports", "outbox", "parameter_definitions"} <= tables(empty_database_url)


def test_upgrade_twice_changes_nothing_and_is_no_error(empty_database_url: str) -> None:
    outcome(migrate("upgrade", empty_database_url))
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO games (name) VALUES ('OpenTTD')")
    code, said, _ = outcome(migrate("upgrade", empty_database_url))
    assert (code, said) == (0, "the schema is at 0001 (it was at 0001)")
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT count(*) FROM games").fetchone() == (1,)


def test_two_upgrades_at_once_both_succeed(empty_database_url: str) -> None:
    racers = [migrate("upgrade", empty_database_url) for _ in range(2)]
    assert [outcome(racer)[0] for racer in racers] == [0, 0]
    assert outcome(migrate("check", empty_database_url))[0] == 0


def test_downgrade_leaves_an_empty_database_that_can_be_upgraded_again(empty_database_url: str) -> None:
    outcome(migrate("upgrade", empty_database_url))
    assert outcome(migrate("downgrade", empty_database_url))[0] == 0
    assert tables(empty_database_url) <= {"alembic_version"}
    with psycopg.connect(empty_database_url) as connection:
        functions = connection.execute("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
        assert functions.fetchall() == []
    assert outcome(migrate("upgrade", empty_database_url))[0] == 0


def test_check_fails_on_a_schema_that_somebody_changed(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE sessions DROP COLUMN exit_code")
    code, _, complaint = outcome(migrate("check", database_url))
    assert code == 1
    assert "exit_code" in complaint


def test_current_names_the_revision_or_nothing(empty_database_url: str, database_url: str) -> None:
    assert outcome(migrate("current", empty_database_url))[:2] == (0, "nothing")
    assert outcome(migrate("current", database_url))[:2] == (0, "0001")


def test_a_failing_upgrade_leaves_nothing_behind(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE outbox (unrelated int)")
    code, _, complaint = outcome(migrate("upgrade", empty_database_url))
    assert code == 1
    assert "already exists" in complaint
    assert len(complaint.splitlines()) == 1
    assert tables(empty_database_url) == {"outbox"}


def test_a_database_that_never_answers_is_one_line_after_the_limit() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"postgresql://postgres@127.0.0.1:{unused.getsockname()[1]}/manman"
        code, _, complaint = outcome(migrate("upgrade", url, MIGRATION_WAIT_SECONDS="0.5"))
    assert code == 1
    assert complaint.splitlines()[-1].startswith("manman_migration upgrade: the database does not answer")


@pytest.mark.parametrize("url", ["mysql://localhost/x", "postgresql://localhost"])
def test_a_wrong_database_url_is_refused_with_the_variable_s_name(url: str) -> None:
    code, _, complaint = outcome(migrate("upgrade", url))
    assert code == 2
    assert "PG_DATABASE_URL" in complaint


def test_deleting_an_entity_takes_its_actions_and_queues_its_objects(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO servers (name) VALUES ('h')")
        connection.execute("INSERT INTO games (name) VALUES ('g')")
        connection.execute("INSERT INTO game_configs (game_id, name, image) VALUES (1, 'c', 'i')")
        connection.execute("INSERT INTO server_game_configs (server_id, game_config_id) VALUES (1, 1)")
        connection.execute("INSERT INTO sessions (sgc_id) VALUES (1)")
        connection.execute("INSERT INTO backups (session_id, server_game_config_id, s3_key) VALUES (1, 1, 'a/b')")
        connection.execute(
            "INSERT INTO action_definitions (definition_level, entity_id, name, label, command_template)"
            " VALUES ('game_config', 1, 'save', 'Save', 'save')"
        )
        connection.execute("DELETE FROM games")
        assert connection.execute("SELECT count(*) FROM action_definitions").fetchone() == (0,)
        assert connection.execute("SELECT key FROM s3_deletions").fetchall() == [("a/b",)]


def test_updated_at_moves_with_every_change(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO games (name) VALUES ('g')")
        connection.execute("UPDATE games SET name = 'h'")
        moved = connection.execute("SELECT updated_at > created_at FROM games").fetchone()
    assert moved == (True,)
