"""What a database is made of comes back as it was; what may not be read, or not even be seen, is named."""

import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from sidecar.database.compare import compare
from sidecar.database.definitions import read_schema
from sidecar.database.load import Load
from sidecar.database.objects import contents, drop
from sidecar.database.rights import FOR_DUMP, grant, lacking
from sidecar.database.snapshot import take
from sidecar.database.url import parse
from sidecar.errors import Damaged, Refused
from tests.support.engine import checksums, differences, dump_database, fill, load_database, session
from tests.support.servers import Server

TABLE = ["CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 10), (2, 20)"]


def set_globally(server: Server, request: pytest.FixtureRequest, name: str, value: int) -> None:
    before = server.run(f"SELECT @@GLOBAL.{name}")[0][0]
    request.addfinalizer(lambda: server.run(f"SET GLOBAL {name} = {before}"))
    server.run(f"SET GLOBAL {name} = {value}")


def test_what_a_plain_user_cannot_see_is_said(
    server: Server, new_database: Callable[[], str], new_user: Callable[..., str]
) -> None:
    """Guides for Kimai grant these rights: triggers, routines and events are then invisible, not refused."""
    source = new_database()
    fill(server, source, [
        *TABLE,
        "CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.v = 1",
        "CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1",
        "CREATE EVENT e ON SCHEDULE EVERY 1 YEAR STARTS '2035-01-01' DO DELETE FROM t",
    ])  # fmt: skip
    url = new_user(source, "SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "REFERENCES", "INDEX", "ALTER")
    _, description = dump_database(url, 1)
    assert description.unseen == ["triggers", "events", "routines"]
    assert [table.rows for table in description.tables] == [2]
    _, all_seen = dump_database(server.url(source), 1)
    assert all_seen.unseen == []
    assert {o.kind for o in all_seen.objects} == {"trigger", "function", "event"}


def test_rights_that_lack_are_told_and_mended_by_the_grant_we_print(
    server: Server, new_database: Callable[[], str], new_user: Callable[..., str]
) -> None:
    source = new_database()
    fill(server, source, TABLE)
    url = new_user(source, "SELECT", "INSERT")
    user = session(url)
    missing = lacking(user, FOR_DUMP)
    assert missing == ["LOCK TABLES", "SHOW VIEW", "TRIGGER", "EVENT"]
    server.run(grant(user, missing))
    user.close()
    user = session(url)
    assert lacking(user, FOR_DUMP) == []
    user.close()


@pytest.mark.parametrize("pattern", ["{0}", "{1}%", "{0}\\_x"])
def test_grants_on_patterns_of_names_are_read(server: Server, pattern: str, new_user: Callable[..., str]) -> None:
    name = "kimai_rights_x"
    server.run(f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}")
    try:
        escaped = "kimai\\_rights"
        url = new_user(pattern.format(escaped if "x" in pattern else name, escaped), "SELECT", "TRIGGER")
        user = session(url.replace(url.rsplit("/", 1)[1], name))
        assert lacking(user, ("SELECT", "TRIGGER", "EVENT")) == ["EVENT"]
        user.close()
    finally:
        server.run(f"DROP DATABASE {name}")


def test_another_users_routine_is_named_as_unreadable(
    server: Server, new_database: Callable[[], str], new_user: Callable[..., str]
) -> None:
    source = new_database()
    fill(server, source, [*TABLE, "CREATE FUNCTION secret() RETURNS INT DETERMINISTIC RETURN 42424242",
                          "CREATE PROCEDURE hidden() SELECT 1"])  # fmt: skip
    url = new_user(source, "SELECT", "LOCK TABLES", "EXECUTE", "TRIGGER", "EVENT", "SHOW VIEW")
    sql, description = dump_database(url, 1)
    assert description.unreadable == ["function secret", "procedure hidden"]
    assert b"RETURN 42424242" not in sql
    assert description.objects == []


def test_a_view_that_may_not_be_shown_is_named(
    server: Server, new_database: Callable[[], str], new_user: Callable[..., str]
) -> None:
    source = new_database()
    fill(server, source, [*TABLE, "CREATE VIEW v AS SELECT id FROM t"])
    sql, description = dump_database(new_user(source, "SELECT"), 1)
    assert description.unreadable == ["view v"]
    assert b"VIEW" not in sql


def test_a_view_on_what_is_gone_is_named_and_does_not_spoil_the_load(
    server: Server, new_database: Callable[[], str]
) -> None:
    source, target = new_database(), new_database()
    fill(server, source, [*TABLE, "CREATE TABLE gone (id INT)", "CREATE VIEW broken AS SELECT id FROM gone",
                          "CREATE VIEW whole AS SELECT v FROM t", "DROP TABLE gone"])  # fmt: skip
    sql, description = dump_database(server.url(source))
    assert description.unreadable == ["view broken"]
    assert [o.name for o in description.objects] == ["whole"]
    load_database(server.url(target), sql)
    assert differences(server.url(target), description) == []


def test_views_load_whatever_their_names_order(server: Server, new_database: Callable[[], str]) -> None:
    source, target = new_database(), new_database()
    fill(server, source, [*TABLE, "CREATE VIEW z1 AS SELECT * FROM t", "CREATE VIEW m2 AS SELECT v FROM z1",
                          "CREATE VIEW a3 AS SELECT m2.v, z1.id FROM m2 JOIN z1",
                          "CREATE VIEW `b``4 ä` AS SELECT COUNT(*) AS `how many` FROM a3"])  # fmt: skip
    sql, description = dump_database(server.url(source))
    load_database(server.url(target), sql)
    assert server.run(f"SELECT * FROM {target}.`b``4 ä`") == [(4,)]
    assert differences(server.url(target), description) == []


def test_objects_keep_the_settings_they_were_made_in(server: Server, new_database: Callable[[], str]) -> None:
    source, target = new_database(), new_database()
    fill(server, source, [
        *TABLE,
        "SET sql_mode='PIPES_AS_CONCAT,STRICT_ALL_TABLES', character_set_client=latin1",
        "SET collation_connection=latin1_german1_ci",
        'CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.v = LENGTH(\'a\' || \'bc\')',
        'CREATE FUNCTION f() RETURNS TEXT DETERMINISTIC RETURN \'x\' || \'y\'',
        "SET time_zone='+05:00'",
        "CREATE EVENT e ON SCHEDULE EVERY 1 DAY STARTS '2035-01-01 03:00:00' DO DELETE FROM t",
        "CREATE EVENT off ON SCHEDULE EVERY 1 DAY STARTS '2035-01-01 03:00:00' ON COMPLETION PRESERVE DISABLE "
        "DO DELETE FROM t",
        "CREATE VIEW w AS SELECT 'ö' AS o",
    ])  # fmt: skip
    asked = {
        "TRIGGERS": "SELECT TRIGGER_NAME, SQL_MODE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION, DEFINER "
        "FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = '{}'",
        "ROUTINES": "SELECT ROUTINE_NAME, SQL_MODE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION, DEFINER, "
        "CHARACTER_SET_NAME, COLLATION_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = '{}'",
        "EVENTS": "SELECT EVENT_NAME, SQL_MODE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION, DEFINER, TIME_ZONE, "
        "STARTS, STATUS, ON_COMPLETION FROM information_schema.EVENTS WHERE EVENT_SCHEMA = '{}' ORDER BY 1",
        "VIEWS": "SELECT TABLE_NAME, CHARACTER_SET_CLIENT, COLLATION_CONNECTION, DEFINER, VIEW_DEFINITION "
        "FROM information_schema.VIEWS WHERE TABLE_SCHEMA = '{}'",
    }
    sql, description = dump_database(server.url(source))
    assert load_database(server.url(target), sql).warnings == []
    native = new_database()
    server.native_load(native, sql)
    for what, query in asked.items():
        before = server.run(query.format(source))
        assert before, what
        assert server.run(query.format(target)) == before
        assert server.run(query.format(native)) == before
    assert differences(server.url(target), description) == []


def test_another_definer_is_kept_where_we_may_and_said_where_not(
    server: Server, new_database: Callable[[], str], new_user: Callable[..., str], request: pytest.FixtureRequest
) -> None:
    source, target, second = new_database(), new_database(), new_database()
    owner = new_user(source, "ALL").split("//")[1].split(":")[0]
    fill(server, source, [
        *TABLE,
        f"CREATE DEFINER='{owner}'@'%' VIEW v AS SELECT id FROM t",
        f"CREATE DEFINER='{owner}'@'%' TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.v = 1",
        f"CREATE DEFINER='{owner}'@'%' FUNCTION f() RETURNS TEXT DETERMINISTIC RETURN 'DEFINER=`x`@`y` stays'",
        f"CREATE DEFINER='{owner}'@'%' EVENT e ON SCHEDULE EVERY 1 YEAR STARTS '2035-01-01' DO DELETE FROM t",
    ])  # fmt: skip
    sql, description = dump_database(server.url(source))
    assert load_database(server.url(target), sql).warnings == []
    tables = {"VIEWS": "TABLE", "TRIGGERS": "TRIGGER", "ROUTINES": "ROUTINE", "EVENTS": "EVENT"}
    definers = " UNION ALL ".join(
        f"SELECT DEFINER FROM information_schema.{table} WHERE {kind}_SCHEMA = '{{0}}'"
        for table, kind in tables.items()
    )
    assert server.run(definers.format(target)) == [(f"{owner}@%",)] * 4
    if server.flavour == "mysql":  # or a user without SUPER can make no trigger beside a binary log: error 1419
        set_globally(server, request, "log_bin_trust_function_creators", 1)
    loader = new_user(second, "ALL")
    warnings = load_database(loader, sql).warnings
    assert len(warnings) == 4
    assert all("restored as the loading user's own" in warning for warning in warnings)
    own = loader.split("//")[1].split(":")[0]
    assert server.run(definers.format(second)) == [(f"{own}@%",)] * 4
    assert server.run(f"SELECT {second}.f()") == [("DEFINER=`x`@`y` stays",)]
    assert differences(server.url(second), description) == []


def test_an_event_of_each_second_does_not_run_before_it_may(server: Server, new_database: Callable[[], str]) -> None:
    source, target = new_database(), new_database()
    fill(server, source, TABLE)
    schedule = "EVENT e ON SCHEDULE EVERY 1 SECOND ON COMPLETION PRESERVE"
    fill(server, source, [f"CREATE {schedule} DISABLE DO DELETE FROM t"])
    sql, description = dump_database(server.url(source))
    sql = sql.replace(b"PRESERVE DISABLE", b"PRESERVE ENABLE")
    loading = Load(lambda: session(server.url(target)), 2)
    try:
        loading.run([sql])
        time.sleep(1.5)
        assert server.run(f"SELECT COUNT(*) FROM {target}.t") == [(2,)]
        assert differences(server.url(target), description) == []
        loading.enable_events()
        deadline = time.monotonic() + 10
        while server.run(f"SELECT COUNT(*) FROM {target}.t") != [(0,)]:
            assert time.monotonic() < deadline, "the event never ran"
            time.sleep(0.1)
    finally:
        loading.close()


def test_rows_and_tables_that_a_server_would_not_take_anew_come_back(
    server: Server, new_database: Callable[[], str]
) -> None:
    source, target = new_database(), new_database()
    strange = {
        "mariadb": [
            "SET check_constraint_checks = 0",
            "CREATE TABLE checked (id INT PRIMARY KEY, v INT, CONSTRAINT positive CHECK (v > 0))",
            "INSERT INTO checked VALUES (1, -1)",
            "SET innodb_strict_mode = 0",
            "CREATE TABLE packed (id INT PRIMARY KEY) ROW_FORMAT=COMPACT KEY_BLOCK_SIZE=8",
        ],
        "mysql": [
            "SET restrict_fk_on_non_standard_key = 0",
            "CREATE TABLE p (id INT PRIMARY KEY, code INT, KEY (code))",
            "CREATE TABLE c (id INT PRIMARY KEY, code INT, FOREIGN KEY (code) REFERENCES p (code))",
        ],
    }
    fill(server, source, [
        "CREATE TABLE parent (id INT PRIMARY KEY)",
        "CREATE TABLE child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parent (id))",
        "SET foreign_key_checks = 0",
        "INSERT INTO child VALUES (1, 77)",
        *strange[server.flavour],
    ])  # fmt: skip
    sql, description = dump_database(server.url(source))
    assert load_database(server.url(target), sql).warnings == []
    assert checksums(server, target) == checksums(server, source)
    assert differences(server.url(target), description) == []


@pytest.mark.flavours("mariadb")
def test_every_type_of_table_is_dumped_or_named(server: Server, new_database: Callable[[], str]) -> None:
    source = new_database()
    fill(server, source, [
        "CREATE TABLE base (id INT PRIMARY KEY)", "CREATE SEQUENCE seq", "CREATE VIEW vw AS SELECT 1 AS x",
        "CREATE TABLE history (id INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING",
        "CREATE TABLE isam (id INT PRIMARY KEY) ENGINE=MyISAM",
    ])  # fmt: skip
    types = server.run(f"SELECT DISTINCT TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{source}'")
    assert {row[0] for row in types} == {"BASE TABLE", "SEQUENCE", "VIEW", "SYSTEM VERSIONED"}
    _, description = dump_database(server.url(source))
    assert [table.name for table in description.tables] == ["base", "history", "isam"]
    assert [(o.kind, o.name) for o in description.objects] == [("sequence", "seq"), ("view", "vw")]
    reader = session(server.url(source))
    notes = "\n".join(read_schema(reader).notes)
    reader.close()
    assert "table history is system-versioned: its rows are in the dump, its history is not" in notes
    assert "table isam is MyISAM, not InnoDB" in notes


@pytest.mark.flavours("mariadb")
def test_a_sequence_goes_on_where_it_was(server: Server, new_database: Callable[[], str]) -> None:
    source, target = new_database(), new_database()
    fill(server, source, ["CREATE SEQUENCE s START WITH 10 INCREMENT BY 5 NOCACHE", "SELECT NEXTVAL(s)"])
    sql, _ = dump_database(server.url(source))
    load_database(server.url(target), sql)
    assert server.run(f"SELECT NEXTVAL({target}.s)") == server.run(f"SELECT NEXTVAL({source}.s)") == [(15,)]


def test_a_failed_load_is_taken_away_whole(server: Server, new_database: Callable[[], str]) -> None:
    source, target = new_database(), new_database()
    fill(server, source, [
        *TABLE, "CREATE TABLE child (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES t (id))",
        "CREATE VIEW v AS SELECT id FROM t", "CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1",
        "CREATE PROCEDURE p() COMMENT 'calls FUNCTION `g`' SELECT 1",
        "CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.v = 1",
        "CREATE EVENT e ON SCHEDULE EVERY 1 YEAR STARTS '2035-01-01' DO DELETE FROM t",
    ])  # fmt: skip
    sql, _ = dump_database(server.url(source))
    made: list[tuple[str, str]] = []
    loading = Load(lambda: session(server.url(target)), 2, making=lambda kind, name: made.append((kind, name)))
    with pytest.raises(Damaged, match="refuses a statement of the dump"):
        loading.run([sql, b"\nINSERT INTO nowhere VALUES (1);\n"])
    loading.close()
    made.clear()
    loading = Load(lambda: session(server.url(target)), 2, making=lambda kind, name: made.append((kind, name)))
    loading.run([sql])
    loading.close()
    undo = session(server.url(target))
    assert set(made) == set(contents(undo))
    assert {kind for kind, _ in made} == {"table", "view", "function", "procedure", "event"}
    drop(undo, made)
    drop(undo, made)
    assert contents(undo) == []
    undo.close()


def test_a_database_compared_with_itself_is_equal(server: Server, new_database: Callable[[], str]) -> None:
    source = new_database()
    fill(server, source, TABLE)
    seen: list[int] = []
    _, description = dump_database(server.url(source))
    with take(lambda: session(server.url(source)), 2) as taken:
        assert compare(taken, description, seen.append) == []
    assert sum(seen) == 2


def test_what_only_a_native_client_can_load_is_named(server: Server, new_database: Callable[[], str]) -> None:
    source, target = new_database(), new_database()
    fill(server, source, [*TABLE, "SET sql_mode='ANSI_QUOTES'",
                          'CREATE TRIGGER "tr" BEFORE INSERT ON "t" FOR EACH ROW SET NEW.v = 1'])  # fmt: skip
    reader = session(server.url(source))
    assert [note for note in read_schema(reader).notes if "trigger tr was made under the sql_mode ANSI_QUOTES" in note]
    reader.close()
    sql, description = dump_database(server.url(source))
    if server.flavour == "mariadb":  # MySQL prints its head without double quotes
        with pytest.raises(Refused):
            load_database(server.url(target), sql)
    native = new_database()
    server.native_load(native, sql)
    assert differences(server.url(native), description) == []


def test_a_right_that_a_role_gives_counts(
    server: Server, new_database: Callable[[], str], new_user: Callable[..., str]
) -> None:
    source = new_database()
    fill(server, source, TABLE)
    url = new_user(source, "SELECT")
    role = f"r{uuid.uuid4().hex[:10]}"
    user = parse(url).user
    server.run(
        f"CREATE ROLE {role}", f"GRANT TRIGGER, EVENT ON `{source}`.* TO {role}", f"GRANT {role} TO '{user}'@'%'"
    )
    try:
        without = session(url)
        assert lacking(without, ("SELECT", "TRIGGER", "EVENT")) == ["TRIGGER", "EVENT"]
        without.close()
        by_default = f"{role} FOR '{user}'@'%'" if without.flavour == "mariadb" else f"{role} TO '{user}'@'%'"
        server.run(f"SET DEFAULT ROLE {by_default}")
        within = session(url)
        assert lacking(within, ("SELECT", "TRIGGER", "EVENT")) == []
        within.close()
        assert dump_database(url, 1)[1].unseen == ["routines"]
    finally:
        server.run(f"DROP ROLE {role}")


def test_how_mysql_is_asked_what_a_role_gives() -> None:
    """MySQL shows a role's rights only where the role is named; MariaDB always does."""

    class Told:
        def __init__(self, flavour: str, role: str | None) -> None:
            self.flavour = flavour
            self.role = role
            self.database = "kimai"

        def value(self, sql: str) -> str | None:
            assert sql == "SELECT CURRENT_ROLE()"
            return self.role

        def texts(self, sql: str) -> list[tuple[str]]:
            shown = self.flavour == "mariadb" or sql == f"SHOW GRANTS FOR CURRENT_USER() USING {self.role}"
            granted = [("GRANT USAGE ON *.* TO `k`@`%`",)]
            return granted + ([("GRANT SELECT, EVENT ON `kimai`.* TO `k`@`%`",)] if shown else [])

    told: list[Any] = [Told("mysql", "`app`@`%`"), Told("mysql", "NONE"), Told("mysql", None), Told("mariadb", "app")]
    found = [lacking(each, ("SELECT", "EVENT", "TRIGGER")) for each in told]
    nothing = ["SELECT", "EVENT", "TRIGGER"]
    assert found == [["TRIGGER"], nothing, nothing, ["TRIGGER"]]


def test_tables_beyond_ones_rights_are_named_as_unreadable(
    server: Server, new_database: Callable[[], str], new_user: Callable[..., str]
) -> None:
    """A table that one has no right on is invisible: that there may be one is all that can be said."""
    source = new_database()
    fill(server, source, [*TABLE, "CREATE TABLE payroll (id INT PRIMARY KEY)"])
    url = new_user(source)
    server.run(f"GRANT SELECT ON `{source}`.t TO '{parse(url).user}'@'%'")
    sql, description = dump_database(url, 1)
    assert [table.name for table in description.tables] == ["t"]
    assert [each for each in description.unreadable if "no SELECT on the whole database" in each]
    assert b"payroll" not in sql
    _, whole = dump_database(server.url(source), 1)
    assert whole.unreadable == []
