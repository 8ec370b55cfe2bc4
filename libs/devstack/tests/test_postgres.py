"""The private Postgres is a real one: what it confirmed survives."""

import psycopg

from manman_devstack.postgres import PrivatePostgres


def test_confirmed_rows_survive_a_kill_of_all_its_processes(private_postgres: PrivatePostgres) -> None:
    with psycopg.connect(private_postgres.url) as connection:
        connection.execute("CREATE TABLE mark AS SELECT generate_series(1, 1000) AS number")
    private_postgres.kill()
    assert not private_postgres.is_ready()
    private_postgres.start()
    assert _count(private_postgres.url) == 1000


def test_it_comes_back_on_the_same_port_after_a_restart(private_postgres: PrivatePostgres) -> None:
    with psycopg.connect(private_postgres.url) as connection:
        connection.execute("CREATE TABLE mark AS SELECT 1 AS number")
    private_postgres.restart()
    assert _count(private_postgres.url) == 1


def test_frozen_it_does_not_answer_and_thawed_it_does(private_postgres: PrivatePostgres) -> None:
    private_postgres.freeze()
    try:
        assert not private_postgres.is_ready()
    finally:
        private_postgres.thaw()
    assert private_postgres.is_ready()


def _count(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM mark").fetchone()
    assert row is not None
    return int(row[0])
