"""A restore over a Kimai in use: saved first, replaced, and after any failure or kill wholly the new or the old one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.standin.install import set_fault
from tests.support.cli import Site, make_site, poll, without_rights
from tests.support.in_use import IN_PLACE, LOADING, NOTE, InUse, go_on, phase, refused
from tests.support.keys import age_key
from tests.support.killing import Point, kill_at
from tests.support.servers import running

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


def test_a_kimai_that_has_lost_its_files_is_replaced_and_what_is_gone_is_named(in_use: InUse) -> None:
    """They may be why it is restored, or lie on a disk that is not mounted."""
    in_use.site.lose_files()
    ran = in_use.site.run("restore", in_use.backup, "--replace")
    assert ran.code == 0, ran.said
    assert "of the backup before is not there, and not in the safety backup" in ran.out
    in_use.assert_new()


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
    # Its cache may still be of what was taken back, where that can't be reloaded either.
    but = "But for what is said above, all" if command == "kimai:reload" else "All"
    assert f"{but} is as it was before." in ran.errors[0]
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

POINTS = {
    "while the safety backup is made": Point("sidecar.making", "publish"),
    "once the safety backup is read back": Point("sidecar.safety", "_read_back", 1, "after"),
    "once the journal says that it begins": Point("sidecar.state", NOTE, 1, "after", "under way"),
    "before the database is marked": Point("sidecar.restore_database", "make_mark"),
    "once the mark is made": Point("sidecar.restore_database", "make_mark", 1, "after"),
    "once the mark is signed": Point("sidecar.restore_database", "sign_mark", 1, "after"),
    "while tables are dropped": Point("sidecar.database.server", "Session.query", 6, "before", "DROP TABLE"),
    "once all is dropped": Point("sidecar.restore_database", "drop_unchanged", 1, "after"),
    "while the dump is loaded": LOADING,
    "while keys are made": Point("sidecar.database.load", "_alter", 3, "before"),
    "before the database is compared": Point("sidecar.restore_database", "_compare"),
    "while files are staged": Point("sidecar.kimai.staging", "Staging.write", 5, "after"),
    "while files are exchanged": Point("sidecar.kimai.setaside", "Exchange._move", 4, "after"),
    "once files are exchanged": Point("sidecar.kimai.staging", "Staging.swap", 1, "after"),
    "once all is in place": Point("sidecar.state", NOTE, 1, "after", "in place"),
    "before Kimai is reloaded": Point("sidecar.carry_out", "bring_up"),
    "before it counts": IN_PLACE,
}


@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS)
def test_a_kill_is_ended_either_way(in_use: InUse, point: Point) -> None:
    site = in_use.site
    for end, assert_whole in (("--rollback", in_use.assert_old), ("--resume", in_use.assert_new)):
        kill_at(site, point, "restore", in_use.backup, "--replace")
        ran = site.run("restore", end)
        assert ran.code == 0, ran.said
        assert_whole()


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
    "before anything is": Point("sidecar.rollback", "_drop_what_was_restored"),
    "once the files are back": Point("sidecar.rollback", "put_files_back", 1, "after"),
    "while what was restored is dropped": Point("sidecar.database.server", "Session.query", 6, "before", "DROP TABLE"),
    "once that is dropped": Point("sidecar.rollback", "clear", 1, "after"),
    "while the safety backup is loaded": LOADING,
    "once it is loaded": Point("sidecar.rollback", "load_anew", 1, "after"),
    "once the mark is gone": Point("sidecar.rollback", "take_back_database", 1, "after"),
    "before Kimai runs again": Point("sidecar.rollback", "_let_run"),
    "once Kimai runs again": Point("sidecar.rollback", "_let_run", 1, "after"),
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


# ── What is gone ─────────────────────────────────────────────────────────────────────────────────────────────


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
