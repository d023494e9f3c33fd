"""A restore of tables or files that is killed, wherever: the next one takes back what it made, and only that."""

import os
import shlex
import signal

import pytest

from tests.standin.install import set_fault
from tests.support.cli import Ran, Site, poll
from tests.support.killing import Point, kill_at
from tests.support.line import IN_THE_LOAD
from tests.support.proxy import Proxy

LOAD = "sidecar.database.load"
LOST = "sidecar.restore_lost"
BEFORE_IN_PLACE = [
    Point(LOAD, "Load.load_rows"),
    Point(LOAD, "Load.load_rows", when="after"),
    Point(LOAD, "Load.place"),
]
COUNTS = Point("sidecar.carry_out", "settle")
IN_PLACE = [Point(LOAD, "Load.place", when="after"), Point(LOAD, "Load.finish", when="after"), COUNTS]
TABLE = "kimai2_tags"
RESTORE = ("restore", "latest", "--tables", TABLE)
INVOICE = "var/data/invoices/2026-1.pdf"


@pytest.fixture
def lost(site: Site) -> Site:
    """A site in use that has lost a table, to which others refer."""
    site.sql("CREATE TRIGGER tag_seen BEFORE INSERT ON kimai2_tags FOR EACH ROW SET NEW.color = '#123456'")
    site.backup()
    site.remember()
    site.sql("SET foreign_key_checks=0", f"DROP TABLE {TABLE}")
    return site


def bring(site: Site, *options: str) -> Ran:
    return site.run("restore", "latest", "--tables", TABLE, *options)


@pytest.mark.parametrize("point", [*BEFORE_IN_PLACE, *IN_PLACE], ids=str)
def test_a_kill_is_mended_by_the_same_command(lost: Site, point: Point) -> None:
    rows = lost.rows()
    kill_at(lost, point, *RESTORE)
    assert lost.traces()
    assert {name: values for name, values in lost.rows().items() if name in rows} == rows
    ran = lost.run("backup")
    assert ran.code == 8
    assert f"--tables {TABLE}` again" in ran.errors[0]
    ran = bring(lost)
    assert ran.code == 0, ran.said
    assert "was killed: what it made is taken back first" in ran.said
    lost.assert_restored()
    assert lost.sql("SHOW TRIGGERS LIKE 'kimai2_tags'")


@pytest.mark.parametrize("point", BEFORE_IN_PLACE, ids=str)
@pytest.mark.parametrize("options", [(), ("--discard-killed",)], ids=["plain", "discard"])
def test_a_table_that_somebody_made_after_a_kill_is_never_dropped(
    lost: Site, point: Point, options: tuple[str, ...]
) -> None:
    kill_at(lost, point, *RESTORE)
    lost.sql(f"CREATE TABLE {TABLE} (id INT PRIMARY KEY, name VARCHAR(100))", f"INSERT INTO {TABLE} VALUES (1, 'mine')")
    ran = bring(lost, *options)
    assert ran.code == 8, ran.said
    assert f"{TABLE} is there and has rows" in ran.errors[0]
    assert lost.sql(f"SELECT * FROM {TABLE}") == [(1, "mine")]
    # What it made goes with the next restore that has something to do.
    (lost.root / INVOICE).unlink()
    ran = lost.run("restore", "latest", "--files", INVOICE)
    assert ran.code == 0, ran.said
    assert lost.sql(f"SELECT * FROM {TABLE}") == [(1, "mine")]
    assert [name for name in lost.rows() if name.startswith("kimai_backup")] == []
    assert lost.traces() == []


@pytest.mark.parametrize("point", IN_PLACE, ids=str)
def test_what_was_written_to_it_after_a_kill_is_not_dropped_unasked(lost: Site, point: Point) -> None:
    kill_at(lost, point, *RESTORE)
    lost.sql(f"INSERT INTO {TABLE} (name) VALUES ('since the kill')")
    rows = lost.rows()
    ran = bring(lost)
    assert ran.code == 8
    assert "was written to since" in ran.errors[0]
    assert "--discard-killed" in ran.errors[0]
    assert lost.rows() == rows
    assert bring(lost, "--discard-killed").code == 0
    lost.assert_restored()


def test_other_restores_leave_a_table_alone_that_a_killed_one_put_in_place(lost: Site) -> None:
    kill_at(lost, COUNTS, *RESTORE)
    rows = lost.rows()
    lost.sql("SET foreign_key_checks=0", "DROP TABLE kimai2_invoices")
    rows.pop("kimai2_invoices")
    for options in (
        ("--tables", "kimai2_invoices"),
        ("--files", ".env"),
        ("--only", "files"),
        (),
        ("--discard-killed",),
    ):
        ran = lost.run("restore", "latest", *options)
        assert ran.code == 8, ran.said
        assert f"--tables {TABLE}` again first" in ran.errors[0]
        assert lost.rows() == rows


def test_it_may_stay_as_it_is_by_the_told_way(lost: Site) -> None:
    kill_at(lost, COUNTS, *RESTORE)
    lost.sql("DROP TABLE kimai_backup_restore")
    (journal,) = lost.state.glob("*.restore.json")
    journal.unlink()
    lost.assert_restored()
    assert lost.backup()


def test_a_database_that_was_made_anew_since_the_kill_loses_nothing(lost: Site) -> None:
    kill_at(lost, COUNTS, *RESTORE)
    lost.sql("DROP TABLE kimai_backup_restore")
    before = lost.rows()
    ran = bring(lost)
    assert ran.code == 8
    assert f"{TABLE} is there" in ran.errors[0]
    assert lost.rows() == before


def test_a_kill_while_it_is_taken_back_leaves_nothing_that_looks_put_in_place(lost: Site) -> None:
    kill_at(lost, Point(LOAD, "Load.place"), *RESTORE)
    kill_at(lost, Point("sidecar.placed", "drop", when="after"), *RESTORE)
    lost.sql(f"CREATE TABLE {TABLE} (id INT PRIMARY KEY, name VARCHAR(100))")
    ran = bring(lost, "--discard-killed")
    assert ran.code == 8, ran.said
    assert lost.sql(f"SELECT COUNT(*) FROM {TABLE}") == [(0,)]
    lost.sql("SET foreign_key_checks=0", f"DROP TABLE {TABLE}")
    assert bring(lost).code == 0
    lost.assert_restored()


def test_what_users_wrote_while_kimai_came_up_stays_where_that_fails(lost: Site) -> None:
    set_fault(lost.root, "hang kimai:reload")
    process = lost.start(*RESTORE)
    poll(lambda: TABLE in lost.objects(), "the table is in place")
    lost.sql(f"INSERT INTO {TABLE} (name) VALUES ('while it came up')")
    process.send_signal(signal.SIGTERM)
    ran = lost.ended(process, 20)
    assert ran.code == 130
    assert "was written to meanwhile, so it stays" in ran.said
    set_fault(lost.root, None)
    ran = bring(lost)
    assert ran.code == 8
    assert "was written to since" in ran.errors[0]
    assert lost.sql(f"SELECT COUNT(*) FROM {TABLE} WHERE name = 'while it came up'") == [(1,)]


# ── While rows are loaded ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def line(line: tuple[Site, Proxy]) -> tuple[Site, Proxy]:
    """A site behind the line that has lost the table with its many rows."""
    site, _ = line
    site.backup()
    site.remember()
    site.sql("SET foreign_key_checks=0", "DROP TABLE kimai2_timesheet")
    return line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_while_rows_are_loaded_loses_nothing(line: tuple[Site, Proxy], number: int) -> None:
    site, proxy = line
    before = site.rows()
    proxy.hold_after(IN_THE_LOAD, from_server=False)
    process = site.start("restore", "latest", "--tables", "kimai2_timesheet")
    assert proxy.held.wait(30)
    process.send_signal(number)
    proxy.release()
    process.communicate(timeout=20)
    if number == signal.SIGTERM:
        assert process.returncode == 130
        assert site.rows() == before
        assert site.traces() == []
    ran = site.run("restore", "latest", "--tables", "kimai2_timesheet")
    assert ran.code == 0, ran.said
    site.assert_restored()


def test_a_table_that_comes_while_rows_are_loaded_is_not_replaced(line: tuple[Site, Proxy]) -> None:
    """On a machine Kimai can't be stopped from here, and anybody may make a table meanwhile."""
    site, proxy = line
    proxy.hold_after(IN_THE_LOAD, from_server=False)
    process = site.start("restore", "latest", "--tables", "kimai2_timesheet")
    assert proxy.held.wait(30)
    site.sql("CREATE TABLE kimai2_timesheet (id INT PRIMARY KEY)", "INSERT INTO kimai2_timesheet VALUES (7)")
    proxy.release()
    ran = site.ended(process, 30)
    assert ran.code == 8, ran.said
    assert "a table came while it was restored" in ran.errors[0]
    assert site.sql("SELECT * FROM kimai2_timesheet") == [(7,)]
    assert [name for name in site.rows() if name.startswith("kimai_backup")] == []
    assert site.traces() == []


# ── Files ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_kill_with_a_file_in_place_takes_it_away_again_and_it_comes_back(site: Site) -> None:
    site.backup()
    content = (site.root / INVOICE).read_bytes()
    (site.root / INVOICE).unlink()
    kill_at(site, Point(LOST, "bring_up"), "restore", "latest", "--files", INVOICE)
    assert (site.root / INVOICE).exists()
    refused = site.run("backup")
    assert refused.code == 8
    assert f"--files {INVOICE}` again" in refused.errors[0]
    assert "was killed" in site.run("restore", "latest", "--files", INVOICE, "--dry-run").out
    ran = site.run("restore", "latest", "--files", INVOICE)
    assert ran.code == 0, ran.said
    assert "1 lost files are back" in ran.said
    assert site.traces() == []
    assert (site.root / INVOICE).read_bytes() == content


def test_a_kill_is_taken_back_where_nothing_else_is_lost(site: Site) -> None:
    made = site.backup()
    (site.root / INVOICE).unlink()
    kill_at(site, Point(LOST, "bring_up"), "restore", "latest", "--files", INVOICE)
    ran = site.run("restore", "latest", "--files", ".env")
    assert ran.code == 0, ran.said
    assert f"nothing of {made} was to be brought back" in ran.out
    assert not (site.root / INVOICE).exists()
    assert site.traces() == []


def test_the_command_to_run_again_names_a_file_that_is_no_utf8_as_the_manifest_does(site: Site) -> None:
    path = site.root / os.fsdecode(b"var/data/\xff b.pdf")
    path.write_bytes(b"odd")
    made = site.backup()
    path.unlink()
    kill_at(site, Point(LOST, "bring_up"), "restore", "latest", "--files", os.fsdecode(b"var/data/\xff b.pdf"))
    again = ["restore", made, "--files", "var/data/%FF b.pdf"]
    assert f"`kimai-backup {shlex.join(again)}` again" in site.run("backup").errors[0]
    assert site.run(*again).code == 0
    assert path.read_bytes() == b"odd"


def test_a_kill_of_a_whole_restores_files_is_taken_back_before_a_file_is_looked_for(site: Site) -> None:
    made = site.backup()
    (site.root / INVOICE).unlink()
    (site.root / "var/data/mine.pdf").write_bytes(b"since the backup")
    kill_at(site, Point("sidecar.carry_out", "bring_up"), "restore", "latest", "--only", "files")
    assert not (site.root / "var/data/mine.pdf").exists()
    assert f"`kimai-backup restore {made} --only files` again" in site.run("backup").errors[0]
    assert site.run("restore", "latest", "--files", INVOICE).code == 0
    assert (site.root / "var/data/mine.pdf").read_bytes() == b"since the backup"
    assert (site.root / INVOICE).exists()
    assert site.traces() == []


def test_a_restore_over_all_that_was_cut_short_comes_first(site: Site) -> None:
    site.backup()
    kill_at(site, Point("sidecar.carry_out", "load_database"), "restore", "latest", "--replace")
    for given in (("--tables", TABLE), ("--files", INVOICE)):
        ran = site.run("restore", "latest", *given)
        assert ran.code == 8
        assert "--resume" in ran.errors[0]
    assert site.run("restore", "--resume").code == 0


def test_a_whole_restore_into_an_empty_database_that_was_killed_comes_first(site: Site) -> None:
    made = site.backup()
    site.lose_all()
    kill_at(site, Point("sidecar.carry_out", "bring_up"), "restore", "latest")
    ran = site.run("restore", "latest", "--tables", TABLE)
    assert ran.code == 8
    assert f"`kimai-backup restore {made}` again" in ran.errors[0]


def test_a_kimai_that_does_not_come_up_has_the_files_as_before(site: Site) -> None:
    site.backup()
    (site.root / INVOICE).unlink()
    before = sorted((site.root / "var/data/invoices").iterdir())
    set_fault(site.root, "fail kimai:reload")
    assert site.run("restore", "latest", "--files", "var/data/invoices").code != 0
    assert sorted((site.root / "var/data/invoices").iterdir()) == before
    assert site.traces() == []
