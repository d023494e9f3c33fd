"""A server whose global settings are as unhelpful as they can be: the round trip is the same."""

from collections.abc import Callable, Iterator

import pytest

from sidecar.database.settings import MARIADB_SETTINGS, MYSQL_SETTINGS, SETTINGS
from tests.services.conftest import running
from tests.services.test_round_trip import CASES
from tests.support.engine import checksums, differences, dump_database, fill, load_database, session
from tests.support.servers import Server

SQL_MODE = "ANSI_QUOTES,PAD_CHAR_TO_FULL_LENGTH,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,STRICT_ALL_TABLES,NO_ZERO_DATE"
OPTIONS = [
    f"--sql-mode={SQL_MODE}",
    "--transaction-isolation=READ-COMMITTED",
    "--group-concat-max-len=1024",
    "--character-set-server=latin1",
    "--collation-server=latin1_german1_ci",
    "--default-time-zone=-11:30",
    "--lock-wait-timeout=2",
    "--net-read-timeout=2",
    "--net-write-timeout=2",
    "--max-allowed-packet=16M",
    "--completion-type=CHAIN",
]
HOSTILE = {
    "mariadb": [
        *OPTIONS,
        "--max-statement-time=20",
        "--idle-transaction-timeout=1",
        "--idle-readonly-transaction-timeout=1",
        "--default-storage-engine=Aria",
        "--alter-algorithm=INSTANT",
    ],
    "mysql": [
        *OPTIONS,
        "--max-execution-time=20000",
        "--default-storage-engine=MyISAM",
        "--explicit-defaults-for-timestamp=OFF",
        "--innodb-default-row-format=COMPACT",
        "--show-create-table-verbosity=ON",
        "--show-gipk-in-create-table-and-information-schema=OFF",
        "--sql-generate-invisible-primary-key=ON",
        "--sql-require-primary-key=ON",
        "--partial-revokes=ON",
        "--div-precision-increment=0",
        "--end-markers-in-json=ON",
        "--lc-time-names=de_DE",
    ],
}
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
    "sql_big_selects": 0,
    "max_join_size": 1000,
    "wait_timeout": 5,
}
OF_ALL = [
    "texts", "times", "doubles", "floats", "binaries", "negative keys and gaps", "views, triggers, routines, events",
    "foreign keys in a circle", "generated, invisible, checked, defaulted", "all generated", "keys",
]  # fmt: skip
OF_ITS_OWN = {
    "mariadb": ["uuid and inet", "sequences"],
    "mysql": ["functional keys and json", "expression defaults and checks", "charsets and collations of its own",
              "tables of other kinds", "views of its own"],
}  # fmt: skip
SETTINGS_OF_ITS_OWN = {"mariadb": MARIADB_SETTINGS, "mysql": MYSQL_SETTINGS}
READ_ONLY = {"mariadb": "tx_read_only", "mysql": "transaction_read_only"}
SWITCHES = {
    "mariadb": "mrr=on,mrr_cost_based=off,mrr_sort_keys=on,index_merge_sort_intersection=on",
    "mysql": "mrr=on,mrr_cost_based=off,batched_key_access=on,prefer_ordering_index=off,use_invisible_indexes=on",
}
TABLES = [
    "CREATE TABLE pairs (id INT PRIMARY KEY, c CHAR(10), t TEXT, d DOUBLE, at TIMESTAMP NULL) ENGINE=InnoDB "
    "CHARACTER SET utf8mb4",
    "INSERT INTO pairs VALUES "
    + ",".join(f"({n}, 'a', 'ü\\\\''{n}', {n} / 3, '2026-07-0{n % 9 + 1}')" for n in range(3000)),
    "CREATE TABLE keyless (v VARCHAR(20), b BLOB) ENGINE=InnoDB CHARACTER SET utf8mb4",
    "INSERT INTO keyless VALUES ('x', X'00'), ('x', X'00'), (NULL, NULL)",
]


SANE: dict[str, str | int] = {
    "sql_mode": "'NO_AUTO_VALUE_ON_ZERO'", "sql_select_limit": 2**64 - 1, "max_error_count": 64,
    "sql_auto_is_null": 0, "sql_safe_updates": 0, "unique_checks": 1, "autocommit": 1, "sql_big_selects": 1,
    "default_storage_engine": "InnoDB", "completion_type": "'NO_CHAIN'",
}  # fmt: skip
SANE_OF_ITS_OWN: dict[str, dict[str, str | int]] = {
    "mariadb": {"alter_algorithm": "'DEFAULT'"},
    # MySQL keeps expressions with or without backticks, as the session that makes them would show them.
    "mysql": {"sql_require_primary_key": 0, "sql_generate_invisible_primary_key": 0, "sql_quote_show_create": 1},
}


@pytest.fixture(scope="module")
def hostile(flavour: str) -> Iterator[Server]:
    """The tests' own sessions are sane: the oracle must not be cut short by what the tool is tried with."""
    settings = {**GLOBALS, READ_ONLY[flavour]: 1, "optimizer_switch": f"'{SWITCHES[flavour]}'"}
    with running(flavour, *HOSTILE[flavour]) as server:
        server.run(*[f"SET GLOBAL {name} = {value}" for name, value in settings.items()])
        found = server.run(f"SELECT @@sql_select_limit, @@{READ_ONLY[flavour]}, @@sql_mode, @@time_zone")
        assert found[0][:2] == (1, 1)
        assert "PAD_CHAR_TO_FULL_LENGTH" in found[0][2]
        assert found[0][3] == "-11:30"
        sane = SANE | SANE_OF_ITS_OWN[flavour] | {READ_ONLY[flavour]: 0}
        server.init_command = "SET " + ", ".join(f"SESSION {name} = {value}" for name, value in sane.items())
        yield server


@pytest.fixture
def server(hostile: Server) -> Server:
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


@pytest.mark.cases({flavour: OF_ALL + of_its_own for flavour, of_its_own in OF_ITS_OWN.items()})
def test_each_kind_of_table_comes_back(server: Server, new_database: Callable[[], str], case: str) -> None:
    source, target = new_database(), new_database()
    fill(server, source, CASES[server.flavour][case])
    assert_equal(server, source, target, 2)


def test_each_setting_is_made_and_read_back(server: Server, new_database: Callable[[], str]) -> None:
    with_settings = session(server.url(new_database()))
    for name, value in (SETTINGS | SETTINGS_OF_ITS_OWN[server.flavour]).items():
        found = with_settings.value(f"SELECT @@SESSION.{name}")
        assert found is not None
        assert found == str(value) or float(found) == float(value), name
    isolation = {"mariadb": "tx_isolation", "mysql": "transaction_isolation"}[server.flavour]
    assert with_settings.value(f"SELECT @@SESSION.{isolation}") == "REPEATABLE-READ"
    assert with_settings.value(f"SELECT @@SESSION.{READ_ONLY[server.flavour]}") == "0"
    assert "mrr=off" in (with_settings.value("SELECT @@SESSION.optimizer_switch") or "")
    with_settings.close()
