"""A restore over a Kimai in use: saved first, replaced, and after any failure or kill wholly the new or the old one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.standin.install import set_fault
from tests.support.cli import Site, poll, without_rights
from tests.support.in_use import IN_PLACE, LOADING, InUse, phase, refused
from tests.support.keys import age_key
from tests.support.killing import kill_at

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


@pytest.mark.flavours("mariadb")
def test_what_no_dump_holds_is_not_dropped(in_use: InUse) -> None:
    """MySQL has no such tables."""
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
