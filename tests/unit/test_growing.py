"""An archive whose disk takes no more: it begins again elsewhere, once, and only where that can help."""

import errno
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from sidecar.app import App
from sidecar.before import look_back
from sidecar.errors import SpoolFailed, StorageFailed, Unreachable
from sidecar.growing import grown
from sidecar.manifest import Manifest
from tests.support.memory_storage import MemoryStorage
from tests.support.shelf import backup_id, manifest_of, shelve

KEY = f"{backup_id()}.zip"
FULL = SpoolFailed("local is full")


class Spool:
    """Two folders, the second only where it is another disk."""

    def __init__(self, folder: Path, *, second: bool = True) -> None:
        self.here, self.there = folder / "here", folder / "there"
        self.second = second
        for path in (self.here, self.there):
            path.mkdir()

    def file(self, key: str) -> Path:
        (self.here / key).touch()
        return self.here / key

    def other_file(self, key: str, failed: Path, needed: int) -> Path | None:
        # The room that the first one took is free again by now.
        assert not failed.exists()
        if not self.second:
            return None
        (self.there / key).touch()
        return self.there / key

    def sweep(self, now: datetime) -> list[str]:
        raise NotImplementedError

    def left(self) -> list[Path]:
        return [*self.here.iterdir(), *self.there.iterdir()]


def packing(faults: dict[str, Exception], asked: list[str]) -> Callable[[Path], Manifest]:
    def pack(path: Path) -> Manifest:
        asked.append(path.parent.name)
        path.write_bytes(b"archive")
        if fault := faults.get(path.parent.name):
            raise fault
        return manifest_of(backup_id())

    return pack


LOCAL, S3 = MemoryStorage("local"), MemoryStorage("s3")


def test_where_all_is_well_it_grows_once(tmp_path: Path) -> None:
    spool, asked = Spool(tmp_path), list[str]()
    with grown(spool, [LOCAL, S3], KEY, packing({}, asked)) as archive:
        assert archive.path.read_bytes() == b"archive"
        assert (archive.storages, archive.failed) == ([LOCAL, S3], {})
    assert (asked, spool.left()) == (["here"], [])


def test_a_disk_that_takes_no_more_is_a_failed_target_and_the_others_get_theirs(tmp_path: Path) -> None:
    spool, asked = Spool(tmp_path), list[str]()
    with grown(spool, [LOCAL, S3], KEY, packing({"here": FULL}, asked)) as archive:
        assert (archive.path.parent, archive.path.read_bytes()) == (spool.there, b"archive")
        assert (archive.storages, archive.failed) == ([S3], {"local": FULL})
        assert list(spool.here.iterdir()) == []
    assert (asked, spool.left()) == (["here", "there"], [])


@pytest.mark.parametrize(("second", "tried"), [(False, ["here"]), (True, ["here", "there"])])
def test_where_it_can_grow_nowhere_the_first_failure_is_told(tmp_path: Path, second: bool, tried: list[str]) -> None:
    spool, asked = Spool(tmp_path, second=second), list[str]()
    pack = packing({"here": FULL, "there": SpoolFailed("that is full, too")}, asked)
    with pytest.raises(SpoolFailed, match="local is full"), grown(spool, [LOCAL, S3], KEY, pack):
        pass
    assert (asked, spool.left()) == (tried, [])


@pytest.mark.parametrize("fault", [Unreachable("the server went away"), StorageFailed("can't read what is read")])
def test_what_is_no_fault_of_the_disk_is_not_tried_again(tmp_path: Path, fault: Exception) -> None:
    spool, asked = Spool(tmp_path), list[str]()
    with pytest.raises(type(fault)), grown(spool, [LOCAL, S3], KEY, packing({"here": fault}, asked)):
        pass
    assert (asked, spool.left()) == (["here"], [])


def test_a_failure_of_what_is_done_with_it_is_not_one_of_the_disk(tmp_path: Path) -> None:
    spool, asked = Spool(tmp_path), list[str]()
    with pytest.raises(SpoolFailed), grown(spool, [LOCAL, S3], KEY, packing({}, asked)):
        raise FULL
    assert (asked, spool.left()) == (["here"], [])


def test_a_disk_that_does_not_even_delete_keeps_nobody_from_his_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Stuck(Spool):
        def other_file(self, key: str, failed: Path, needed: int) -> Path | None:
            monkeypatch.undo()
            return self.file(key)

    def unlink(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "unlink", unlink)
    spool = Stuck(tmp_path)
    faults = iter([FULL, None])

    def pack(path: Path) -> Manifest:
        if fault := next(faults):
            raise fault
        return manifest_of(backup_id())

    with grown(spool, [LOCAL, S3], KEY, pack) as archive:
        assert archive.storages == [S3]
    assert f"{spool.here / KEY} may be left: Input/output error" in caplog.text


# ── Where else ───────────────────────────────────────────────────────────────────────────────────────────────


def targets(tmp_path: Path, **settings: str) -> App:
    (tmp_path / "backups").mkdir()
    folders = {"BACKUP_DIR": str(tmp_path / "backups"), "BACKUP_STATE_DIR": str(tmp_path / "state")}
    return App.load(folders | settings)


def test_what_is_fetched_from_afar_and_finds_no_room_is_a_failure_of_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = targets(tmp_path, S3_BUCKET="backups").targets
    s3 = MemoryStorage("s3")
    s3.put(KEY, b"archive")
    with found.fetch(s3, KEY) as path:
        assert path.read_bytes() == b"archive"

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageFailed, match=r"No space left on device.*BACKUP_STATE_DIR"), found.fetch(s3, KEY):
        pass
    assert list((tmp_path / "state" / "spool").iterdir()) == []
    # What whoever reads it runs into is his own.
    monkeypatch.undo()
    with pytest.raises(OSError, match="his own"), found.fetch(s3, KEY):
        raise OSError("his own")


@pytest.mark.parametrize("settings", [{}, {"S3_BUCKET": "backups"}, {"S3_BUCKET": "backups", "BACKUP_DIR": ""}])
def test_on_the_same_disk_or_without_another_target_there_is_no_elsewhere(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    found = targets(tmp_path, **settings).targets
    assert found.other_file(KEY, found.file(KEY), 0) is None


def test_a_state_folder_that_takes_no_file_is_no_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = targets(tmp_path, S3_BUCKET="backups").targets
    first = found.file(KEY)
    monkeypatch.setattr("sidecar.targets._same_disk", lambda *_: False)
    other = found.other_file(KEY, first, 0)
    assert other is not None
    assert other.parent == tmp_path / "state" / "spool"
    other.unlink()
    other.parent.rmdir()
    other.parent.write_text("no folder")
    assert found.other_file(KEY, first, 0) is None


@pytest.mark.parametrize(("free", "grows"), [(999, False), (1000, True)])
def test_where_the_last_backup_had_no_room_the_next_does_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, free: int, grows: bool
) -> None:
    found = targets(tmp_path, S3_BUCKET="backups").targets
    first = found.file(KEY)
    monkeypatch.setattr("sidecar.targets._same_disk", lambda *_: False)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    assert (found.other_file(KEY, first, 1000) is not None) == grows
    assert ("the last one has 1000 bytes, 999 are free" in caplog.text) != grows


def test_as_much_room_is_asked_for_as_the_last_backup_takes(tmp_path: Path) -> None:
    class Asked(Spool):
        needed = 0

        def other_file(self, key: str, failed: Path, needed: int) -> Path | None:
            self.needed = needed

    spool = Asked(tmp_path)
    with pytest.raises(SpoolFailed), grown(spool, [LOCAL, S3], KEY, packing({"here": FULL}, []), needed=1000):
        pass
    assert spool.needed == 1000
    storage = MemoryStorage("s3")
    assert look_back([storage], "prod", tmp_path / "memory").size == 0
    shelve(storage, backup_id(), archive=bytes(1000))
    assert look_back([storage], "prod", tmp_path / "memory").size == 1000
