"""Sending after what a target missed: one bad copy here is no fault of the target, nor of the other copies."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import pytest

from sidecar.catalog import catalog
from sidecar.errors import ObjectNotFound, StorageAway, StorageFailed
from sidecar.manifest import Archive, BackupId, encode
from sidecar.missed import HOURS, Sent, send_missed
from sidecar.names import archive_key, manifest_key, proof_key
from sidecar.report.progress import progress
from sidecar.retention import Policy
from sidecar.storage.base import Source, Storage
from tests.support.memory_storage import MemoryStorage
from tests.support.shelf import backup_id, manifest_of

NOW = datetime(2026, 11, 24, 1, 10, tzinfo=UTC)
NEW, MIDDLE, OLD = backup_id("20261123"), backup_id("20261122"), backup_id("20261121")


class Local(MemoryStorage):
    """A source of whole backups; some keys can't be read."""

    def __init__(self) -> None:
        super().__init__("local")
        self.faults: dict[str, StorageFailed] = {}
        for each in (OLD, MIDDLE, NEW):
            self.shelve(each)

    def shelve(self, wanted: BackupId, data: bytes = b"archive") -> None:
        archive = Archive(size=len(data), sha256=hashlib.sha256(data).hexdigest())
        self.put(archive_key(wanted), data)
        self.put(manifest_key(wanted), encode(msgspec.structs.replace(manifest_of(wanted), archive=archive)))

    def open(self, key: str) -> BinaryIO:
        if fault := self.faults.get(key):
            raise fault
        return super().open(key)


@pytest.fixture
def fetch(tmp_path: Path) -> Any:
    @contextmanager
    def fetched(storage: Storage, key: str) -> Iterator[Path]:
        with storage.open(key) as stream:
            path = tmp_path / key
            path.write_bytes(stream.read())
        yield path

    return fetched


def send(
    local: Local, s3: MemoryStorage, fetch: Any, *, an_upload_takes: float = 0, encrypted_only: bool = False
) -> Sent:
    def seconds_gone() -> float:
        return an_upload_takes * len([found for found in s3.list() if found.key.endswith(".zip")])

    with progress(quiet=True) as shown:
        return send_missed(
            local, s3, "prod", Policy(), NOW, UTC, fetch, shown, seconds_gone, encrypted_only=encrypted_only
        )


def test_a_slow_line_is_not_waited_for_all_night_and_the_next_run_goes_on(
    fetch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    local, s3 = Local(), MemoryStorage("s3")
    sent = send(local, s3, fetch, an_upload_takes=HOURS * 3600 + 1)
    assert (sent.ids, sent.left, sent.failed) == ([str(NEW)], [MIDDLE, OLD], None)
    assert "2 earlier backups are still to be sent to s3" in caplog.text
    again = send(local, s3, fetch)
    assert (again.ids, again.left) == ([str(MIDDLE), str(OLD)], [])


def test_a_proof_goes_along_after_the_manifest(fetch: Any) -> None:
    class Noting(MemoryStorage):
        stored: list[str] = []  # noqa: RUF012 - one of them

        def put(self, key: str, source: Source, sha256: str | None = None) -> None:
            super().put(key, source)
            self.stored.append(key)

    local, s3 = Local(), Noting("s3")
    local.put(proof_key(MIDDLE), b"the proof")
    send(local, s3, fetch)
    assert s3.stored[2:5] == [archive_key(MIDDLE), manifest_key(MIDDLE), proof_key(MIDDLE)]
    assert s3.open(proof_key(MIDDLE)).read() == b"the proof"
    assert [backup.id for backup in catalog([s3], "prod").backups if backup.proven] == [MIDDLE]
    assert len(s3.stored) == 7


def test_the_newest_proven_one_is_sent_however_old(fetch: Any) -> None:
    local, s3 = Local(), MemoryStorage("s3")
    for day in ("20200102", "20200101"):
        local.shelve(backup_id(day))
        local.put(proof_key(backup_id(day)), b"the proof")
    sent = send(local, s3, fetch)
    assert sent.ids == [str(each) for each in (NEW, MIDDLE, OLD, backup_id("20200102"))]


def test_a_proof_that_can_not_be_read_keeps_no_backup_from_being_sent(fetch: Any) -> None:
    local, s3 = Local(), MemoryStorage("s3")
    local.put(proof_key(MIDDLE), b"the proof")
    local.faults[proof_key(MIDDLE)] = StorageFailed("can't open it: Permission denied")
    sent = send(local, s3, fetch)
    assert (sent.ids, sent.failed, sent.unfit) == ([str(NEW), str(MIDDLE), str(OLD)], None, {})


@pytest.mark.parametrize("key", [manifest_key(MIDDLE), archive_key(MIDDLE)])
def test_one_that_can_not_be_read_here_is_named_and_the_next_one_goes(fetch: Any, key: str) -> None:
    local, s3 = Local(), MemoryStorage("s3")
    local.faults[key] = StorageFailed(f"can't open {key}: Permission denied")
    sent = send(local, s3, fetch)
    assert (sent.ids, sent.failed, list(sent.unfit)) == ([str(NEW), str(OLD)], None, [str(MIDDLE)])
    assert "Permission denied" in sent.unfit[str(MIDDLE)].why
    # It may be whole all the same, so nobody is to remember it.
    assert ("local", archive_key(MIDDLE)) not in sent.looked_at


def test_one_that_is_damaged_here_is_known_by_its_place(fetch: Any) -> None:
    local, s3 = Local(), MemoryStorage("s3")
    local.put(archive_key(MIDDLE), b"another")
    sent = send(local, s3, fetch)
    assert sent.ids == [str(NEW), str(OLD)]
    assert sent.unfit[str(MIDDLE)].place == ("local", archive_key(MIDDLE), 7)
    assert ("local", archive_key(MIDDLE)) in sent.looked_at


def test_one_that_is_deleted_here_meanwhile_is_nothing(fetch: Any) -> None:
    local, s3 = Local(), MemoryStorage("s3")
    local.faults[manifest_key(MIDDLE)] = ObjectNotFound("gone")
    sent = send(local, s3, fetch)
    assert (sent.ids, sent.failed, sent.unfit) == ([str(NEW), str(OLD)], None, {})


@pytest.mark.parametrize("fault", [StorageAway("no answer"), ObjectNotFound("it is not there")])
def test_a_target_that_does_not_take_one_is_asked_for_no_other(fetch: Any, fault: StorageFailed) -> None:
    class Full(MemoryStorage):
        def put(self, key: str, source: Source, sha256: str | None = None) -> None:
            raise fault

    sent = send(Local(), Full("s3"), fetch)
    assert (sent.ids, sent.failed, sent.unfit) == ([], fault, {})


def test_where_backups_are_encrypted_by_now_none_that_is_not_leaves_this_machine(
    fetch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    local, s3 = Local(), MemoryStorage("s3")
    local.put(archive_key(MIDDLE, encrypted=True), local.open(archive_key(MIDDLE)).read())
    local.delete(archive_key(MIDDLE))
    sent = send(local, s3, fetch, encrypted_only=True)
    assert (sent.ids, sent.left, sent.failed, sent.unfit) == ([str(MIDDLE)], [], None, {})
    assert sorted(found.key for found in s3.list()) == sorted(
        [archive_key(MIDDLE, encrypted=True), manifest_key(MIDDLE)]
    )
    assert "not sent to s3, as they are not encrypted and BACKUP_ENCRYPT_TO is set: 2;" in caplog.text
    # Nor do they take the place of one that is sent.
    assert send(Local(), s3, fetch, encrypted_only=True).ids == []
