"""A server whose global settings are as unhelpful as they can be: the round trip is the same."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sidecar.database.settings import MARIADB_SETTINGS, SETTINGS
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
    "INSERT INTO pairs VALUES "
    + ",".join(f"({n}, 'a', 'ü\\\\''{n}', {n} / 3, '2026-07-0{n % 9 + 1}')" for n in range(3000)),
    "CREATE TABLE keyless (v VARCHAR(20), b BLOB) ENGINE=InnoDB CHARACTER SET utf8mb4",
    "INSERT INTO keyless VALUES ('x', X'00'), ('x', X'00'), (NULL, NULL)",
]


SANE = "SET " + ", ".join(
    f"SESSION {name} = {value}"
    for name, value in {
        "sql_mode": "'NO_AUTO_VALUE_ON_ZERO'", "sql_select_limit": 2**64 - 1, "max_error_count": 64,
        "sql_auto_is_null": 0, "sql_safe_updates": 0, "unique_checks": 1, "autocommit": 1, "tx_read_only": 0,
        "sql_big_selects": 1,
        "default_storage_engine": "InnoDB", "alter_algorithm": "'DEFAULT'",
    }.items()
)  # fmt: skip


class Hostile(Server):
    """The tests' own sessions are sane: the oracle must not be cut short by what the tool is tried with."""

    def admin(self, database: str | None = None, **options: Any) -> Any:
        return super().admin(database, init_command=SANE, **options)


@pytest.fixture(scope="module")
def hostile() -> Iterator[Server]:
    with running(*HOSTILE) as server:
        server.run(*[f"SET GLOBAL {name} = {value}" for name, value in GLOBALS.items()])
        yield Hostile(server.host, server.port)


@pytest.fixture
def server(hostile: Server) -> Server:
    found = Server(hostile.host, hostile.port).run("SELECT @@sql_select_limit, @@tx_read_only, @@sql_mode, @@time_zone")
    assert found[0][:2] == (1, 1)
    assert "PAD_CHAR_TO_FULL_LENGTH" in found[0][2]
    assert found[0][3] == "-11:30"
    return hostile


def assert_equal(server: Server, source: str, target: str, connections: int) -> None:
    sql, description = dump_database(server.url(source), connections)
    assert load_database(server.url(target), sql, connections).warnings == []
    assert checksums(server, target) == checksums(server, source)
    assert differences(server.url(target), description, connections) == []
    assert len(description.tables) == len(checksums(server, source)) > 0


@pytest.mark.parametrize("connections", [1, 3])
def test_the_round_trip_is_the_same(server: Server, new_database: Callable[[], str], connections: int) -> None:
    source, target = new_database(), new_database()
    fill(server, source, TABLES)
    assert_equal(server, source, target, connections)


@pytest.mark.parametrize(
    "case",
    ["texts", "times", "doubles", "floats", "binaries", "negative keys and gaps", "views, triggers, routines, events",
     "foreign keys in a circle", "generated, invisible, checked, defaulted", "uuid and inet", "sequences"],
)  # fmt: skip
def test_each_kind_of_table_comes_back(server: Server, new_database: Callable[[], str], case: str) -> None:
    source, target = new_database(), new_database()
    fill(server, source, CASES["mariadb"][case])
    assert_equal(server, source, target, 2)


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
