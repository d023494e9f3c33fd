"""A local disk that fills during the dump while S3 is there as well."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.cli import Site
from tests.support.keys import age_key
from tests.support.s3 import keys_in, s3_storage
from tests.support.seaweed import Store
from tests.support.shelf import backup_id, shelve

LARGE = "var/data/large.bin"
FULL = """
import errno, sys
from pathlib import Path
from sidecar import making, targets
from sidecar.__main__ import main

folder, _ = sys.argv.pop(1), sys.argv.pop(1)

class Small:
    def __init__(self, file):
        self.file, self.name, self.left = file, file.name, 3 << 20
    def write(self, piece):
        self.left -= len(piece)
        if self.left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(piece)
    def flush(self):
        self.file.flush()

def write_archive(entries, file, recipients, real=making.write_archive):
    return real(entries, Small(file) if str(Path(file.name).parent) == folder else file, recipients)

making.write_archive = write_archive
targets._same_disk = lambda one, other: Path(folder) in one.parents
main()
"""
"""What stands for a disk where no file system may be mounted: 3 MB are as much as the folder takes."""


def mount(folder: Path, options: str) -> bool:
    """Whether this user may, as a user without rights and one in many a container may not."""
    command = ["mount", "-t", "tmpfs", "-o", f"{options},mode=0755", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@dataclass
class Disk:
    """BACKUP_DIR as a disk of 3 MB; `prefix` makes a command meet one where none can be mounted."""

    folder: Path
    mounted: bool

    @property
    def prefix(self) -> list[str]:
        return [] if self.mounted else [sys.executable, "-c", FULL, str(self.folder)]

    def grow(self) -> None:
        if self.mounted:
            subprocess.run(["mount", "-o", "remount,size=64m", str(self.folder)], check=True)


@pytest.fixture(params=["mounted", "simulated"])
def small_disk(request: pytest.FixtureRequest, offsite: Site) -> Iterator[Disk]:
    """Both, so that the one that stands for the other is known to do so; without rights the second alone, twice."""
    mounted = request.param == "mounted" and mount(offsite.backups, "size=3m")
    yield Disk(offsite.backups, mounted)
    if mounted:
        unmount(offsite.backups)


def whole(site: Site, target: str) -> list[str]:
    rows = site.run("verify", "--json").json()
    return [row["id"] for row in rows if row["target"] == target and row["whole"]]


def test_s3_gets_its_backup(offsite: Site, small_disk: Disk, s3_store: Store, bucket: str, tmp_path: Path) -> None:
    offsite.extra |= {"RETENTION_DAYS": "1", "RETENTION_MIN_KEEP": "1"}
    first = offsite.backup()
    old = str(shelve(s3_storage(s3_store, tmp_path, bucket=bucket), backup_id("20200101", instance="kimai")))
    before = offsite.shelf()
    (offsite.root / LARGE).write_bytes(os.urandom(8 << 20))
    ran = offsite.run("backup", prefix=small_disk.prefix)
    assert ran.code == 3, ran.said
    assert "target local failed: " in ran.err
    assert "No space left on device" in ran.err
    assert "the backup begins again in " in ran.err
    assert "nothing is pruned: a target failed" in ran.err
    assert offsite.shelf() == before
    assert list((offsite.state / "spool").iterdir()) == []
    assert f"{old}.zip" in keys_in(s3_store, bucket)
    [made] = [each for each in whole(offsite, "s3") if each != first]
    manifest = offsite.run("show", made, "--json").json()
    assert LARGE in [file["path"] for file in manifest["files"]]
    # With room, the next one is there; what the local disk missed is not brought back.
    small_disk.grow()
    next_one = offsite.backup("--no-prune")
    assert whole(offsite, "local") == [next_one, first]
    assert whole(offsite, "s3") == [next_one, made, first]


def test_an_encrypted_one_begins_again_as_well(
    offsite: Site, small_disk: Disk, s3_store: Store, bucket: str, tmp_path: Path
) -> None:
    offsite.extra["BACKUP_ENCRYPT_TO"] = age_key(tmp_path).recipient
    (offsite.root / LARGE).write_bytes(os.urandom(8 << 20))
    ran = offsite.run("backup", prefix=small_disk.prefix)
    assert ran.code == 3, ran.said
    assert "No space left on device" in ran.err
    assert "the backup begins again in " in ran.err
    [made] = whole(offsite, "s3")
    assert f"{made}.zip.age" in keys_in(s3_store, bucket)
    assert offsite.shelf() == []


def test_with_the_state_folder_on_that_disk_it_ends_with_the_first_error(
    offsite: Site, small_disk: Disk, s3_store: Store, bucket: str
) -> None:
    offsite.extra["BACKUP_STATE_DIR"] = str(small_disk.folder / "state")
    (offsite.root / LARGE).write_bytes(os.urandom(8 << 20))
    ran = offsite.run("backup", prefix=small_disk.prefix)
    assert ran.code == 6, ran.said
    [error] = ran.errors
    assert str(small_disk.folder) in error
    assert "No space left on device" in error
    assert "begins again" not in ran.err
    assert offsite.shelf() == ["state"]
    assert keys_in(s3_store, bucket) == []


def test_with_no_room_elsewhere_either_it_ends_with_the_first_error(
    offsite: Site, s3_store: Store, bucket: str
) -> None:
    """Two disks where they can be mounted; else a limit on the size of files, which fails in the same call."""
    offsite.state.mkdir()
    mounted = [folder for folder in (offsite.backups, offsite.state) if mount(folder, "size=3m")]
    try:
        (offsite.root / LARGE).write_bytes(os.urandom(8 << 20))
        ran = offsite.run("backup", prefix=[] if mounted else ["sh", "-c", 'ulimit -f 6000; exec "$@"', "sh"])
        assert ran.code == 6, ran.said
        [error] = ran.errors
        assert str(offsite.backups) in error
        assert not mounted or "nor can it grow elsewhere" in ran.err
        assert offsite.shelf() == []
        assert list((offsite.state / "spool").iterdir()) == []
        assert keys_in(s3_store, bucket) == []
    finally:
        for folder in mounted:
            unmount(folder)
