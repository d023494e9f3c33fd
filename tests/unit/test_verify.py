"""Verifying while others delete: what is gone is no failure, what is only half gone is one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sidecar.catalog import catalog
from sidecar.errors import Exit, StorageAway
from sidecar.names import archive_key, manifest_key
from sidecar.report.progress import progress
from sidecar.state import State
from sidecar.storage.base import ObjectInfo, Storage
from sidecar.storage.local import LocalStorage
from sidecar.verify import Verified, exit_code, remember, verify
from tests.support.memory_storage import MemoryStorage
from tests.support.shelf import backup_id, shelve

MADE = backup_id()


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return LocalStorage(tmp_path) if request.param == "local" else MemoryStorage("s3")


def verified_after(storage: Storage, tmp_path: Path, *deleted: str) -> list[Verified]:
    """What is deleted goes between the listing and the reading, or just before the archive is opened."""
    shelve(storage, MADE)
    listing = catalog([storage], "prod")

    @contextmanager
    def fetch(storage: Storage, key: str) -> Iterator[Path]:
        for each in deleted:
            storage.delete(each)
        if storage.name == "local":
            yield tmp_path / key
            return
        with storage.open(key) as stream:
            (tmp_path / "fetched").write_bytes(stream.read())
        yield tmp_path / "fetched"

    with progress(quiet=True) as shown:
        return verify([storage], listing.backups, fetch, shown)


def test_what_prune_deletes_meanwhile_is_no_failure(
    storage: Storage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    results = verified_after(storage, tmp_path, manifest_key(MADE), archive_key(MADE))
    assert (results, exit_code(results)) == ([], Exit.DONE)
    assert f"{MADE} on {storage.name} is gone meanwhile" in caplog.text


def test_an_archive_that_is_gone_alone_is_a_failure(storage: Storage, tmp_path: Path) -> None:
    [result] = results = verified_after(storage, tmp_path, archive_key(MADE))
    assert result.unread
    assert exit_code(results) is Exit.STORAGE


def test_a_state_folder_that_can_not_be_made_does_not_cost_what_was_verified(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    state = State(tmp_path / "file" / "state", "prod", tmp_path)
    remember(state, [Verified(str(MADE), "s3", archive_key(MADE), 7, "is damaged")])
    assert "is left as it is: BACKUP_STATE_DIR" in caplog.text


def test_what_a_silent_target_may_have_lost_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: Any) -> ObjectInfo:
        raise StorageAway("no answer")

    storage = MemoryStorage("s3")
    monkeypatch.setattr(storage, "stat", silent)
    [result] = verified_after(storage, tmp_path, manifest_key(MADE), archive_key(MADE))
    assert result.unread
