"""Files that somebody wrote to a restored instance before it was rolled back are not lost, unless told."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.standin.install import set_fault
from tests.support.cli import Site, without_rights
from tests.support.in_use import IN_PLACE, InUse, phase, refused
from tests.support.killing import kill_at


@pytest.fixture
def in_place(in_use: InUse) -> InUse:
    """Restored by a command that was killed before Kimai had shown that it works, so that users may have come."""
    kill_at(in_use.site, IN_PLACE, "restore", in_use.backup, "--replace")
    return in_use


def write_new(site: Site) -> Path:
    path = site.root / "var/data/new.pdf"
    path.write_bytes(b"made since")
    return path


def change_in_place(site: Site) -> Path:
    """Of the same length, and as old as before, as `cp --preserve` leaves it."""
    path = next(each for each in sorted((site.root / "var/invoices").rglob("*")) if each.is_file())
    before = path.stat()
    path.write_bytes(bytes(reversed(path.read_bytes())))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    return path


@pytest.mark.parametrize("write", [write_new, change_in_place])
def test_a_rollback_does_not_take_a_file_that_was_written_since(in_place: InUse, write: Callable[[Site], Path]) -> None:
    site = in_place.site
    path = write(site)
    content = path.read_bytes()
    for arguments in (("--rollback", "--dry-run"), ("--rollback",)):
        refused(site.run("restore", *arguments), path.name, "was written since", "--resume", "--discard-killed")
        assert (path.read_bytes(), phase(site)) == (content, "in place")
    assert site.run("restore", "--rollback", "--discard-killed").code == 0
    in_place.assert_old()


def test_a_resume_keeps_it(in_place: InUse) -> None:
    path = write_new(in_place.site)
    assert in_place.site.run("restore", "--resume").code == 0
    assert path.read_bytes() == b"made since"


def test_a_resume_that_fails_leaves_it_in_place(in_place: InUse) -> None:
    site = in_place.site
    path = write_new(site)
    set_fault(site.root, "fail kimai:user:list")
    ran = site.run("restore", "--resume")
    assert ran.code == 5, ran.said
    assert "Nor could what was there before be put back" in ran.errors[0]
    assert f"{path.name} in its folder was written since" in ran.errors[0]
    assert (path.read_bytes(), phase(site)) == (b"made since", "in place")


def test_a_file_that_was_only_touched_is_no_other_one(in_place: InUse) -> None:
    site = in_place.site
    for path in (site.root / "var/invoices").rglob("*"):
        os.utime(path)
    assert site.run("restore", "--rollback").code == 0
    in_place.assert_old()


def test_what_cannot_be_read_may_have_been_written_since(in_place: InUse) -> None:
    site = in_place.site
    folder = site.root / "var/data/closed"
    folder.mkdir()
    (folder / "new.pdf").write_bytes(b"made since")
    folder.chmod(0)
    refused(site.run("restore", "--rollback", prefix=without_rights()), "var/data/closed in its folder can't be read")
    assert phase(site) == "in place"
    folder.chmod(0o700)


def test_without_the_backup_nobody_can_tell(in_place: InUse) -> None:
    site = in_place.site
    (site.backups / f"{in_place.backup}.zip").unlink()
    refused(site.run("restore", "--rollback"), "nobody can tell which of its files were written since")
    assert site.run("restore", "--rollback", "--discard-killed").code == 0
    in_place.assert_old()
