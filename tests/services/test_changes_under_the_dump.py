"""DDL between the snapshot and the reading: the dump says so and is made again, or its rows are right."""

from collections.abc import Callable

import pytest

from sidecar.database.dump import Dump
from sidecar.database.server import DefinitionChanged
from sidecar.database.snapshot import take
from tests.support.engine import checksums, dump_database, fill, load_database, session
from tests.support.servers import Server

ROWS = ",".join(f"({n}, {n})" for n in range(5000))
TABLES = [f"CREATE TABLE {name} (id INT PRIMARY KEY, v INT, w INT DEFAULT 3)" for name in ("a", "b")]
TABLES += [f"INSERT INTO {name} (id, v) VALUES {ROWS}" for name in ("a", "b")]
TABLES += ["CREATE TABLE keyless (v INT)", "INSERT INTO keyless VALUES (1), (2)"]
CHANGES = {
    "truncate": ["TRUNCATE TABLE b"],
    "drop": ["DROP TABLE b"],
    "drop and create": ["DROP TABLE b", "CREATE TABLE b (id INT PRIMARY KEY, v INT, w INT)"],
    "rename": ["RENAME TABLE b TO c"],
    "swap": ["RENAME TABLE b TO c, a TO b, c TO a"],
    "drop column": ["ALTER TABLE b DROP COLUMN v"],
    "rebuild": ["ALTER TABLE b FORCE"],
    "modify": ["ALTER TABLE b MODIFY v BIGINT"],
    "rename column": ["ALTER TABLE b CHANGE v x INT"],
    "add column": ["ALTER TABLE b ADD COLUMN x INT DEFAULT 5"],
    "add column first": ["ALTER TABLE b ADD COLUMN x INT DEFAULT 5 FIRST"],
    "truncate keyless": ["TRUNCATE TABLE keyless"],
    "drop keyless": ["DROP TABLE keyless"],
}  # fmt: skip


@pytest.mark.parametrize("connections", [1, 3])
@pytest.mark.parametrize("change", CHANGES)
def test_a_table_changed_before_it_is_read(
    server: Server, new_database: Callable[[], str], change: str, connections: int
) -> None:
    source, target = new_database(), new_database()
    fill(server, source, TABLES)
    before = checksums(server, source)
    with take(lambda: session(server.url(source)), connections) as taken:
        dump = Dump(taken, tool_version="test")
        fill(server, source, CHANGES[change])
        try:
            sql = b"".join(dump.chunks())
        except DefinitionChanged:
            pass
        else:
            load_database(server.url(target), sql)
            assert checksums(server, target) == before
    # A dump from a new snapshot is whole again.
    again, _ = dump_database(server.url(source), connections)
    fresh = new_database()
    load_database(server.url(fresh), again)
    assert checksums(server, fresh) == checksums(server, source)


def test_a_table_changed_while_it_is_read(server: Server, new_database: Callable[[], str]) -> None:
    """Once read from, a table is held by the snapshot's metadata lock: DDL waits for the dump's end."""
    source = new_database()
    fill(server, source, TABLES)
    with take(lambda: session(server.url(source)), 2) as taken:
        chunks = Dump(taken, tool_version="test").chunks()
        while b"INSERT INTO `a`" not in next(chunks):
            pass
        with pytest.raises(Exception, match="1205"):
            fill(server, source, ["SET lock_wait_timeout = 1", "TRUNCATE TABLE a"])
        assert sum(chunk.count(b"\n(") for chunk in chunks) >= 5000


def test_rows_written_during_the_dump_are_not_in_it(server: Server, new_database: Callable[[], str]) -> None:
    source, target = new_database(), new_database()
    fill(server, source, TABLES)
    before = checksums(server, source)
    with take(lambda: session(server.url(source)), 2) as taken:
        dump = Dump(taken, tool_version="test")
        fill(server, source, ["DELETE FROM a", "UPDATE b SET v = -1", "INSERT INTO keyless VALUES (3)",
                              "CREATE TABLE late (id INT)"])  # fmt: skip
        sql = b"".join(dump.chunks())
    load_database(server.url(target), sql)
    assert checksums(server, target) == before


def test_a_dump_that_is_left_half_way_gives_its_sessions_back_at_once(
    server: Server, new_database: Callable[[], str]
) -> None:
    source = new_database()
    fill(server, source, ["CREATE TABLE t (v VARCHAR(1000))", "INSERT INTO t VALUES (REPEAT('x', 1000))",
                          *["INSERT INTO t SELECT * FROM t"] * 15])  # fmt: skip
    with take(lambda: session(server.url(source)), 2) as taken:
        chunks = Dump(taken, tool_version="test").chunks()
        assert any(b"INSERT" in chunk for chunk in chunks)
        chunks.close()  # type: ignore[attr-defined]
    running = f"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = '{source}' AND COMMAND <> 'Killed'"
    for _ in range(50):
        if server.run(running + " AND SLEEP(0.1) = 0") == [(0,)]:
            break
    assert server.run(running) == [(0,)]
