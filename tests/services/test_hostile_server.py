"""A server whose global settings are as unhelpful as they can be: the round trip is the same."""

from collections.abc import Callable, Iterator

import pytest

from sidecar.database.server import MARIADB_SETTINGS, SETTINGS
from tests.services.test_round_trip import CASES
from tests.support.engine import checksums, differences, dump_database, fill, load_database, session
from tests.support.servers import Server, running

HOSTILE = [
    "--sql-mode=ANSI_QUOTES,PAD_CHAR_TO_FULL_LENGTH,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,STRICT_ALL_TABLES,NO_ZERO_DATE",
    "--transaction-isolation=READ-COMMITTED",
    "--group-concat-max-len=1024",
    "--character-set-server=latin1",
    "--collation-server=latin1_german1_ci",
    "--default-time-zone=-11:30",
    "--lock-wait-timeout=2",
    "--max-statement-time=20",
    "--idle-transaction-timeout=1",
    "--idle-readonly-transaction-timeout=1",
    "--net-read-timeout=2",
    "--net-write-timeout=2",
    "--default-storage-engine=Aria",
    "--max-allowed-packet=16M",
    "--alter-algorithm=INSTANT",
]
GLOBALS = {
    "sql_select_limit": 1,
    "group_concat_max_len": 4,
    "sql_quote_show_create": 0,
    "max_error_count": 0,
    "sql_auto_is_null": 1,
    "sql_safe_updates": 1,
    "foreign_key_checks": 1,
    "unique_checks": 0,
    "autocommit": 0,
    "tx_read_only": 1,
    "sql_big_selects": 0,
    "max_join_size": 1000,
    "wait_timeout": 5,
    "optimizer_switch": "'mrr=on,mrr_cost_based=off,mrr_sort_keys=on,index_merge_sort_intersection=on'",
}
TABLES = [
    "CREATE TABLE pairs (id INT PRIMARY KEY, c CHAR(10), t TEXT, d DOUBLE, at TIMESTAMP NULL) ENGINE=InnoDB "
    "CHARACTER SET utf8mb4",
    "INSERT INTO pairs VALUES " + ",".join(f"({n}, 'a', 'ü\\\\''{n}', {n} / 3, '2026-07-0{n % 9 + 1}')" for n in range(3000)),
    "CREATE TABLE keyless (v VARCHAR(20), b BLOB) ENGINE=InnoDB CHARACTER SET utf8mb4",
    "INSERT INTO keyless VALUES ('x', X'00'), ('x', X'00'), (NULL, NULL)",
]


@pytest.fixture(scope="module")
def hostile() -> Iterator[Server]:
    with running(*HOSTILE) as server:
        server.run(*[f"SET GLOBAL {name} = {value}" for name, value in GLOBALS.items()])
        yield server


@pytest.fixture
def server(hostile: Server) -> Server:
    return hostile


def fill_well(server: Server, database: str, statements: list[str]) -> None:
    fill(server, database, [
        "SET sql_select_limit = DEFAULT, sql_safe_updates = 0, unique_checks = 1, max_error_count = 64, sql_mode = ''",
        "SET sql_select_limit = 18446744073709551615, SESSION TRANSACTION READ WRITE".split(", SESSION")[0],
        "SET SESSION TRANSACTION READ WRITE", "SET max_join_size = DEFAULT, sql_big_selects = 1",
        "SET default_storage_engine = InnoDB, alter_algorithm = DEFAULT, sql_mode = 'NO_AUTO_VALUE_ON_ZERO'",
        *statements, "COMMIT",
    ])  # fmt: skip


@pytest.mark.parametrize("connections", [1, 3])
def test_the_round_trip_is_the_same(server: Server, new_database: Callable[[], str], connections: int) -> None:
    source, target = new_database(), new_database()
    fill_well(server, source, TABLES)
    assert_round_trip_here(server, source, target, connections)


@pytest.mark.parametrize(
    "case",
    ["texts", "times", "doubles", "floats", "binaries", "negative keys and gaps", "views, triggers, routines, events",
     "foreign keys in a circle", "generated, invisible, checked, defaulted", "uuid and inet", "sequences"],
)  # fmt: skip
def test_each_kind_of_table_comes_back(server: Server, new_database: Callable[[], str], case: str) -> None:
    source, target = new_database(), new_database()
    fill_well(server, source, CASES["mariadb"][case])
    assert_round_trip_here(server, source, target, 2)


def assert_round_trip_here(server: Server, source: str, target: str, connections: int) -> None:
    """The oracles must not be cut short by the same settings as the tool."""
    kind_settings = {name: server.run(f"SELECT @@GLOBAL.{name}")[0][0] for name in ("sql_select_limit", "tx_read_only")}
    assert kind_settings == {"sql_select_limit": 1, "tx_read_only": 1}
    sql, description = dump_database(server.url(source), connections)
    load_database(server.url(target), sql, connections)
    found = differences(server.url(target), description, connections)
    server.run("SET GLOBAL sql_select_limit = 18446744073709551615, GLOBAL tx_read_only = 0")
    try:
        assert checksums(server, target) == checksums(server, source)
        assert checksums(server, target)
    finally:
        server.run("SET GLOBAL sql_select_limit = 1, GLOBAL tx_read_only = 1")
    assert found == []


def test_each_setting_is_made_and_read_back(server: Server, new_database: Callable[[], str]) -> None:
    with_settings = session(server.url(new_database()))
    for name, value in (SETTINGS | MARIADB_SETTINGS).items():
        found = with_settings.value(f"SELECT @@SESSION.{name}")
        assert found is not None
        assert found == str(value) or float(found) == float(value), name
    assert with_settings.value("SELECT @@SESSION.tx_isolation") == "REPEATABLE-READ"
    assert with_settings.value("SELECT @@SESSION.tx_read_only") == "0"
    assert "mrr=off" in (with_settings.value("SELECT @@SESSION.optimizer_switch") or "")
    with_settings.close()
