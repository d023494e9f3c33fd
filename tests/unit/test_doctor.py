"""What the doctor makes of faults that nobody foresaw: a line that failed, its code, and the rest examined."""

import dataclasses
import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from sidecar import doctor
from sidecar.errors import Exit
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
