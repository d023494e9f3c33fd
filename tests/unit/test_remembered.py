"""What an encrypted backup held is remembered for the next one, whenever a run is killed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from sidecar import making
from sidecar.before import forget, look_back, remember
from sidecar.errors import StorageFailed
from sidecar.growing import Grown
from sidecar.manifest import BackupId, Manifest, encode, withhold
from sidecar.names import archive_key, manifest_key
from sidecar.report.progress import progress
from sidecar.state import State
from tests.support.archives import file_of
from tests.support.memory_storage import MemoryStorage
from tests.support.shelf import backup_id, manifest_of

OLD, NEW = backup_id("20261121"), backup_id("20261122")


def held(wanted: BackupId, name: str) -> Manifest:
    return msgspec.structs.replace(manifest_of(wanted), files=[file_of(name.encode(), b"x")])


def shelve(storage: MemoryStorage, manifest: Manifest, wanted: BackupId) -> None:
    storage.put(archive_key(wanted, encrypted=True), b"archive")
    storage.put(manifest_key(wanted), encode(withhold(manifest)))


def recalled(storage: MemoryStorage, memory: Path) -> list[str] | None:
    found = look_back([storage], "prod", memory).manifest
    return [file.path for file in found.files] if found else None


def test_a_run_that_is_killed_before_it_published_costs_nothing_of_the_one_before(tmp_path: Path) -> None:
    storage, memory = MemoryStorage("s3"), tmp_path / "memory"
    shelve(storage, held(OLD, "old"), OLD)
    remember(memory, held(OLD, "old"))
    remember(memory, held(NEW, "new"))
    assert recalled(storage, memory) == ["old"]
    shelve(storage, held(NEW, "new"), NEW)
    assert recalled(storage, memory) == ["new"]
    forget(memory, all_but=str(NEW))
    assert [path.name for path in memory.iterdir()] == [f"{NEW}.json"]
    forget(memory, all_but=None)
    assert recalled(storage, memory) is None


@pytest.mark.parametrize("recipients", [("age1",), ()])
def test_it_is_remembered_before_it_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipients: tuple[str, ...]
) -> None:
    state = State(tmp_path, "prod", tmp_path)
    remember(state.manifests, held(OLD, "old"))
    seen: list[set[str]] = []

    def published(*_: Any) -> Any:
        seen.append({path.stem for path in state.manifests.iterdir()})
        if len(seen) == 1:
            raise StorageFailed("no answer")
        return SimpleNamespace(targets=["s3"], failed={})

    monkeypatch.setattr(making, "publish", published)
    archive = Grown(tmp_path / "archive", held(NEW, "new"), [MemoryStorage("s3")])
    with progress(quiet=True) as shown:
        job: Any = SimpleNamespace(recipients=recipients, state=state, progress=shown)
        with pytest.raises(StorageFailed):
            making._publish(job, archive, NEW)
        assert {path.stem for path in state.manifests.iterdir()} == seen[0]
        making._publish(job, archive, NEW)
    assert seen[1] == ({str(OLD), str(NEW)} if recipients else {str(OLD)})
    assert {path.stem for path in state.manifests.iterdir()} == ({str(NEW)} if recipients else set())
