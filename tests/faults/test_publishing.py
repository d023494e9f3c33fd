"""Targets that fail, lie or fill up, and a Kimai that is updated meanwhile: what is published, and what is not."""

import dataclasses
import errno
import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pytest

from sidecar import backup as use_case
from sidecar import making, restore
from sidecar.app import App
from sidecar.database.dump import Dump
from sidecar.database.server import DefinitionChanged
from sidecar.errors import Exit, Interrupted, Refused, SpoolFailed, StorageAway, StorageFailed, Unreachable
from sidecar.kimai.local import LocalConsole
from sidecar.manifest import BackupId, Kimai
from sidecar.names import archive_key
from sidecar.report.progress import progress
from sidecar.storage.base import ObjectInfo, Source
from tests.standin.install import set_fault
from tests.support.cli import Site
from tests.support.memory_storage import MemoryStorage
from tests.support.shelf import backup_id, shelve

NOW = datetime.now(UTC).replace(microsecond=0)


class Recording(MemoryStorage):
    """A target that tells in which order it was asked, and fails or lies where it is told to."""

    def __init__(self, name: str, *, fails_at: str = "", keeps_less: bool = False) -> None:
        super().__init__(name)
        self.asked: list[str] = []
        self._fails_at = fails_at
        self._keeps_less = keeps_less

    def put(self, key: str, source: Source, sha256: str | None = None) -> None:
        self.asked.append(f"put {key.partition('Z')[2]}")
        if self._fails_at and key.endswith(self._fails_at):
            raise StorageFailed(f"{self.name} is full", mend="Make room.")
        super().put(key, source)

    def stat(self, key: str) -> ObjectInfo:
        self.asked.append(f"stat {key.partition('Z')[2]}")
        found = super().stat(key)
        return found._replace(size=found.size - 1) if self._keeps_less else found

    def names(self) -> list[str]:
        return [each.key for each in self.list()]


@pytest.fixture
def job(site: Site) -> Iterator[use_case.Job]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with progress(quiet=True) as quiet:
        yield App.load(site.environment | {"RETENTION_DAYS": "1", "RETENTION_MIN_KEEP": "1"}).backup_job(quiet)
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("sidecar").setLevel(logging.NOTSET)


def on(job: use_case.Job, *storages: Any) -> use_case.Job:
    return dataclasses.replace(job, storages=storages)


def an_old_backup(storage: Recording) -> BackupId:
    return shelve(storage, backup_id("20200101", instance="kimai"))


def test_the_zip_is_whole_on_the_target_before_its_manifest_comes(job: use_case.Job, site: Site) -> None:
    target = Recording("one")
    outcome = use_case.backup(on(job, target))
    assert outcome.exit_code is Exit.DONE
    assert target.asked == ["put .zip", "stat .zip", "put .json"]
    assert site.shelf() == []


@pytest.mark.parametrize("fault", [{"fails_at": ".zip"}, {"fails_at": ".json"}, {"keeps_less": True}])
def test_a_target_that_fails_keeps_no_other_from_its_backup_and_nothing_is_pruned(
    job: use_case.Job, site: Site, fault: dict[str, Any]
) -> None:
    good, bad = Recording("good"), Recording("bad", **fault)
    old = str(an_old_backup(good))
    outcome = use_case.backup(on(job, bad, good))
    assert outcome.exit_code is Exit.PARTIAL
    assert outcome.targets == ["good"]
    assert [error.exit_code for error in outcome.failed.values()] == [Exit.STORAGE]
    assert outcome.not_pruned == "a target failed"
    assert f"{old}.zip" in good.names()
    assert len(good.names()) == 4
    # Not even the archive: without its manifest the next run would have to read it all.
    assert bad.names() == []
    assert site.shelf() == []


def test_an_archive_that_can_not_be_withdrawn_is_named(job: use_case.Job, caplog: pytest.LogCaptureFixture) -> None:
    class Stuck(Recording):
        def delete(self, key: str) -> None:
            raise StorageFailed(f"{self.name} went away")

    good, bad = Recording("good"), Stuck("bad", fails_at=".json")
    with caplog.at_level(logging.WARNING):
        outcome = use_case.backup(on(job, bad, good))
    (left,) = bad.names()
    manifest = left.removesuffix(".zip") + ".json"
    assert f"{manifest} and {left} may be left on bad: bad went away" in caplog.messages
    # What failed first is what is told.
    assert [error.what for error in outcome.failed.values()] == ["bad is full"]


@pytest.mark.parametrize("end", [StorageAway("no answer"), Interrupted("interrupted by SIGTERM")])
def test_a_manifest_whose_answer_never_came_goes_before_its_archive(job: use_case.Job, end: Exception) -> None:
    class Silent(Recording):
        def put(self, key: str, source: Source, sha256: str | None = None) -> None:
            super().put(key, source)
            if key.endswith(".json"):
                raise end

    target = Silent("s3")
    with pytest.raises(type(end)):
        use_case.backup(on(job, target))
    assert [key.partition("Z")[2] for key in target.deletions] == [".json", ".zip"]
    assert target.names() == []


def test_an_archive_stays_with_a_manifest_that_can_not_be_taken_back(
    job: use_case.Job, caplog: pytest.LogCaptureFixture
) -> None:
    class Stuck(Recording):
        def put(self, key: str, source: Source, sha256: str | None = None) -> None:
            super().put(key, source)
            if key.endswith(".json"):
                raise StorageAway("no answer")

        def delete(self, key: str) -> None:
            if key.endswith(".json"):
                raise StorageAway("no answer")
            super().delete(key)

    target = Stuck("s3")
    with caplog.at_level(logging.WARNING), pytest.raises(StorageAway):
        use_case.backup(on(job, target))
    assert "may be left on s3: no answer" in caplog.text
    assert sorted(key.partition("Z")[2] for key in target.names()) == [".json", ".zip"]


def test_no_target_at_all_is_a_failure(job: use_case.Job, site: Site) -> None:
    bad, worse = Recording("bad", keeps_less=True), Recording("worse", fails_at=".zip")
    old = an_old_backup(bad)
    with pytest.raises(StorageFailed, match="target bad keeps"):
        use_case.backup(on(job, bad, worse))
    assert [name for name in bad.names() if name.endswith(".json")] == [f"{old}.json"]
    assert worse.names() == []
    assert site.shelf() == []


def test_old_backups_go_once_all_went_well(job: use_case.Job) -> None:
    target = Recording("one")
    old = an_old_backup(target)
    outcome = use_case.backup(on(job, target))
    # What shelve makes holds no table and no file, so that nothing lacks.
    assert outcome.not_pruned is None
    assert [pruned.deleted for pruned in outcome.pruned] == [(old,)]
    assert len(target.names()) == 2


def test_a_table_that_never_holds_still(
    job: use_case.Job, site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begun = []

    def chunks(dump: Dump) -> Iterator[bytes]:
        begun.append(dump)
        yield b"-- the beginning\n"
        raise DefinitionChanged("table kimai2_tags was altered", code=1412)

    monkeypatch.setattr(Dump, "chunks", chunks)
    target = Recording("one")
    with pytest.raises(DefinitionChanged, match="kimai2_tags was altered"):
        use_case.backup(on(job, target))
    assert len(begun) == making.ATTEMPTS
    assert target.names() == []
    assert site.shelf() == []


def test_a_disk_that_tells_only_at_the_end_that_it_is_full(
    job: use_case.Job, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    target = Recording("one")
    with pytest.raises(StorageFailed, match="No space left on device"):
        use_case.backup(on(job, target))
    assert target.names() == []
    assert site.shelf() == []


def test_a_disk_that_goes_away_before_the_archive_begins(
    job: use_case.Job, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    def gone(path: Path, mode: str = "r", *rest: Any, **others: Any) -> Any:
        if path.suffix == ".part" and mode == "wb" and path.parent == site.backups:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return real(path, mode, *rest, **others)

    monkeypatch.setattr(Path, "open", gone)
    with pytest.raises(SpoolFailed, match="can't be written: Input/output error"):
        use_case.backup(on(job, Recording("one")))
    monkeypatch.undo()
    assert site.shelf() == []


@pytest.fixture
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    class Still(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Self:
            return cls.fromtimestamp(NOW.timestamp(), UTC)

    monkeypatch.setattr(use_case, "datetime", Still)
    monkeypatch.setattr(making, "datetime", Still)


@pytest.mark.usefixtures("stopped_clock")
def test_two_backups_within_one_second_have_ids_of_their_own(job: use_case.Job) -> None:
    target = Recording("one")
    made = [use_case.backup(on(job, target), with_prune=False).manifest.id for _ in range(3)]
    wanted = [BackupId("kimai", "2.66.0", NOW + timedelta(seconds=seconds)) for seconds in range(3)]
    assert made == [str(each) for each in wanted]
    assert len(target.names()) == 6
    # Nor is one that was just made taken for the one that a dry run counts with.
    [rehearsed] = use_case.rehearse(on(job, target)).pruned
    assert [str(decision.id) for decision in rehearsed.decisions] == made[::-1]


@pytest.mark.usefixtures("stopped_clock")
def test_an_archive_that_lost_its_manifest_is_not_overwritten(job: use_case.Job) -> None:
    target = Recording("one")
    orphan = archive_key(BackupId("kimai", "2.66.0", NOW))
    target.put(orphan, b"whoever's")
    made = use_case.backup(on(job, target), with_prune=False).manifest.id
    assert made == str(BackupId("kimai", "2.66.0", NOW + timedelta(seconds=1)))
    assert target._objects[orphan] == b"whoever's"


class Updated:
    """A Kimai that is another version once its dump is done; all else is the real one's."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self._versions = iter(("2.66.0", "2.67.0"))

    def identify(self) -> Kimai:
        return Kimai(version=next(self._versions), version_source="console")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def test_an_update_of_kimai_meanwhile(job: use_case.Job, site: Site) -> None:
    target = Recording("one")
    with pytest.raises(Refused, match=r"updated during the backup, from 2\.66\.0 to 2\.67\.0"):
        use_case.backup(dataclasses.replace(on(job, target), instance=Updated(job.instance)))
    assert target.names() == []
    assert site.shelf() == []


# ── A console that hangs: the deadlines are minutes, so the clock is wound forward ───────────────────────────


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    patient = LocalConsole.run
    monkeypatch.setattr(
        LocalConsole, "run", lambda self, *words, deadline: patient(self, *words, deadline=min(deadline, 2.0))
    )


@pytest.mark.usefixtures("impatient")
def test_a_console_that_hangs_has_a_deadline(job: use_case.Job, site: Site) -> None:
    set_fault(site.root, "hang")
    target = Recording("one")
    with pytest.raises(Unreachable, match=r"kimai:version.* did not end within 2 seconds"):
        use_case.backup(on(job, target))
    assert target.names() == []


@pytest.mark.usefixtures("impatient")
def test_a_console_that_hangs_after_a_restore_puts_all_back(job: use_case.Job, site: Site) -> None:
    site.backup()
    site.lose_all()
    before = site.files()
    set_fault(site.root, "hang kimai:reload")
    with pytest.raises(Unreachable, match="kimai:reload did not end within 2 seconds"):
        restore.restore(App.load(site.environment).restore_job(job.progress), "latest")
    assert (site.objects(), site.files(), site.traces()) == ([], before, [])
