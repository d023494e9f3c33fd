"""Paging by the key covers every row once, whatever the keys; the digest tells each difference, and only those."""

import hashlib
from collections.abc import Callable

import pytest

from sidecar.database import pages, snapshot
from sidecar.database import server as engine_server
from sidecar.database.rows import read_rows
from sidecar.database.tables import read_tables
from sidecar.manifest import Database
from tests.support.engine import checksums, differences, dump_database, fill, load_database, session
from tests.support.servers import Server

KEYS = {
    "bigint": ("BIGINT", [-(2**63), -(2**63) + 1, -5, 0, 3, 2**31, 2**63 - 1]),
    "four over the whole range": ("BIGINT", [-(2**63), -(10**15), 10**15, 2**63 - 1]),
    "unsigned": ("BIGINT UNSIGNED", [0, 1, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 2, 2**64 - 1]),
    "zerofill": ("INT(8) UNSIGNED ZEROFILL", [0, 7, 4294967295]),
    "tiny": ("TINYINT", list(range(-128, 128))),
    "all negative": ("MEDIUMINT", [-8388608, -77, -1]),
}


@pytest.mark.parametrize("first_rows", [1, 2, 3, 2000])
@pytest.mark.parametrize("name", KEYS)
def test_every_key_is_covered_once(
    server: Server, new_database: Callable[[], str], name: str, first_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "_FIRST_ROWS", first_rows)
    monkeypatch.setattr(pages, "_MOST_ROWS", first_rows)
    source, target = new_database(), new_database()
    kind, keys = KEYS[name]
    rows = ",".join(f"({key},'{key}')" for key in keys)
    fill(server, source, [f"CREATE TABLE t (id {kind} PRIMARY KEY, v VARCHAR(30))", f"INSERT INTO t VALUES {rows}"])
    sql, description = dump_database(server.url(source), 3)
    assert description.tables[0].rows == len(keys)
    load_database(server.url(target), sql)
    assert checksums(server, target) == checksums(server, source)


def test_many_packets_arrive_and_the_digest_knows_nothing_of_them(
    server: Server, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = new_database(), new_database()
    numbers = "(SELECT 0 d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6"
    numbers += " UNION SELECT 7 UNION SELECT 8 UNION SELECT 9)"
    joined = ", ".join(f"{numbers} n{n}" for n in range(5))
    key = "n0.d + 10 * n1.d + 100 * n2.d + 1000 * n3.d + 10000 * n4.d"
    fill(server, source, [
        "CREATE TABLE t (id BIGINT PRIMARY KEY, note VARCHAR(200), KEY note_key (note(10)))",
        # Rows grow towards the end, so that pages guessed by the first ones are too large.
        f"INSERT INTO t SELECT ({key}) * 7 - 300000, REPEAT('it''s ', ({key}) DIV 4000) FROM {joined}",
    ])  # fmt: skip
    seen: dict[str, set[str]] = {"digest": set(), "rows": set()}
    for aim, first, connections in ((900_000, 2_000, 1), (900_000, 2_000, 4), (50_000, 100, 3), (5_000_000, 50_000, 2)):
        monkeypatch.setattr(pages, "_AIM", aim)
        monkeypatch.setattr(pages, "_FIRST_ROWS", first)
        sql, description = dump_database(server.url(source), connections)
        seen["digest"].add(description.tables[0].digest)
        seen["rows"].add(hashlib.sha256(b"\n".join(line.rstrip(b",;") for line in sql.split(b"\n")
                                                   if line.startswith(b"("))).hexdigest())  # fmt: skip
        assert description.tables[0].rows == 100_000
        assert description.largest_statement < 1_000_000
    assert len(seen["digest"]) == len(seen["rows"]) == 1
    load_database(server.url(target), sql, 3)
    assert checksums(server, target) == checksums(server, source)
    assert differences(server.url(target), description, 3) == []


def describe(server: Server, database: str, *statements: str) -> Database:
    fill(server, database, list(statements))
    return dump_database(server.url(database), 2)[1]


def test_two_equal_rows_are_told_from_two_others(server: Server, new_database: Callable[[], str]) -> None:
    """A XOR of row hashes can't: equal rows cancel out."""
    table = "CREATE TABLE t (v VARCHAR(9))"
    first = describe(server, new_database(), table, "INSERT INTO t VALUES ('dup'),('dup'),('a')")
    second = describe(server, new_database(), table, "INSERT INTO t VALUES ('zzz'),('zzz'),('a')")
    same = describe(server, new_database(), table, "INSERT INTO t VALUES ('dup'),('a'),('dup')")
    assert first.tables[0].rows == second.tables[0].rows == 3
    assert first.tables[0].digest != second.tables[0].digest
    assert first.tables[0].digest == same.tables[0].digest


@pytest.mark.parametrize("key", ["INT PRIMARY KEY", "INT"])
@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("DELETE FROM t WHERE id = 700", "rows was 1000, is 999"),
        ("UPDATE t SET v = CONCAT(v, ' ') WHERE id = 700", "digest was"),
        ("UPDATE t SET v = 'X700' WHERE id = 700", "digest was"),
        ("UPDATE t SET v = NULL WHERE id = 700", "digest was"),
        ("UPDATE t SET id = 100000 WHERE id = 700", "digest was"),
        ("UPDATE t a JOIN t b ON a.id = 1 AND b.id = 2 SET a.v = 'x2', b.v = 'x1'", "digest was"),
        ("INSERT INTO t VALUES (100001, 'new')", "rows was 1000, is 1001"),
        ("ALTER TABLE t MODIFY v VARCHAR(60)", "definition"),
        ("ALTER TABLE t ADD KEY late (v)", "definition"),
        ("ALTER TABLE t COMMENT = 'x'", "definition"),
        ("DROP TABLE t", "table t: existence was there, is missing"),
        ("CREATE TABLE u (id INT)", "table u: existence was absent, is there"),
        ("CREATE VIEW w AS SELECT 1 AS one", "view w: existence was absent, is there"),
        ("CREATE OR REPLACE VIEW seen AS SELECT 2 AS one", "view seen: definition.sql"),
    ],
)
def test_every_change_is_found(
    server: Server, new_database: Callable[[], str], key: str, change: str, what: str
) -> None:
    source = new_database()
    rows = ",".join(f"({n},'x{n}')" for n in range(1000))
    before = describe(server, source, f"CREATE TABLE t (id {key}, v VARCHAR(50) COLLATE utf8mb4_bin)",
                      f"INSERT INTO t VALUES {rows}", "CREATE VIEW seen AS SELECT 1 AS one")  # fmt: skip
    assert differences(server.url(source), before) == []
    fill(server, source, [change])
    found = differences(server.url(source), before)
    assert found
    assert any(what in line for line in found)


@pytest.mark.flavours("mariadb")
@pytest.mark.parametrize(
    "made",
    [
        "(id INT PRIMARY KEY, v INT) PARTITION BY HASH (id) PARTITIONS 4",
        "(id INT PRIMARY KEY, v INT) PARTITION BY RANGE (id) "
        "(PARTITION p0 VALUES LESS THAN (500), PARTITION p1 VALUES LESS THAN MAXVALUE)",
        "(id INT PRIMARY KEY, v INT) ENGINE=MyISAM",
        "(id INT PRIMARY KEY, v INT) ENGINE=Aria",
        "(id INT PRIMARY KEY, v INT) ENGINE=MEMORY",
    ],
)
def test_tables_that_are_not_read_in_the_keys_order_have_a_digest_without_order(
    server: Server, new_database: Callable[[], str], made: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "_FIRST_ROWS", 100)
    source, target = new_database(), new_database()
    keys = [(n * 7919) % 3000 for n in range(3000)]
    rows = ",".join(f"({key},{number})" for number, key in enumerate(keys))
    fill(server, source, [f"CREATE TABLE t {made}", f"INSERT INTO t VALUES {rows}", "DELETE FROM t WHERE id % 5 = 0",
                          "INSERT INTO t VALUES (5, -1), (10, -2)"])  # fmt: skip
    sql, description = dump_database(server.url(source), 3)
    assert description.tables[0].digest.startswith("sha256-sum:")
    for connections in (1, 3):
        load_database(server.url(target), sql, connections)
        assert checksums(server, target) == checksums(server, source)
        assert differences(server.url(target), description, connections) == []


def test_a_key_that_another_index_would_serve_better_is_still_read_in_order(
    server: Server, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index (v, id) holds every column: an optimizer that took it would give rows in its order."""
    monkeypatch.setattr(pages, "_FIRST_ROWS", 70)
    source = new_database()
    rows = ",".join(f"({n},{(n * 7919) % 1000})" for n in range(1000))
    table = "CREATE TABLE t (id INT PRIMARY KEY, v INT, KEY cover (v, id))"
    fill(server, source, [table, f"INSERT INTO t VALUES {rows}"])
    sql, _ = dump_database(server.url(source), 2)
    keys = [int(line[1 : line.index(b",")]) for line in sql.split(b"\n") if line.startswith(b"(")]
    assert keys == list(range(1000))


def test_packets_over_the_wire_stay_small_whatever_the_rows(
    server: Server, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A packet limit below every row: each row comes by itself, none is lost."""
    monkeypatch.setattr(engine_server, "PACKET_LIMIT", 2_000)
    source, target = new_database(), new_database()
    rows = ",".join(f"({n}, REPEAT('it''s', {n % 11 * 100}), REPEAT(X'00FF', {n % 7 * 90}))" for n in range(120))
    fill(server, source, ["CREATE TABLE t (id INT PRIMARY KEY, v TEXT, b BLOB)", f"INSERT INTO t VALUES {rows}"])
    small, description = dump_database(server.url(source), 2)
    monkeypatch.undo()
    large, expected = dump_database(server.url(source), 2)
    assert description.tables[0] == expected.tables[0]
    assert len(small) > len(large)
    load_database(server.url(target), small)
    assert checksums(server, target) == checksums(server, source)


def test_a_server_that_counts_otherwise_than_it_delivers_is_not_believed(
    server: Server, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = new_database()
    fill(server, source, ["CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1),(2),(3)"])
    with snapshot.take(lambda: session(server.url(source)), 1) as taken:
        [only] = taken.sessions
        query = only.query

        def cut(sql: str) -> object:
            rows = query(sql)
            return [(rows[0][0], rows[0][1].replace(b",\n(2)\0", b""))] if "GROUP_CONCAT" in sql else rows

        monkeypatch.setattr(only, "query", cut)
        found = b"".join(packet.sql for packet in read_rows(taken, read_tables(only)[0]))
    # Seen as cut, and so asked for in smaller parts: nothing is lost.
    assert found.replace(b",\n(", b"") == b"1)2)3)"
