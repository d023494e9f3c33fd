"""A restore over a Kimai in use: saved first, replaced, and after any failure or kill wholly the new or the old one."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.standin.install import set_fault
from tests.support.cli import Ran, Site, make_site, poll, without_rights
from tests.support.keys import age_key
from tests.support.killing import Point, kill_at
from tests.support.servers import Server, running


class InUse(NamedTuple):
    """A Kimai that went on since its backup: how it was then, and how it is now."""

    site: Site
    backup: str
    then: Any
    now: Any

    def assert_new(self) -> None:
        self.site.remembered = self.then
        self.site.assert_restored()

    def assert_old(self) -> None:
        self.site.remembered = self.now
        self.site.assert_restored()

    def safeties(self) -> list[str]:
        return [each for each in self.site.ids() if each.endswith("_safety")]


@pytest.fixture
def in_use(tmp_path: Path, mariadb_server: Server) -> Iterator[InUse]:
    site = make_site(tmp_path, mariadb_server, timesheets=50)
    yield go_on(site)
    site.end()


def go_on(site: Site) -> InUse:
    backup = site.backup()
    site.remember()
    then = site.remembered
    site.sql(
        "INSERT INTO kimai2_tags (name) VALUES ('since the backup')",
        "DELETE FROM kimai2_timesheet ORDER BY id LIMIT 1",
        "CREATE TABLE kimai2_since (id INT PRIMARY KEY, name VARCHAR(20))",
        "INSERT INTO kimai2_since VALUES (1, 'since the backup')",
        "CREATE EVENT since_the_backup ON SCHEDULE EVERY 1 YEAR DO DELETE FROM kimai2_since",
    )
    (site.root / "var/data/since.pdf").write_bytes(b"since the backup")
    (site.root / "var/invoices/since.pdf").write_bytes(b"since the backup")
    site.remember()
    return InUse(site, backup, then, site.remembered)


def refused(ran: Ran, *words: str) -> None:
    assert ran.code == 8, ran.said
    for word in words:
        assert word in ran.errors[0]


# ── As it goes ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_kimai_in_use_is_replaced_and_can_be_gone_back_to(in_use: InUse) -> None:
    site = in_use.site
    refused(site.run("restore", in_use.backup), "is not empty", "--replace")
    dry = site.run("restore", in_use.backup, "--replace", "--dry-run")
    assert (dry.code, in_use.safeties()) == (0, [])
    assert "would make a safety backup" in dry.out
    in_use.assert_old()
    ran = site.run("restore", in_use.backup, "--replace")
    assert ran.code == 0, ran.said
    in_use.assert_new()
    [safety] = in_use.safeties()
    assert safety in ran.out
    assert f"{in_use.backup} is restored" in ran.out
    report = json.loads(max((site.state / "kimai.restores").iterdir()).read_bytes())
    assert report["asked"]["replace"] is True
    assert any(safety in line for line in report["done"])
    assert site.run("restore", "latest", "--dry-run").said.count(safety) == 0
    ran = site.run("restore", safety, "--replace")
    assert ran.code == 0, ran.said
    in_use.assert_old()


def test_an_empty_database_needs_no_safety_backup(in_use: InUse) -> None:
    in_use.site.lose_all()
    ran = in_use.site.run("restore", in_use.backup, "--replace")
    assert ran.code == 0, ran.said
    assert in_use.safeties() == []
    in_use.assert_new()


def test_the_database_alone_is_replaced(in_use: InUse) -> None:
    site = in_use.site
    assert site.run("restore", in_use.backup, "--replace", "--only", "database").code == 0
    assert (site.rows(), site.files()) == (in_use.then[0], in_use.now[1])


@pytest.mark.parametrize(
    "arguments",
    [
        ("latest", "--replace", "--only", "files"),
        ("--resume", "--rollback"),
        ("latest", "--resume"),
        ("--rollback", "--replace"),
        ("--resume", "--discard-killed"),
        (),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_told(site: Site, arguments: tuple[str, ...]) -> None:
    assert site.run("restore", *arguments).code == 2


@pytest.mark.parametrize("what", ["--resume", "--rollback"])
def test_nothing_is_ended_that_was_not_cut_short(in_use: InUse, what: str) -> None:
    refused(in_use.site.run("restore", what), "no restore over an instance in use was cut short")
    in_use.assert_old()
    in_use.site.run("restore", in_use.backup, "--replace")
    refused(in_use.site.run("restore", what), "no restore over an instance in use was cut short")
    in_use.assert_new()


# ── What could not be put back is not replaced ───────────────────────────────────────────────────────────────


def test_what_no_dump_holds_is_not_dropped(in_use: InUse) -> None:
    in_use.site.sql("CREATE TABLE kimai2_old (id INT PRIMARY KEY) WITH SYSTEM VERSIONING")
    refused(in_use.site.run("restore", in_use.backup, "--replace"), "the history of table kimai2_old")
    assert in_use.safeties() == []


def test_without_a_place_for_the_safety_backup_nothing_is_touched(in_use: InUse) -> None:
    site = in_use.site
    zip_file = str(site.backups / f"{in_use.backup}.zip")
    ran = site.run("restore", zip_file, "--replace", BACKUP_DIR=str(site.folder / "no"))
    assert ran.code == 6, ran.said
    in_use.assert_old()


def test_a_file_that_the_safety_backup_can_not_hold_is_not_replaced(in_use: InUse) -> None:
    site = in_use.site
    secret = site.root / "var/data/secret.pdf"
    secret.write_bytes(b"not for everybody")
    secret.chmod(0)
    os.chown(secret, 12345, 12345)
    ran = site.run("restore", in_use.backup, "--replace", prefix=without_rights())
    refused(ran, "lacks var/data/secret.pdf, so nothing is replaced")
    assert secret.read_bytes() == b"not for everybody"
    secret.unlink()
    assert (site.rows(), site.traces()) == (in_use.now[0], [])


def test_another_restores_mark_is_heeded(in_use: InUse) -> None:
    kill_at(in_use.site, LOADING, "restore", in_use.backup, "--replace")
    ran = in_use.site.run("restore", in_use.backup, "--replace", BACKUP_STATE_DIR=str(in_use.site.folder / "other"))
    refused(ran, "bears the mark of a restore whose journal is not in BACKUP_STATE_DIR")
    assert in_use.site.run("restore", "--rollback").code == 0
    in_use.assert_old()


# ── What fails is put back ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("command", ["kimai:reload", "kimai:user:list"])
def test_a_kimai_that_does_not_come_up_gets_back_what_it_had(in_use: InUse, command: str) -> None:
    site = in_use.site
    set_fault(site.root, f"fail {command}")
    ran = site.run("restore", in_use.backup, "--replace")
    assert ran.code == 5, ran.said
    assert "All is as it was before." in ran.errors[0]
    set_fault(site.root, None)
    in_use.assert_old()
    assert site.run("backup").code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_puts_back_what_was_there(in_use: InUse, number: int) -> None:
    site = in_use.site
    set_fault(site.root, "hang kimai:user:list")
    process = site.start("restore", in_use.backup, "--replace")
    poll(lambda: phase(site) == "in place", "all is in place")
    process.send_signal(number)
    ran = site.ended(process)
    assert ran.code == 130, ran.said
    assert "All is as it was before." in ran.errors[0]
    set_fault(site.root, None)
    in_use.assert_old()


def phase(site: Site) -> str | None:
    """How far the journal says that it is."""
    found = [json.loads(path.read_bytes()) for path in site.state.glob("*.restore.json")]
    return found[0]["phase"] if found else None


def test_a_fault_that_nobody_thought_of_puts_back_what_was_there(in_use: InUse) -> None:
    """No error of ours: such as one of the file system's, in a place where none was expected."""
    site = in_use.site
    program = """
import sidecar.restore_database
from sidecar.__main__ import main
real = sidecar.restore_database._compare
def fails(*_):
    sidecar.restore_database._compare = real
    raise OSError(5, "Input/output error")
sidecar.restore_database._compare = fails
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program, "restore", in_use.backup, "--replace"],
        env=site.environment,
        capture_output=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 1
    assert b"All is as it was before." in done.stderr
    in_use.assert_old()


# ── Killed ───────────────────────────────────────────────────────────────────────────────────────────────────

NOTE = "State.write_restore_note"
LOADING = Point("sidecar.database.load", "Load._take", 40, "before")
POINTS = {
    "while the safety backup is made": Point("sidecar.making", "publish"),
    "once the safety backup is read back": Point("sidecar.safety", "_read_back", 1, "after"),
    "once the journal says that it begins": Point("sidecar.state", NOTE, 2, "after"),
    "before the database is marked": Point("sidecar.restore_database", "mark"),
    "once the database is marked": Point("sidecar.restore_database", "mark", 1, "after"),
    "while tables are dropped": Point("sidecar.database.server", "Session.query", 6, "before", "DROP TABLE"),
    "once all is dropped": Point("sidecar.restore_database", "clear", 1, "after"),
    "while the dump is loaded": LOADING,
    "while keys are made": Point("sidecar.database.load", "_alter", 3, "before"),
    "before the database is compared": Point("sidecar.restore_database", "_compare"),
    "while files are staged": Point("sidecar.kimai.staging", "Staging.write", 5, "after"),
    "while files are exchanged": Point("sidecar.kimai.setaside", "Exchange._move", 4, "after"),
    "once files are exchanged": Point("sidecar.kimai.staging", "Staging.swap", 1, "after"),
    "once all is in place": Point("sidecar.state", NOTE, 1, "after", "in place"),
    "before Kimai is reloaded": Point("sidecar.carry_out", "_bring_up"),
    "before it counts": Point("sidecar.carry_out", "settle"),
}


def say_so(in_use: InUse) -> None:
    """Until it is ended, every command says that one was cut short, and none makes it worse."""
    site = in_use.site
    for command in (("backup",), ("prune",), ("restore", "latest"), ("restore", "latest", "--replace")):
        refused(site.run(*command), "cut short", "--resume", "--rollback")
    health = site.run("health")
    assert health.code == 1
    assert "--rollback" in health.out
    for command in (("list",), ("show",), ("verify",), ("config",)):
        assert "--rollback" in site.run(*command).err
    assert "--rollback" in site.run("doctor").said
    assert in_use.backup in site.ids()
    assert len(in_use.safeties()) == 1


@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS)
def test_a_kill_is_ended_either_way(in_use: InUse, point: Point) -> None:
    site = in_use.site
    for end, assert_whole in (("--rollback", in_use.assert_old), ("--resume", in_use.assert_new)):
        kill_at(site, point, "restore", in_use.backup, "--replace")
        ran = site.run("restore", end)
        assert ran.code == 0, ran.said
        assert_whole()


def test_until_then_every_command_says_so(in_use: InUse) -> None:
    kill_at(in_use.site, LOADING, "restore", in_use.backup, "--replace")
    say_so(in_use)
    for end in ("--resume", "--rollback"):
        dry = in_use.site.run("restore", end, "--dry-run")
        assert dry.code == 0, dry.said
        assert "would" in dry.out
    assert in_use.site.run("restore", "--rollback").code == 0
    in_use.assert_old()
    for end in ("--resume", "--rollback"):
        refused(in_use.site.run("restore", end), "no restore over an instance in use was cut short")
    assert in_use.site.run("backup").code == 0


ONCE_IT_COUNTS = {
    "once the journal says so": Point("sidecar.state", NOTE, 1, "after", "settled"),
    "once the files are settled": Point("sidecar.kimai.staging", "Staging.settle", 1, "after"),
    "once the mark is gone": Point("sidecar.carry_out", "take_back_database", 1, "after"),
    "while old files are deleted": Point("sidecar.kimai.setaside", "delete", 2, "after"),
    "before the journal is gone": Point("sidecar.state", "State.clear_restore_note"),
}


@pytest.mark.parametrize(
    ("point", "then"),
    [*((point, "--resume") for point in ONCE_IT_COUNTS), ("once the journal says so", "backup")]
    + [(point, "restore") for point in list(ONCE_IT_COUNTS)[:2]],
)
def test_a_kill_once_it_counts_leaves_only_tidying_up(in_use: InUse, point: str, then: str) -> None:
    site = in_use.site
    kill_at(site, ONCE_IT_COUNTS[point], "restore", in_use.backup, "--replace")
    refused(site.run("restore", "--rollback"), "had reached its end", "_safety --replace")
    if then == "backup":
        made = site.run("backup")
        assert made.code == 0, made.said
        rows = site.rows()
        rows.pop("kimai_backup_restore", None)  # the next restore's to drop
        assert rows == in_use.then[0]
        return
    command = ("restore", "--resume") if then == "--resume" else ("restore", in_use.backup, "--replace")
    ran = site.run(*command)
    assert ran.code == 0, ran.said
    in_use.assert_new()


ROLLING_BACK = {
    "once the journal says so": Point("sidecar.state", NOTE, 1, "after", "rolling back"),
    "once the files are back": Point("sidecar.replace", "_put_back_database"),
    "while what was restored is dropped": Point("sidecar.database.server", "Session.query", 6, "before", "DROP TABLE"),
    "once that is dropped": Point("sidecar.replace", "clear", 1, "after"),
    "while the safety backup is loaded": LOADING,
    "once it is loaded": Point("sidecar.replace", "load_anew", 1, "after"),
    "once the mark is gone": Point("sidecar.replace", "take_back_database", 1, "after"),
}


@pytest.mark.parametrize("point", ROLLING_BACK.values(), ids=ROLLING_BACK)
def test_a_rollback_that_is_killed_is_ended_either_way(in_use: InUse, point: Point) -> None:
    site = in_use.site
    for end, assert_whole in (("--rollback", in_use.assert_old), ("--resume", in_use.assert_new)):
        kill_at(site, LOADING, "restore", in_use.backup, "--replace")
        kill_at(site, point, "restore", "--rollback")
        refused(site.run("backup"), "--rollback")
        ran = site.run("restore", end)
        assert ran.code == 0, ran.said
        assert_whole()


# ── What was written since ───────────────────────────────────────────────────────────────────────────────────

IN_PLACE = POINTS["before it counts"]


def test_what_was_written_to_the_restored_kimai_is_kept_by_resume_and_not_dropped_unasked(in_use: InUse) -> None:
    site = in_use.site
    kill_at(site, IN_PLACE, "restore", in_use.backup, "--replace")
    site.sql("INSERT INTO kimai2_tags (name) VALUES ('written since')")
    refused(site.run("restore", "--rollback"), "written to since", "--resume", "--discard-killed")
    ran = site.run("restore", "--resume")
    assert ran.code == 0, ran.said
    assert site.sql("SELECT COUNT(*) FROM kimai2_tags WHERE name = 'written since'") == [(1,)]
    assert site.traces() == []


def test_what_was_written_since_goes_where_that_is_said(in_use: InUse) -> None:
    site = in_use.site
    kill_at(site, IN_PLACE, "restore", in_use.backup, "--replace")
    site.sql("INSERT INTO kimai2_tags (name) VALUES ('written since')")
    assert site.run("restore", "--rollback", "--discard-killed").code == 0
    in_use.assert_old()


def test_a_database_without_the_mark_is_nobodys_to_drop(in_use: InUse) -> None:
    """Somebody mended it by hand, and goes on: neither way may take that away."""
    site = in_use.site
    kill_at(site, POINTS["before the database is marked"], "restore", in_use.backup, "--replace")
    site.sql("INSERT INTO kimai2_tags (name) VALUES ('written since')")
    rows = site.rows()
    refused(site.run("restore", "--resume"), "written to since", "--rollback")
    ran = site.run("restore", "--rollback")
    assert ran.code == 0, ran.said
    assert "left as it is" in ran.said
    assert (site.rows(), site.files()) == (rows, in_use.now[1])


def test_a_database_that_was_made_anew_gets_the_safety_backup(in_use: InUse) -> None:
    kill_at(in_use.site, LOADING, "restore", in_use.backup, "--replace")
    in_use.site.lose_database()
    assert in_use.site.run("restore", "--rollback").code == 0
    in_use.assert_old()


def test_a_safety_backup_that_is_gone_is_told_before_anything_is_dropped(in_use: InUse) -> None:
    site = in_use.site
    kill_at(site, IN_PLACE, "restore", in_use.backup, "--replace")
    [safety] = in_use.safeties()
    (site.backups / f"{safety}.zip").rename(site.folder / "away.zip")
    before = site.rows()
    ran = site.run("restore", "--rollback")
    assert ran.code == 10, ran.said
    assert site.rows() == before
    (site.folder / "away.zip").rename(site.backups / f"{safety}.zip")
    assert site.run("restore", "--rollback").code == 0
    in_use.assert_old()


# ── The server dies ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("end", ["--rollback", "--resume"])
def test_a_server_that_dies_in_the_load_leaves_a_journal_and_both_ways_lead_on(tmp_path: Path, end: str) -> None:
    with running("--innodb-flush-log-at-trx-commit=1") as server:
        in_use = go_on(make_site(tmp_path, server, timesheets=5000))
        site = in_use.site
        process = site.start("restore", in_use.backup, "--replace")
        poll(lambda: phase(site) == "under way" and "kimai2_since" not in site.objects(), "the old tables go")
        server.kill()
        ran = site.ended(process)
        assert ran.code == 5, ran.said
        assert "--resume" in ran.errors[0]
        assert "--rollback" in ran.errors[0]
        assert site.run("restore", end).code == 5
        server.start_again()
        assert site.run("backup").code == 8
        ran = site.run("restore", end)
        assert ran.code == 0, ran.said
        (in_use.assert_old if end == "--rollback" else in_use.assert_new)()
        site.end()


# ── Encrypted ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def sealed(in_use: InUse, tmp_path: Path) -> tuple[InUse, dict[str, str]]:
    """Backups are encrypted; the key is given only where it is said."""
    (tmp_path / "elsewhere").mkdir()
    key = age_key(tmp_path / "elsewhere")
    in_use.site.extra["BACKUP_ENCRYPT_TO"] = key.recipient
    return in_use, {"BACKUP_IDENTITY_FILE": str(key.file)}


def test_a_safety_backup_is_encrypted_where_backups_are(sealed: tuple[InUse, dict[str, str]]) -> None:
    in_use, key = sealed
    site = in_use.site
    ran = site.run("restore", in_use.backup, "--replace")
    assert ran.code == 4, ran.said
    assert "BACKUP_IDENTITY is not set" in ran.errors[0]
    in_use.assert_old()
    kill_at(site, LOADING, "restore", in_use.backup, "--replace", **key)
    [safety] = in_use.safeties()
    assert (site.backups / f"{safety}.zip.age").exists()
    assert site.run("restore", "--rollback").code == 4
    assert site.run("restore", "--rollback", **key).code == 0
    in_use.assert_old()
    assert site.run("restore", in_use.backup, "--replace", **key).code == 0
    in_use.assert_new()


def test_a_key_that_does_not_fit_is_found_out_before_anything_is_touched(
    sealed: tuple[InUse, dict[str, str]], tmp_path: Path
) -> None:
    in_use, _ = sealed
    (tmp_path / "other").mkdir()
    other = age_key(tmp_path / "other")
    ran = in_use.site.run("restore", in_use.backup, "--replace", BACKUP_IDENTITY_FILE=str(other.file))
    assert ran.code == 4, ran.said
    in_use.assert_old()
