"""A restore of tables or files that is killed, wherever: the next one takes back what it made, and only that."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.standin.install import set_fault
from tests.support.cli import Ran, Site, make_site
from tests.support.proxy import Proxy
from tests.support.servers import Server

KILLED = """\
import os, signal, sys
import sidecar.restore_lost, sidecar.restore_tables
from sidecar.database import load, objects
from sidecar.__main__ import main

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def after(function):
    def wrapped(*given, **named):
        function(*given, **named)
        die()
    return wrapped

{patch}
sys.argv = ["kimai-backup", *sys.argv[1:]]
main()
"""
BEFORE_IN_PLACE = {
    "before its rows": "load.Load.load_rows = die",
    "after its rows": "load.Load.load_rows = after(load.Load.load_rows)",
    "before it is put in place": "load.Load.place = die",
}
IN_PLACE = {
    "once it is in place": "load.Load.place = after(load.Load.place)",
    "once its keys are there": "load.Load.finish = after(load.Load.finish)",
    "before it counts": "sidecar.restore_lost.settle = die",
}
TABLE = "kimai2_tags"


def die_at(site: Site, patch: str, *arguments: str) -> None:
    """Run a command that kills itself there."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED.format(patch=patch), *arguments],
        env=site.environment,
        capture_output=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


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


@pytest.mark.parametrize("patch", [*BEFORE_IN_PLACE.values(), *IN_PLACE.values()], ids=[*BEFORE_IN_PLACE, *IN_PLACE])
def test_a_kill_is_mended_by_the_same_command(lost: Site, patch: str) -> None:
    rows = lost.rows()
    die_at(lost, patch, "restore", "latest", "--tables", TABLE)
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


@pytest.mark.parametrize("patch", BEFORE_IN_PLACE.values(), ids=[*BEFORE_IN_PLACE])
@pytest.mark.parametrize("options", [(), ("--discard-killed",)], ids=["plain", "discard"])
def test_a_table_that_somebody_made_after_a_kill_is_never_dropped(
    lost: Site, patch: str, options: tuple[str, ...]
) -> None:
    die_at(lost, patch, "restore", "latest", "--tables", TABLE)
    lost.sql(f"CREATE TABLE {TABLE} (id INT PRIMARY KEY, name VARCHAR(100))", f"INSERT INTO {TABLE} VALUES (1, 'mine')")
    ran = bring(lost, *options)
    assert ran.code == 8, ran.said
    assert f"{TABLE} is there and has rows" in ran.errors[0]
    assert lost.sql(f"SELECT * FROM {TABLE}") == [(1, "mine")]
    # What it made goes with the next restore that has something to do.
    (lost.root / "var/data/invoices/2026-1.pdf").unlink()
    ran = lost.run("restore", "latest", "--files", "var/data/invoices/2026-1.pdf")
    assert ran.code == 0, ran.said
    assert lost.sql(f"SELECT * FROM {TABLE}") == [(1, "mine")]
    assert [name for name in lost.rows() if name.startswith("kimai_backup")] == []
    assert lost.traces() == []


@pytest.mark.parametrize("patch", IN_PLACE.values(), ids=[*IN_PLACE])
def test_what_was_written_to_it_after_a_kill_is_not_dropped_unasked(lost: Site, patch: str) -> None:
    die_at(lost, patch, "restore", "latest", "--tables", TABLE)
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
    die_at(lost, IN_PLACE["before it counts"], "restore", "latest", "--tables", TABLE)
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
    die_at(lost, IN_PLACE["before it counts"], "restore", "latest", "--tables", TABLE)
    lost.sql("DROP TABLE kimai_backup_restore")
    (journal,) = lost.state.glob("*.restore.json")
    journal.unlink()
    lost.assert_restored()
    assert lost.backup()


def test_a_database_that_was_made_anew_since_the_kill_loses_nothing(lost: Site) -> None:
    die_at(lost, IN_PLACE["before it counts"], "restore", "latest", "--tables", TABLE)
    lost.sql("DROP TABLE kimai_backup_restore")
    before = lost.rows()
    ran = bring(lost)
    assert ran.code == 8
    assert f"{TABLE} is there" in ran.errors[0]
    assert lost.rows() == before


def test_a_kill_while_it_is_taken_back_leaves_nothing_that_looks_put_in_place(lost: Site) -> None:
    patch = "load.Load.place = lambda *_: 1 / 0\nsidecar.placed.drop = after(sidecar.placed.drop)"
    die_at(lost, f"import sidecar.placed\n{patch}", "restore", "latest", "--tables", TABLE)
    lost.sql(f"CREATE TABLE {TABLE} (id INT PRIMARY KEY, name VARCHAR(100))")
    ran = bring(lost, "--discard-killed")
    assert ran.code == 8, ran.said
    assert lost.sql(f"SELECT COUNT(*) FROM {TABLE}") == [(0,)]


def test_a_table_that_came_just_then_is_not_replaced(lost: Site) -> None:
    """Kimai can't be stopped on a machine: what somebody makes while rows are loaded stays."""
    patch = f"""
import subprocess
place = load.Load.place
def late(self):
    self._main.query("CREATE TABLE {TABLE} (id INT PRIMARY KEY)")
    self._main.query("INSERT INTO {TABLE} VALUES (7)")
    place(self)
load.Load.place = late
"""
    done = subprocess.run(
        [sys.executable, "-c", KILLED.format(patch=patch), "restore", "latest", "--tables", TABLE],
        env=lost.environment,
        capture_output=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 7, done.stderr.decode()
    assert lost.sql(f"SELECT * FROM {TABLE}") == [(7,)]
    assert [name for name in lost.rows() if name.startswith("kimai_backup")] == []
    assert lost.traces() == []


def test_what_users_wrote_while_kimai_came_up_stays_where_it_fails(lost: Site) -> None:
    patch = f"""
def written(job, *_, **__):
    session = job.connect()
    session.query("INSERT INTO {TABLE} (name) VALUES ('while it came up')")
    die()
sidecar.restore_lost.bring_up = written
"""
    die_at(lost, patch, "restore", "latest", "--tables", TABLE)
    assert bring(lost).code == 8
    assert lost.sql(f"SELECT COUNT(*) FROM {TABLE} WHERE name = 'while it came up'") == [(1,)]


# ── While rows are loaded ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def line(tmp_path: Path, mariadb_server: Server) -> Iterator[tuple[Site, Proxy]]:
    """A site with many rows in one table, its server behind a line that tests can hold."""
    site = make_site(tmp_path, mariadb_server, timesheets=5000)
    with Proxy(mariadb_server.host, mariadb_server.port) as proxy:
        site.port = proxy.port
        site.point_env_at(site.url)
        site.backup()
        site.remember()
        site.sql("SET foreign_key_checks=0", "DROP TABLE kimai2_timesheet")
        yield site, proxy
    site.end()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_while_rows_are_loaded_loses_nothing(line: tuple[Site, Proxy], number: int) -> None:
    site, proxy = line
    before = site.rows()
    proxy.hold_after(300_000, from_server=False)
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


# ── Files ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_kill_with_a_file_in_place_takes_it_away_again_first(site: Site) -> None:
    site.backup()
    (site.root / "var/data/invoices/2026-1.pdf").unlink()
    files = site.files()
    patch = "sidecar.restore_lost.bring_up = die"
    die_at(site, patch, "restore", "latest", "--files", "var/data/invoices/2026-1.pdf")
    assert (site.root / "var/data/invoices/2026-1.pdf").exists()
    ran = site.run("restore", "latest", "--files", "var/data/invoices/2026-1.pdf")
    assert ran.code == 0, ran.said
    assert site.traces() == []
    assert files.keys() | {"var/data/invoices/2026-1.pdf"} == site.files().keys()


def test_a_kimai_that_does_not_come_up_has_the_files_as_before(site: Site) -> None:
    site.backup()
    (site.root / "var/data/invoices/2026-1.pdf").unlink()
    before = sorted((site.root / "var/data/invoices").iterdir())
    set_fault(site.root, "fail kimai:reload")
    assert site.run("restore", "latest", "--files", "var/data/invoices").code != 0
    assert sorted((site.root / "var/data/invoices").iterdir()) == before
    assert site.traces() == []
