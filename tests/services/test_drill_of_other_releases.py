"""A drill, or a restore, on another release than the backup's counts as what it is, and speaks ill of no backup."""

from pathlib import Path

import pytest

from tests.support.cli import Site, make_site
from tests.support.drill import (
    change_a_default,
    dump_of,
    lose_an_index,
    proof,
    repack,
    scratch_user,
    scratches,
    seem_to_be_of,
)
from tests.support.servers import Server

UNKNOWN = (b"` varchar(", b"` letters(")
"""A type that no server knows, as one of a newer series may be to an older one."""


def numbers(site: Site) -> list[int]:
    version = str(site.server.run("SELECT VERSION()")[0][0])
    return [int(each) for each in version.partition("-")[0].split(".")]


def another_release(site: Site) -> str:
    """Of the server's own series."""
    major, minor, patch = numbers(site)
    return f"{major}.{minor}.{patch + 1}"


def an_older_series(site: Site) -> str:
    major, _, patch = numbers(site)
    return f"{major - 1}.0.{patch}"


def a_newer_series(site: Site) -> str:
    major, minor, patch = numbers(site)
    return f"{major}.{minor + 1}.{patch}"


def test_another_release_of_the_series_proves_definitions_too(site: Site, scratch: str) -> None:
    made = site.backup()
    seem_to_be_of(site.backups, made, another_release(site))
    ran = site.run("drill")
    assert ran.code == 0, ran.said
    assert "proven: equal, row for row" in ran.out
    assert proof(site, made)["definitions_compared"] is True


def test_another_release_of_the_series_finds_an_index_that_was_lost(site: Site, scratch: str) -> None:
    made = site.backup()
    seem_to_be_of(site.backups, made, another_release(site))
    lose_an_index(site.backups, made)
    ran = site.run("drill")
    assert ran.code == 7, ran.said
    assert "table kimai2_timesheet: definition.indexes" in ran.out


@pytest.mark.parametrize("lost", [b"CONSTRAINT", b"KEY"])
def test_the_last_key_that_is_lost_is_lost_on_any_release(site: Site, scratch: str, lost: bytes) -> None:
    site.sql(
        "CREATE TABLE tail (id INT PRIMARY KEY, tag INT, KEY by_tag (tag), "
        "CONSTRAINT FK_tail FOREIGN KEY (tag) REFERENCES kimai2_tags (id))"
    )
    made = site.backup()
    seem_to_be_of(site.backups, made, another_release(site))
    text = dump_of(site.backups, made)
    begin = text.index(b"CREATE TABLE `tail` ")
    create = text[begin : text.index(b";", begin)]
    lines = [line.rstrip(b",") for line in create.split(b"\n")]
    kept = [line for line in lines if not line.lstrip().startswith(lost)]
    assert len(kept) < len(lines)
    again = kept[0] + b"\n" + b",\n".join(kept[1:-1]) + b"\n" + kept[-1]
    repack(site.backups, made, {"database.sql": (create, again)})
    ran = site.run("drill")
    assert ran.code == 7, ran.said
    assert "table tail: definition." in ran.out


def test_what_another_release_may_only_put_in_other_words_is_told_and_proves_rows(site: Site, scratch: str) -> None:
    made = site.backup()
    seem_to_be_of(site.backups, made, another_release(site))
    change_a_default(site.backups, made)
    ran = site.run("drill")
    assert ran.code == 0, ran.said
    assert "table kimai2_timesheet: definition.columns" in ran.out
    assert "another release may only put it in other words" in ran.out
    assert "its rows alone are proven" in ran.out
    found = proof(site, made)
    assert (found["matched"], found["definitions_compared"]) == (True, False)
    assert found["doubts"]


def test_another_series_proves_rows_alone_and_says_so(site: Site, scratch: str) -> None:
    made = site.backup()
    seem_to_be_of(site.backups, made, an_older_series(site))
    ran = site.run("drill")
    assert ran.code == 0, ran.said
    assert f"definitions were not compared: the backup is of {site.server.flavour} {an_older_series(site)}" in ran.out
    assert "its rows alone are proven" in ran.out
    assert (proof(site, made)["same_flavour"], proof(site, made)["definitions_compared"]) == (True, False)


def test_what_another_series_does_not_know_speaks_of_no_backup(site: Site, scratch: str) -> None:
    made = site.backup()
    assert site.run("drill").code == 0
    seem_to_be_of(site.backups, made, a_newer_series(site))
    repack(site.backups, made, {"database.sql": UNKNOWN})
    ran = site.run("drill", made)
    assert ran.code == 8, ran.said
    assert f"own kind, {site.server.flavour} {a_newer_series(site)}" in ran.errors[0]
    # The proof that there was still holds.
    assert site.shelf() == [f"{made}.json", f"{made}.proof.json", f"{made}.zip"]
    assert scratches(site.server, scratch) == []


def test_the_same_statement_speaks_of_a_backup_of_the_own_series(site: Site, scratch: str) -> None:
    made = site.backup()
    repack(site.backups, made, {"database.sql": UNKNOWN})
    assert site.run("drill", made).code == 7
    assert f"{made}.failed.json" in site.shelf()


def test_a_restore_tells_an_index_that_is_lost_on_another_release_and_goes_on(site: Site) -> None:
    made = site.backup()
    seem_to_be_of(site.backups, made, another_release(site))
    lose_an_index(site.backups, made)
    site.lose_all()
    ran = site.run("restore", made)
    assert ran.code == 3, ran.said
    assert "! table kimai2_timesheet: definition.indexes" in ran.out


def test_a_restore_tells_what_another_release_may_only_put_in_other_words(site: Site) -> None:
    made = site.backup()
    seem_to_be_of(site.backups, made, another_release(site))
    change_a_default(site.backups, made)
    site.lose_all()
    ran = site.run("restore", made)
    assert ran.code == 0, ran.said
    assert "table kimai2_timesheet: definition.columns" in ran.out
    assert "another release may only put it in other words" in ran.out


def test_a_restore_onto_another_series_says_what_is_compared(site: Site) -> None:
    made = site.backup()
    for version, said in ((an_older_series(site), "a newer series"), (a_newer_series(site), "an older series, which")):
        seem_to_be_of(site.backups, made, version)
        ran = site.run("restore", made, "--dry-run", "--replace")
        assert ran.code == 0, ran.said
        assert f"the backup's was {version}, of {said}" in ran.out
        assert "definitions are not" in ran.out


@pytest.mark.flavours("mysql")
@pytest.mark.parametrize("way", ["on MariaDB", "on MySQL"])
def test_a_drill_on_the_other_flavour(
    tmp_path: Path, flavour: str, mysql_server: Server, mariadb_server: Server, way: str
) -> None:
    own, other = (mysql_server, mariadb_server) if way == "on MariaDB" else (mariadb_server, mysql_server)
    site = make_site(tmp_path, own)
    try:
        made = site.backup()
        with scratch_user(other) as (prefix, url):
            ran = site.run("drill", DRILL_DATABASE_URL=url)
            assert ran.code == 0, ran.said
            assert f"definitions were not compared: the backup is of {own.flavour} " in ran.out
            assert proof(site, made)["same_flavour"] is False
            assert all(table["equal"] for table in proof(site, made)["tables"])  # type: ignore[attr-defined]
            # What the other one doesn't know marks nothing.
            collation = "utf8mb4_ja_0900_as_cs" if way == "on MariaDB" else "utf8mb4_uca1400_german2_ai_ci"
            site.sql(f"CREATE TABLE words (id INT PRIMARY KEY, w VARCHAR(20) COLLATE {collation})")
            made = site.backup()
            ran = site.run("drill", made, DRILL_DATABASE_URL=url)
            assert ran.code == 8, ran.said
            assert f"doesn't know what the backup holds: collation {collation} (words)" in ran.errors[0]
            assert [name for name in site.shelf() if name.startswith(made)] == [f"{made}.json", f"{made}.zip"]
            assert scratches(other, prefix) == []
    finally:
        site.end()
