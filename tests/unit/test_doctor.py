"""What the doctor makes of faults that nobody foresaw: a line that failed, its code, and the rest examined."""

import dataclasses
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from sidecar import doctor
from sidecar.archive.decrypting import Keyring
from sidecar.errors import Exit, StorageFailed
from sidecar.storage.base import ObjectInfo
from tests.support.keys import age_key
from tests.support.memory_storage import MemoryStorage
from tests.support.shelf import backup_id, shelve


def broken(*_: Any, **__: Any) -> NoReturn:
    raise OSError(errno.EIO, os.strerror(errno.EIO), "/broken")


class BrokenKimai:
    """A Kimai on a disk that fails."""

    identify = environment = app_secret = survey = remarks = broken


class BrokenStorage(MemoryStorage):
    """A target whose own errors are not translated."""

    put = broken


class CountingStorage(MemoryStorage):
    """A target that counts how often it was listed; `refuses`: it can't be."""

    def __init__(self, name: str, *, refuses: bool = False) -> None:
        super().__init__(name)
        self.refuses = refuses
        self.listed = 0

    def list(self) -> Iterator[ObjectInfo]:
        self.listed += 1
        if self.refuses:
            raise StorageFailed("it may not be listed")
        return super().list()


def job_of(tmp_path: Path, *storages: MemoryStorage) -> doctor.Job:
    return doctor.Job(
        instance_name="prod",
        kimai=BrokenKimai,
        connect=broken,
        connections=2,
        storages=storages,
        remarks=lambda now: [],
        check_state_folder=broken,
        backup_dir=tmp_path / "gone",
    )


def test_a_bare_fault_of_the_system_is_a_failed_line_with_a_documented_code(tmp_path: Path) -> None:
    findings = doctor.examine(job_of(tmp_path, BrokenStorage("nfs"), MemoryStorage("spare")))
    found = {finding.what: finding for finding in findings}
    codes = {what: finding.exit_code for what, finding in found.items()}
    assert codes == {
        "Kimai": Exit.CONFIGURATION,
        "files": Exit.CONFIGURATION,
        "database": Exit.UNREACHABLE,
        "snapshot": Exit.UNREACHABLE,
        "state folder": Exit.CONFIGURATION,
        "target nfs": Exit.STORAGE,
        "target spare": Exit.DONE,
        "room": Exit.STORAGE,
        "encryption": Exit.DONE,
        "clock": Exit.UNREACHABLE,
    }
    for finding in findings:
        if not finding.good:
            assert "Input/output error" in finding.seen
            assert finding.mend
    assert doctor.exit_code(findings) is Exit.CONFIGURATION


@pytest.mark.parametrize(("free", "good"), [(7, True), (6, False)])
def test_without_a_local_folder_room_is_looked_for_in_the_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, good: bool
) -> None:
    """What the newest backup takes, which is 7 bytes here."""
    state = tmp_path / "state"
    state.mkdir()
    asked = []

    def usage(folder: Path) -> SimpleNamespace:
        asked.append(folder)
        return SimpleNamespace(free=free)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    s3 = MemoryStorage("s3")
    shelve(s3, backup_id("20261101"), archive=b"an older and larger one")
    shelve(s3, backup_id("20261122"), archive=b"archive")
    job = dataclasses.replace(job_of(tmp_path, s3), backup_dir=None, check_state_folder=lambda: state)
    [finding] = [each for each in doctor.examine(job) if each.what == "room"]
    assert asked == [state]
    seen = f"{free} bytes free in {state}, the next backup needs about 7, to be made and to be read back"
    assert (finding.seen, finding.good) == (seen, good)
    assert finding.exit_code is (Exit.DONE if good else Exit.STORAGE)
    assert good or "BACKUP_STATE_DIR" in finding.mend


def test_no_target_is_a_failed_line(tmp_path: Path) -> None:
    [finding] = [each for each in doctor.examine(job_of(tmp_path)) if each.what == "targets"]
    assert (finding.exit_code, "BACKUP_DIR" in finding.mend) == (Exit.CONFIGURATION, True)


def encrypting(job: doctor.Job, folder: Path) -> doctor.Job:
    """The same where backups are encrypted, and the key that opens them lies here."""
    key = age_key(folder)
    return dataclasses.replace(
        job,
        backup_dir=None,
        check_state_folder=lambda: folder,
        recipients=[key.recipient],
        keys=Keyring(key.identity, lambda: folder, "opened-"),
    )


def test_what_lies_on_a_target_is_asked_once_for_all_lines_that_tell_of_it(tmp_path: Path) -> None:
    s3 = CountingStorage("s3")
    shelve(s3, backup_id("20261101"))
    shelve(s3, backup_id("20261122"), encrypted=True, archive=b"encrypted")
    found = {each.what: each for each in doctor.examine(encrypting(job_of(tmp_path, s3), tmp_path))}
    assert "needs about 9" in found["room"].seen
    assert "NOT ENCRYPTED (1)" in found["encryption"].seen
    assert "needs 18 to be opened" in found["room to open"].seen
    # Once more by the probe that was written, and must show.
    assert s3.listed == 2


def test_a_target_that_can_not_be_listed_fails_each_line_that_needs_it(tmp_path: Path) -> None:
    s3 = CountingStorage("s3", refuses=True)
    findings = doctor.examine(encrypting(job_of(tmp_path, s3), tmp_path))
    failed = [each.what for each in findings if each.seen == "it may not be listed"]
    assert failed == ["target s3", "room", "encryption"]
    assert {each.exit_code for each in findings if each.what in failed and not each.good} == {Exit.STORAGE}
    assert s3.listed == 2


def test_the_others_tell_of_backups_where_one_target_can_not_be_listed(tmp_path: Path) -> None:
    local = CountingStorage("local")
    shelve(local, backup_id(), encrypted=True, archive=b"encrypted")
    job = encrypting(job_of(tmp_path, local, CountingStorage("s3", refuses=True)), tmp_path)
    findings = doctor.examine(job)
    assert [each.what for each in findings if each.seen == "it may not be listed"] == ["target s3", "encryption"]
    [room] = [each for each in findings if each.what == "room"]
    assert "needs about 9" in room.seen
