"""Which tables and files of a backup the names on a command line mean."""

from typing import Any

import pytest

from sidecar.errors import UsageError
from sidecar.manifest import Database, File, SchemaObject, Table
from sidecar.pick import folders_above, pick_files, pick_tables

NAMES = ["a,b", "kimai2_tags", "kimai2_timesheet", "kimai2_timesheet_tags", "kimai2_users"]


def trigger(name: str, table: str) -> SchemaObject:
    sql = f"CREATE TRIGGER `{name}` AFTER INSERT ON {table} FOR EACH ROW SET @a = 'ON `kimai2_users`'"
    return SchemaObject(kind="trigger", name=name, definition={"sql": sql})


def database(*objects: SchemaObject) -> Database:
    return Database(
        flavour="mariadb",
        server_version="10.11",
        name="kimai",
        charset="utf8mb4",
        collation="utf8mb4_unicode_ci",
        newest_migration=None,
        tables=[Table(name=name, definition={}, rows=1, digest="") for name in NAMES],
        objects=list(objects),
        size=1,
        largest_statement=1,
    )


def file(path: str, **fields: Any) -> File:
    return File(**{"path": path, "mode": 0o644, "mtime": 0, "uid": 0, "gid": 0} | fields)


FILES = [
    file("var", kind="folder"),
    file("var/data", kind="folder"),
    file("var/data/invoices", kind="folder"),
    file("var/data/invoices/1.pdf"),
    file("var/data/invoices/2, final.pdf"),
    file("var/data/invoices2/1.pdf"),
    file("var/data/%FF.pdf", path_bytes=b"var/data/\xff.pdf"),
]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["kimai2_tags"], ["kimai2_tags"]),
        (["kimai2_users,kimai2_tags"], ["kimai2_tags", "kimai2_users"]),
        (["kimai2_users", "kimai2_tags, kimai2_users,"], ["kimai2_tags", "kimai2_users"]),
        (["a,b"], ["a,b"]),
    ],
)
def test_names_of_tables_may_be_given_one_by_one_or_with_commas(given: list[str], meant: list[str]) -> None:
    assert [table.name for table in pick_tables(given, database()).tables] == meant


@pytest.mark.parametrize(
    ("given", "near"),
    [("kimai2_tag", "kimai2_tags"), ("kimai2_tags,user", "kimai2_users"), ("b,a", ""), ("KIMAI2_TAGS", "")],
)
def test_an_unknown_table_is_told_with_what_is_near(given: str, near: str) -> None:
    with pytest.raises(UsageError) as raised:
        pick_tables([given], database())
    assert near in str(raised.value)


@pytest.mark.parametrize("given", ["", " ", ",", ", ,"])
def test_no_name_is_no_table(given: str) -> None:
    with pytest.raises(UsageError, match="no table is named"):
        pick_tables([given], database())


def test_triggers_come_with_their_table_and_nothing_else_does() -> None:
    view = SchemaObject(kind="view", name="v", definition={"sql": "CREATE VIEW v AS SELECT 1"})
    found = database(trigger("one", "`kimai2_tags`"), trigger("two", "kimai2_users"), trigger("three", "`a,b`"), view)
    assert [each.name for each in pick_tables(["kimai2_tags,kimai2_users"], found).objects] == ["one", "two"]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("var/data/invoices/1.pdf", FILES[3:4]),
        ("/srv/kimai/var/data/invoices/", FILES[2:5]),
        ("./var//data/invoices", FILES[2:5]),
        ("var/data/invoices/2, final.pdf", FILES[4:5]),
        ("var/data/%FF.pdf", FILES[6:]),
        ("var/data/\udcff.pdf", FILES[6:]),
    ],
)
def test_a_path_is_a_file_or_a_folder_with_all_in_it(given: str, meant: list[File]) -> None:
    assert pick_files([given], FILES, "/srv/kimai") == meant


@pytest.mark.parametrize(
    "given", ["", ".", "/", "..", "../var", "/srv", "/srv/kimai", "/srv/kimai2/var", "\udcff", "va"]
)
def test_what_is_no_file_of_the_backup_is_wrong_usage(given: str) -> None:
    with pytest.raises(UsageError):
        pick_files([given], FILES, "/srv/kimai")


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("1.pdf", "var/data/invoices/1.pdf"),
        ("var/data/invoices/1.pfd", "var/data/invoices/1.pdf"),
        ("var/dat/invoices/1.pdf", "var/data/invoices/1.pdf"),
    ],
)
def test_an_unknown_path_is_told_with_what_is_near(given: str, near: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean .*{near}"):
        pick_files([given], FILES, "/srv/kimai")


def test_the_folders_on_the_way_are_those_of_the_backup() -> None:
    assert folders_above(FILES[3:4], FILES) == FILES[:3]
