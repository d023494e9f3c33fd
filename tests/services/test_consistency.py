"""A dump shows one moment: amounts that move between tables all through it add up in what it restores."""

import contextlib
import logging
import random
import threading
from collections.abc import Callable, Iterator

import pytest

from sidecar.database import settings, snapshot
from sidecar.database.server import Session
from sidecar.errors import KimaiBackupError
from tests.support.engine import dump_database, fill, load_database, session
from tests.support.servers import Server

ROWS = 400
TABLES = ("a", "b", "c")
TOTAL = len(TABLES) * ROWS * 1000
ACCOUNTS = [
    "CREATE TABLE a (id INT PRIMARY KEY, amount INT NOT NULL, pad VARCHAR(200))",
    "CREATE TABLE b (id VARBINARY(20) PRIMARY KEY, amount INT NOT NULL, pad VARCHAR(200))",
    "CREATE TABLE c (id BIGINT PRIMARY KEY, amount INT NOT NULL, pad VARCHAR(200))",
    *[f"INSERT INTO {t} VALUES " + ",".join(f"({n},1000,REPEAT('x',200))" for n in range(ROWS)) for t in TABLES],
]


@contextlib.contextmanager
def moving(server: Server, database: str, threads: int = 2) -> Iterator[list[int]]:
    """Writers that move amounts between rows of all tables; gives how many moves each has made."""
    stop = threading.Event()
    moves = [0] * threads

    def write(number: int) -> None:
        chance = random.Random(number)
        with server.admin(database) as connection, connection.cursor() as cursor:
            while not stop.is_set():
                amount = chance.randint(1, 50)
                cursor.execute("BEGIN")
                for table, change in zip(sorted(chance.choices(TABLES, k=2)), (-amount, amount), strict=True):
                    row = number * ROWS // threads + chance.randrange(ROWS // threads)
                    cursor.execute(f"UPDATE {table} SET amount = amount + {change} WHERE id = '{row}'")
                cursor.execute("COMMIT")
                moves[number] += 1

    writers = [threading.Thread(target=write, args=(number,)) for number in range(threads)]
    for writer in writers:
        writer.start()
    try:
        yield moves
    finally:
        stop.set()
        for writer in writers:
            writer.join()


def total(server: Server, database: str) -> int:
    sums = "+".join(f"(SELECT SUM(amount) FROM {table})" for table in TABLES)
    return int(server.run(f"SELECT {sums}", database=database)[0][0])


@pytest.mark.parametrize("connections", [1, 2, 4])
def test_every_dump_under_writers_adds_up(
    server: Server, new_database: Callable[[], str], connections: int, caplog: pytest.LogCaptureFixture
) -> None:
    source = new_database()
    fill(server, source, ACCOUNTS)
    texts = set()
    with moving(server, source) as moves:
        for _ in range(50):
            before = sum(moves)
            sql, description = dump_database(server.url(source), connections)
            if sum(moves) == before:
                continue  # nobody wrote during this one: it proves nothing
            target = new_database()
            load_database(server.url(target), sql, connections)
            assert total(server, target) == TOTAL
            assert [table.rows for table in description.tables] == [ROWS] * 3
            texts.add(sql)
            if len(texts) == 5:
                break
    assert len(texts) == 5
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING], "not with all connections"


def test_without_lock_tables_one_connection_dumps_and_says_so(
    server: Server, new_database: Callable[[], str], new_user: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    source, target = new_database(), new_database()
    fill(server, source, ACCOUNTS)
    url = new_user(source, "SELECT")
    with moving(server, source):
        sql, _ = dump_database(url, 3)
    assert f"one connection instead of 3: the user lacks LOCK TABLES on {source}" in caplog.text
    load_database(server.url(target), sql)
    assert total(server, target) == TOTAL


def test_an_open_writer_ends_the_wait_for_the_lock_soon(
    server: Server,
    new_database: Callable[[], str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(settings.SETTINGS, "lock_wait_timeout", 1)
    source, target = new_database(), new_database()
    fill(server, source, ACCOUNTS)
    with server.admin(source) as writer, writer.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE a SET amount = amount - 5 WHERE id = 1")
        sql, _ = dump_database(server.url(source), 2)
        assert "one connection instead of 2: the tables can't be locked" in caplog.text
        # Whoever waited behind the lock goes on: nothing holds it any more.
        with server.admin(source) as other, other.cursor() as waiting:
            waiting.execute("UPDATE b SET amount = amount + 1 WHERE id = '3'")
            waiting.execute("UPDATE b SET amount = amount - 1 WHERE id = '3'")
        cursor.execute("UPDATE c SET amount = amount + 5 WHERE id = 1")
        cursor.execute("COMMIT")
    load_database(server.url(target), sql)
    assert total(server, target) == TOTAL


def test_an_address_that_leads_to_different_servers_gets_one_connection(
    server: Server, new_database: Callable[[], str], caplog: pytest.LogCaptureFixture
) -> None:
    source = new_database()
    fill(server, source, ACCOUNTS)
    opened: list[Session] = []

    def connect() -> Session:
        opened.append(session(server.url(source)))
        if len(opened) == 2:  # as behind a proxy that spreads connections over a cluster
            opened[-1].variables["hostname"] = "another"
        return opened[-1]

    with snapshot.take(connect, 2) as taken:
        assert len(taken.sessions) == 1
        assert taken.sessions[0].value("SELECT COUNT(*) FROM a") == str(ROWS)
    assert "the address leads to different servers" in caplog.text


def test_a_node_of_a_cluster_gets_one_connection(
    server: Server, new_database: Callable[[], str], caplog: pytest.LogCaptureFixture
) -> None:
    source = new_database()

    def connect() -> Session:
        connected = session(server.url(source))
        connected.variables["wsrep_on"] = "ON"
        return connected

    with snapshot.take(connect, 4) as taken:
        assert len(taken.sessions) == 1
    assert "Galera" in caplog.text


def test_fewer_connections_than_asked_for_are_used_and_said(
    server: Server, new_database: Callable[[], str], caplog: pytest.LogCaptureFixture
) -> None:
    source = new_database()
    fill(server, source, ACCOUNTS)
    opened: list[Session] = []

    def connect() -> Session:
        if len(opened) == 2:
            opened.append(opened[0])
            raise KimaiBackupError("Too many connections")
        opened.append(session(server.url(source)))
        return opened[-1]

    with snapshot.take(connect, 4) as taken:
        assert len(taken.sessions) == 2
        assert [s.value("SELECT SUM(amount) FROM a") for s in taken.sessions] == [str(ROWS * 1000)] * 2
    assert "2 connections instead of 4: Too many connections" in caplog.text


def test_all_sessions_of_a_snapshot_see_the_same_moment(server: Server, new_database: Callable[[], str]) -> None:
    source = new_database()
    fill(server, source, ACCOUNTS)
    sums = "SELECT " + ", ".join(f"(SELECT CAST(SUM(amount * id) AS CHAR) FROM {table})" for table in TABLES)
    with moving(server, source):
        for _ in range(20):
            with snapshot.take(lambda: session(server.url(source)), 3) as taken:
                assert len({s.query(sums)[0] for s in taken.sessions}) == 1


def test_a_snapshot_that_a_server_does_not_give_is_an_error(
    server: Server, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """MySQL warns where the isolation level makes WITH CONSISTENT SNAPSHOT void: a warning must not pass."""
    with contextlib.closing(session(server.url(new_database()))) as connected:
        query = connected.query

        def warn(sql: str) -> object:
            answer = query("SELECT 1 / 0" if sql.startswith("START") else sql)
            connected.warning_count = max(connected.warning_count, int(sql.startswith("START")))
            return answer

        monkeypatch.setattr(connected, "query", warn)
        with pytest.raises(KimaiBackupError, match="no consistent snapshot"):
            snapshot.begin(connected)
