"""What a user in a hurry types instead of an ID: the answer says what it is, and the command that does it."""

import os
from pathlib import Path

import pytest

from sidecar.storage.local import LocalStorage
from tests.support import archives
from tests.support.cli import Ran, Site, without_rights
from tests.support.servers import Server
from tests.support.shelf import backup_id, shelve

READING = ("list", "show", "verify", "restore")


@pytest.fixture
def shop(tmp_path: Path) -> Site:
    """Backups of instance `prod`, and no Kimai: nothing here may get as far as asking for one."""
    site = Site(tmp_path, Server("127.0.0.1", 1), "kimai", "kimai", "s3cr:t/p@ss %word")
    site.backups.mkdir()
    site.extra = {"BACKUP_INSTANCE": "prod", "DATABASE_URL": site.url}
    for day in ("20261120", "20261121"):
        shelve(LocalStorage(site.backups), backup_id(day))
    return site


def told(ran: Ran, code: int) -> str:
    """The one line of an error that ended so."""
    assert ran.code == code, ran.said
    assert ran.out == ""
    [line] = ran.errors
    return line


# ── Another instance ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "command", [("list",), ("list", "--json"), ("show",), ("verify",), ("restore", "latest"), ("prune",)]
)
def test_an_instance_that_has_no_backup_is_answered_with_those_that_have(shop: Site, command: tuple[str, ...]) -> None:
    shelve(LocalStorage(shop.backups), backup_id(instance="staging"))
    line = told(shop.run(*command, "--instance", "pord"), 10)
    assert "pord" in line
    assert "prod, staging" in line
    assert not list(shop.state.glob("pord*")) or command[0] == "restore"


@pytest.mark.parametrize("command", ["list", "verify", "prune"])
def test_an_own_instance_without_backups_is_no_error(shop: Site, command: str) -> None:
    ran = shop.run(command, BACKUP_INSTANCE="new")
    assert ran.code == 0, ran.said
    for path in shop.backups.iterdir():
        path.unlink()
    assert shop.run(command).code == 0
    assert shop.run(command, "--instance", "pord").code == 0


def test_an_instance_of_which_only_a_zip_is_left_is_there(shop: Site) -> None:
    (shop.backups / "kimai_lost_2.66.0_20261122T011000Z.zip").write_bytes(b"x")
    assert shop.run("verify", "--instance", "lost").code == 7
    ran = shop.run("list", "--instance", "lost")
    assert ran.code == 0
    assert "kimai_lost_2.66.0_20261122T011000Z.zip" in ran.err


# ── A file or a folder where an ID is asked for ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize("command", ["verify", "show"])
@pytest.mark.parametrize("suffix", [".zip", ".json"])
def test_a_file_of_the_backup_folder_is_answered_with_its_id(shop: Site, command: str, suffix: str) -> None:
    made = str(backup_id("20261121"))
    for reference in (f"{made}{suffix}", str(shop.backups / f"{made}{suffix}"), f"backups/{made}{suffix}"):
        line = told(shop.run(command, reference), 2)
        assert reference in line
        assert f"`kimai-backup {command} {made}`" in line


def test_a_file_of_another_instance_is_answered_with_that(shop: Site) -> None:
    other = shelve(LocalStorage(shop.backups), backup_id(instance="staging"))
    line = told(shop.run("show", str(shop.backups / f"{other}.zip")), 2)
    assert f"`kimai-backup show {other} --instance staging`" in line


@pytest.mark.parametrize("command", ["verify", "show"])
def test_a_zip_elsewhere_is_checked_by_a_restore_that_is_dry(shop: Site, command: str) -> None:
    usb = shop.folder / "my stick"
    usb.mkdir()
    for name in ("2026-11-22.zip", f"{backup_id('20261121')}.zip"):
        archives.write_backup(usb / name)
        line = told(shop.run(command, str(usb / name)), 2)
        assert f"`kimai-backup restore '{usb / name}' --dry-run`" in line
    # A copy where the user stands is not the one in BACKUP_DIR, though its name be the same.
    here = shop.folder / f"{backup_id('20261121')}.zip"
    archives.write_backup(here)
    assert f"`kimai-backup restore {here.name} --dry-run`" in told(shop.run(command, here.name), 2)
    (usb / "copy.json").write_text("{}")
    assert "takes an ID" in told(shop.run(command, str(usb / "copy.json")), 2)


def test_what_is_nowhere_stays_no_such_backup(shop: Site) -> None:
    for command, reference in (("verify", "2026.zip"), ("show", "/no/such.zip"), ("restore", "/no/such.zip")):
        line = told(shop.run(command, reference), 10)
        assert reference in line
    assert str(backup_id("20261121")) in told(shop.run("restore", "no/such"), 10)


def test_a_folder_to_restore_is_answered_with_the_zip_in_it(shop: Site) -> None:
    usb = shop.folder / "usb"
    usb.mkdir()
    line = told(shop.run("restore", str(usb)), 2)
    assert "is a folder" in line
    assert "no zip in it" in line
    for day in ("20261118", "20261119"):
        (usb / f"{backup_id(day)}.zip").write_bytes(b"x")
    line = told(shop.run("restore", "usb"), 2)
    assert f"`kimai-backup restore usb/{backup_id('20261119')}.zip`" in line
    (usb / "database.sql").write_text("")
    assert "by hand" in told(shop.run("restore", "usb/"), 2)
    assert "`kimai-backup restore latest`" in told(shop.run("restore", str(shop.backups)), 2)
    (shop.folder / "latest").mkdir()
    assert "is a folder" not in told(shop.run("restore", "latest", BACKUP_INSTANCE="new"), 10)


def test_a_folder_to_verify_or_show_is_answered_with_what_does_it(shop: Site) -> None:
    assert "`kimai-backup verify`" in told(shop.run("verify", str(shop.backups)), 2)
    assert "`kimai-backup list`" in told(shop.run("show", str(shop.backups)), 2)
    usb = shop.folder / "usb"
    usb.mkdir()
    assert f"`BACKUP_DIR={usb} kimai-backup verify`" in told(shop.run("verify", str(usb)), 2)


def test_a_manifest_to_restore_is_answered_with_its_zip(shop: Site) -> None:
    made = str(backup_id("20261121"))
    assert f"`kimai-backup restore {made}`" in told(shop.run("restore", str(shop.backups / f"{made}.json")), 2)
    alone = shop.folder / f"{made}.json"
    os.link(shop.backups / alone.name, alone)
    assert "no zip beside it" in told(shop.run("restore", str(alone)), 2)
    alone.with_suffix(".zip").write_bytes(b"x")
    assert f"`kimai-backup restore {alone.with_suffix('.zip')}`" in told(shop.run("restore", str(alone)), 2)


def test_other_files_to_restore_are_told_what_restore_takes(shop: Site) -> None:
    for name, word in (("dump.sql", "ends in .zip"), ("backup.ZIP", "ends in .zip")):
        (shop.folder / name).write_bytes(b"x")
        line = told(shop.run("restore", name), 2)
        assert name in line
        assert word in line


def test_an_encrypted_zip_is_asked_for_its_key_first(shop: Site) -> None:
    (shop.folder / "a.zip.age").write_bytes(b"x")
    assert "a.zip.age is encrypted, and BACKUP_IDENTITY is not set" in told(shop.run("restore", "a.zip.age"), 4)


def test_a_zip_without_manifest_is_restored_by_its_path(shop: Site) -> None:
    orphan = shop.backups / f"{backup_id('20261122')}.zip"
    orphan.write_bytes(b"x")
    assert f"`kimai-backup restore {orphan}`" in told(shop.run("restore", orphan.name), 2)
    assert f"`kimai-backup restore {orphan} --dry-run`" in told(shop.run("verify", orphan.name), 2)


def test_a_path_that_the_system_refuses_is_no_unexpected_fault(shop: Site) -> None:
    for reference in ("x" * 300, f"{'x' * 300}.zip", f"/mnt/{'x' * 300}.zip", f"{'x' * 300}/"):
        for command in ("restore", "verify", "show"):
            assert "x" * 300 in told(shop.run(command, reference), 10)
    private = shop.folder / "private"
    private.mkdir(mode=0)
    for reference in (str(private / "backup.zip"), str(private / "below")):
        assert str(private) in told(shop.run("restore", reference, prefix=without_rights()), 10)
