"""A user who may not read every table: what a dump can't hold is named, and what it holds can be loaded."""

from collections.abc import Callable

import pytest

from tests.support.cli import Site
from tests.support.engine import differences, dump_database, fill, load_database
from tests.support.servers import Server

TABLES = [
    "CREATE TABLE open (id INT PRIMARY KEY, v INT)",
    "INSERT INTO open VALUES (1, 10), (2, 20)",
    "CREATE TABLE closed (id INT PRIMARY KEY, v INT)",
    "CREATE TABLE unseen (id INT PRIMARY KEY, v INT)",
]
VIEWS = {
    "v_open": "SELECT id, v, 'from `closed`' IS NULL AS quoted FROM open",
    "v_alias": "SELECT closed.id FROM open AS closed",
    "v_twice": "SELECT a.id FROM open AS a JOIN v_open AS b ON a.id = b.id",
    "v_common": "WITH closed AS (SELECT id FROM open), more (n) AS (SELECT id FROM closed) SELECT n FROM more",
    "v_closed": "SELECT id FROM closed",
    "v_joined": "SELECT open.id FROM open LEFT JOIN closed ON open.id = closed.id",
    "v_listed": "SELECT open.id FROM open, (closed, unseen)",
    "v_within": "SELECT id FROM open WHERE id IN (SELECT id FROM closed)",
    "v_selected": "SELECT (SELECT MAX(v) FROM unseen) AS top",
    "v_unseen": "SELECT id FROM unseen",
    "v_on_a_view": "SELECT id FROM v_unseen",
    "v_union": "SELECT id FROM open UNION ALL SELECT id FROM v_on_a_view",
}
LOADABLE = ["v_alias", "v_common", "v_open", "v_twice"]


def grants(server: Server, database: str, user: str) -> None:
    for name in ["open", *VIEWS]:
        server.run(f"GRANT SELECT, SHOW VIEW, TRIGGER ON {database}.{name} TO '{user}'@'%'")
    server.run(f"GRANT INSERT, TRIGGER ON {database}.closed TO '{user}'@'%'")


@pytest.fixture
def limited(server: Server, new_database: Callable[[], str], new_user: Callable[..., str]) -> tuple[str, str]:
    """A database and the URL of a user who reads one of its tables, sees a second and doesn't know of the third."""
    source = new_database()
    fill(server, source, [
        *TABLES,
        *(f"CREATE VIEW {name} AS {sql}" for name, sql in VIEWS.items()),
        "CREATE TRIGGER t_open BEFORE INSERT ON open FOR EACH ROW SET NEW.v = (SELECT MAX(id) FROM closed)",
        "CREATE TRIGGER t_closed BEFORE INSERT ON closed FOR EACH ROW SET NEW.v = 1",
    ])  # fmt: skip
    url = new_user(source)
    grants(server, source, url.split("//")[1].split(":")[0])
    return source, url


def test_views_and_triggers_on_tables_beyond_reach_are_named_and_the_rest_loads(
    server: Server, limited: tuple[str, str], new_database: Callable[[], str]
) -> None:
    _, url = limited
    sql, description = dump_database(url, 1)
    assert [table.name for table in description.tables] == ["open"]
    assert sorted(o.name for o in description.objects) == ["t_open", *LOADABLE]
    lost = {f"view {name}" for name in VIEWS if name not in LOADABLE}
    named = [each for each in description.unreadable if not each.startswith("tables that")]
    assert sorted(named) == sorted({*lost, "trigger t_closed", "table closed"})
    target = new_database()
    load_database(server.url(target), sql)
    assert differences(server.url(target), description) == []
    assert server.run(f"SELECT n FROM {target}.v_common ORDER BY 1") == [(1,), (2,)]


def test_who_may_read_everything_loses_nothing(server: Server, limited: tuple[str, str]) -> None:
    source, _ = limited
    _, description = dump_database(server.url(source))
    assert description.unreadable == []
    assert len(description.objects) == len(VIEWS) + 2


def test_a_table_of_migrations_that_may_not_be_read_is_named(site: Site) -> None:
    """The backup is told to be incomplete, not broken off by a fault of ours."""
    names = [str(row[0]) for row in site.sql("SHOW TABLES")]
    site.server.run(f"REVOKE ALL PRIVILEGES ON {site.database}.* FROM '{site.user}'@'%'")
    for name in names:
        right = "INSERT" if name == "migration_versions" else "SELECT"
        site.server.run(f"GRANT {right} ON {site.database}.{name} TO '{site.user}'@'%'")
    ran = site.run("backup")
    assert ran.code in (3, 5), ran.said
    assert "table migration_versions" in ran.said or "INSERT command denied" in ran.said or "denied" in ran.said
    assert "unexpected fault" not in ran.said
