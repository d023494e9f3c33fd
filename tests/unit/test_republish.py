"""Archives that lost their manifest: what is whole gets it back, what is not stays and is named."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import pytest

from sidecar import verify
from sidecar.archive.decrypting import NO_KEYS, Keyring
from sidecar.catalog import catalog, read_manifest
from sidecar.errors import Exit, StorageAway, StorageFailed
from sidecar.manifest import BackupId, encode, withhold
from sidecar.names import archive_key, manifest_key, proof_key
from sidecar.prune import prune
from sidecar.report.progress import progress
from sidecar.republish import Republished, republish
from sidecar.retention import Policy
from sidecar.state import State
from sidecar.storage.base import Source, Storage
from tests.support.archives import SAMPLE, manifest_of, write_backup
from tests.support.keys import age_encrypt, age_key
from tests.support.memory_storage import MemoryStorage
from tests.support.shelf import backup_id, shelve

NOW = datetime(2026, 11, 24, 1, 10, tzinfo=UTC)
MADE = backup_id("20261122")


class Shelf(MemoryStorage):
    """A target that tells what was stored, is away where it is told to be, and fails as it is told to."""

    def __init__(self, name: str = "s3", fault: StorageFailed | None = None) -> None:
        super().__init__(name)
        self.stored: list[str] = []
        self.fault = fault

    def put(self, key: str, source: Source, sha256: str | None = None) -> None:
        self.stored.append(key)
        super().put(key, source)

    def open(self, key: str) -> BinaryIO:
        if self.fault:
            raise self.fault
        return super().open(key)


class World:
    """A target with archives that have no manifest, and a state folder."""

    def __init__(self, folder: Path, name: str = "s3") -> None:
        self.folder = folder
        self.storage = Shelf(name)
        self.state = State(folder / "state", "prod", folder)
        self.keys_given = NO_KEYS

    def archive(self, wanted: BackupId = MADE, *, inner: BackupId | None = None) -> bytes:
        """The bytes of a whole archive; `inner` is whose manifest lies in it."""
        names = inner or wanted
        files = [file for file, _ in SAMPLE]
        manifest = msgspec.structs.replace(manifest_of(files), id=str(names), instance=names.instance)
        path = self.folder / "made.zip"
        write_backup(path, manifest=manifest)
        return path.read_bytes()

    def orphan(self, wanted: BackupId = MADE, data: bytes | None = None) -> bytes:
        data = self.archive(wanted) if data is None else data
        self.storage.put(archive_key(wanted), data)
        self.storage.stored.clear()
        return data

    @contextmanager
    def fetch(self, storage: Storage, key: str) -> Iterator[Path]:
        with storage.open(key) as stream:
            path = self.folder / key
            path.write_bytes(stream.read())
            yield path

    def run(self, *, now: datetime = NOW, dry_run: bool = False) -> Republished:
        with progress(quiet=True) as shown:
            return republish(
                [self.storage], "prod", self.fetch, self.state, now, shown, self.keys_given, dry_run=dry_run
            )

    def keys(self) -> dict[str, bytes]:
        return dict(self.storage._objects)


@pytest.fixture(params=["local", "s3"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return World(tmp_path, request.param)


@pytest.fixture
def remote(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_whole_one_is_a_backup_again(world: World) -> None:
    data = world.orphan()
    done = world.run()
    assert [str(fate) for fate in done.fates] == [
        f"{MADE}.zip on {world.storage.name} had no manifest: checked, and published again"
    ]
    assert done.fresh == {(world.storage.name, MADE)}
    assert world.storage.stored == [manifest_key(MADE)]
    assert world.keys()[archive_key(MADE)] == data
    listing = catalog([world.storage], "prod")
    assert ([backup.id for backup in listing.backups], listing.orphans) == ([MADE], ())
    manifest = read_manifest(world.storage, MADE)
    assert manifest.archive is not None
    assert manifest.archive.size == len(data)
    with progress(quiet=True) as shown:
        [result] = verify.verify([world.storage], listing.backups, world.fetch, shown)
    assert result.whole
    assert world.run().fates == []


def cut(data: bytes) -> bytes:
    return data[:-100]


def flipped(data: bytes) -> bytes:
    """One bit within a file's bytes: only who reads every byte can know."""
    at = data.index(bytes(range(100, 200)))
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("spoil", [cut, flipped, lambda data: b"", lambda data: b"not ours"])
def test_a_damaged_one_is_named_and_stays(world: World, spoil: Any) -> None:
    world.orphan(data=spoil(world.archive()))
    before = world.keys()
    [fate] = world.run().fates
    assert "has no manifest and is left alone: " in fate.said
    assert fate.published is None
    assert world.keys() == before


@pytest.mark.parametrize(
    "inner", [backup_id("20261121"), backup_id(instance="other"), backup_id(version="2.65.0"), backup_id(safety=True)]
)
def test_one_with_the_manifest_of_another_is_left_alone(world: World, inner: BackupId) -> None:
    world.orphan(data=world.archive(inner=inner))
    before = world.keys()
    [fate] = world.run().fates
    assert f"left alone: the manifest inside is that of {inner}" in fate.said
    assert world.keys() == before


def test_a_zip_of_somebody_else_and_of_another_instance_are_not_even_looked_at(world: World) -> None:
    other = backup_id(instance="staging")
    for key in ("holiday.zip", "kimai-2025.zip", archive_key(other)):
        world.storage.put(key, b"x")
    before = world.keys()
    assert world.run().fates == []
    assert (world.keys(), world.storage.opened) == (before, [])


def test_an_encrypted_one_is_left_alone(world: World) -> None:
    world.storage.put(archive_key(MADE, encrypted=True), b"age")
    [fate] = world.run().fates
    assert "it is encrypted" in fate.said
    assert world.storage.opened == []


def test_with_the_key_an_encrypted_one_gets_back_what_may_lie_beside_it(world: World) -> None:
    ours, other = age_key(world.folder), age_key(world.folder, "other.txt")
    path = world.folder / "made.zip.age"
    manifest = msgspec.structs.replace(manifest_of([file for file, _ in SAMPLE]), id=str(MADE), instance=MADE.instance)
    whole = write_backup(path, manifest=manifest, recipients=[ours.recipient])
    world.storage.put(archive_key(MADE, encrypted=True), path.read_bytes())
    world.keys_given = Keyring(other.identity, lambda: world.folder, "f-")
    [fate] = world.run().fates
    assert "left alone: no key in BACKUP_IDENTITY opens" in fate.said
    assert world.keys().get(manifest_key(MADE)) is None
    world.keys_given = Keyring(ours.identity, lambda: world.folder, "f-")
    [fate] = world.run().fates
    assert "checked, and published again" in fate.said
    text = world.keys()[manifest_key(MADE)]
    assert text == encode(msgspec.structs.replace(withhold(whole), archive=whole.archive))
    assert [file.path for file, _ in SAMPLE if file.path.encode() in text] == []


def test_one_that_no_key_opens_is_named_each_time_and_fetched_once_for_each_set_of_keys(world: World) -> None:
    ours, other = age_key(world.folder), age_key(world.folder, "other.txt")
    mine, theirs = (Keyring(each.identity, lambda: world.folder, "f-") for each in (ours, other))
    stored = archive_key(MADE, encrypted=True)
    world.storage.put(stored, age_encrypt(b"content", ours.recipient))
    told = []
    for keys in (theirs, theirs, NO_KEYS, theirs):
        world.keys_given = keys
        told += [fate.said for fate in world.run().fates]
    assert ["no key in BACKUP_IDENTITY opens" in said for said in told] == [True, True, False, True]
    assert world.storage.opened == [stored]
    assert other.identity.splitlines()[-1] not in world.state.unopened.read_text()
    # Of another size it is another one, and other keys may open it.
    world.storage.put(stored, age_encrypt(b"other content", ours.recipient))
    world.keys_given = theirs
    world.run()
    assert world.storage.opened == [stored] * 2
    world.keys_given = mine
    [fate] = world.run().fates
    assert "no key" not in fate.said
    assert world.storage.opened == [stored] * 3
    assert not world.state.unopened.exists()


def test_a_memory_of_what_no_key_opens_that_can_not_be_read_costs_one_more_look(world: World) -> None:
    ours, other = age_key(world.folder), age_key(world.folder, "other.txt")
    world.storage.put(archive_key(MADE, encrypted=True), age_encrypt(b"content", ours.recipient))
    world.keys_given = Keyring(other.identity, lambda: world.folder, "f-")
    world.run()
    world.state.unopened.write_bytes(b"[")
    [fate] = world.run().fates
    assert "no key in BACKUP_IDENTITY opens" in fate.said
    assert len(world.storage.opened) == 2
    world.run()
    assert len(world.storage.opened) == 2


def test_a_manifest_that_is_there_is_never_overwritten(world: World) -> None:
    shelve(world.storage, MADE, encrypted=True)
    world.orphan()
    shelve(world.storage, MADE)
    before = world.keys()
    [fate] = world.run().fates
    assert f"{MADE}.zip.age" in str(fate)
    assert world.keys() == before


def test_a_manifest_that_comes_meanwhile_is_not_overwritten(world: World) -> None:
    world.orphan()
    fetch = world.fetch

    @contextmanager
    def meanwhile(storage: Storage, key: str) -> Iterator[Path]:
        with fetch(storage, key) as path:
            yield path
        storage.put(manifest_key(MADE), b"another's")

    world.fetch = meanwhile  # type: ignore[method-assign]
    [fate] = world.run().fates
    assert "its manifest has come meanwhile" in fate.said
    assert world.keys()[manifest_key(MADE)] == b"another's"


def test_one_that_is_deleted_meanwhile_gets_no_manifest(world: World) -> None:
    world.orphan()
    fetch = world.fetch

    @contextmanager
    def meanwhile(storage: Storage, key: str) -> Iterator[Path]:
        with fetch(storage, key) as path:
            yield path
        storage.delete(key)

    world.fetch = meanwhile  # type: ignore[method-assign]
    world.run()
    assert world.keys() == {}


def test_elsewhere_one_that_is_not_a_day_old_may_be_another_machines(tmp_path: Path) -> None:
    for name, published in (("s3", False), ("local", True)):
        (tmp_path / name).mkdir()
        world = World(tmp_path / name, name)
        world.orphan()
        [fate] = world.run(now=MADE.created_at + timedelta(hours=23)).fates
        assert (fate.published is not None) == published
        assert bool(world.storage.opened) == published
        assert published or "not a day old" in fate.said
        # By a clock that went wrong it may even be of the future.
        world.orphan(backup_id("20991231"))
        assert (len(world.run().fresh) == 1) == published or name == "s3"


def test_a_dry_run_says_so_and_changes_nothing(world: World) -> None:
    world.orphan()
    before = world.keys()
    [fate] = world.run(dry_run=True).fates
    assert fate.said == "has no manifest: would be checked and published again"
    assert (world.keys(), world.storage.opened, world.state._folder.exists()) == (before, [], False)


# ── What is damaged is not fetched each night ────────────────────────────────────────────────────────────────


def test_a_damaged_one_is_named_each_time_and_read_once(remote: World) -> None:
    whole = remote.archive()
    remote.orphan(data=cut(whole))
    first = [str(fate) for fate in remote.run().fates]
    assert remote.storage.opened == [archive_key(MADE)]
    for dry_run in (False, True, False):
        assert [str(fate) for fate in remote.run(dry_run=dry_run).fates] == first
    assert remote.storage.opened == [archive_key(MADE)]
    # Another size is another archive.
    remote.orphan(data=whole)
    assert remote.run().fresh
    assert remote.state.damaged.known() == []


def test_after_a_verify_it_is_read_once_more(remote: World) -> None:
    whole = remote.archive()
    remote.orphan(data=flipped(whole))
    remote.run()
    remote.orphan(data=whole)  # of the same size
    assert not remote.run().fresh
    with progress(quiet=True) as shown:
        orphans = verify.strays([remote.storage], catalog([remote.storage], "prod"), remote.fetch, shown)
    verify.remember(remote.state, [], orphans)
    assert remote.run().fresh


def test_a_newer_version_reads_it_once_more(remote: World) -> None:
    remote.orphan(data=cut(remote.archive()))
    remote.run()
    path = remote.state.folder / "prod.damaged.json"
    [note] = json.loads(path.read_bytes())
    assert (note["target"], note["key"], note["size"]) == ("s3", archive_key(MADE), len(cut(remote.archive())))
    path.write_text(json.dumps([note | {"tool_version": "0.0.1"}]))
    remote.run()
    assert len(remote.storage.opened) == 2
    assert len(json.loads(path.read_bytes())) == 1


@pytest.mark.parametrize("text", [b"", b"{}", b"[1]", b"\xff"])
def test_a_memory_that_can_not_be_read_costs_one_more_look(remote: World, text: bytes) -> None:
    remote.orphan(data=b"cut")
    (remote.state.folder / "prod.damaged.json").write_bytes(text)
    for _ in range(2):
        assert len(remote.run().fates) == 1
    assert len(remote.storage.opened) == 1


def test_a_memory_that_can_not_be_read_and_is_not_needed_goes(remote: World, caplog: pytest.LogCaptureFixture) -> None:
    (remote.state.folder / "prod.damaged.json").write_bytes(b"[")
    remote.run(dry_run=True)
    remote.run()
    assert caplog.text.count("can't be read, so damaged archives are looked at once more") == 2
    remote.run()
    assert caplog.text.count("can't be read") == 2


def test_what_is_gone_is_forgotten(remote: World) -> None:
    remote.orphan(data=b"cut")
    remote.run()
    assert len(remote.state.damaged.known()) == 1
    remote.storage.delete(archive_key(MADE))
    remote.run()
    assert remote.state.damaged.known() == []


# ── Targets that fail ────────────────────────────────────────────────────────────────────────────────────────


def test_a_target_that_falls_silent_is_a_failure_and_nothing_is_forgotten(remote: World) -> None:
    remote.orphan(data=b"cut")
    remote.run()
    remote.orphan(backup_id("20261101"))
    remote.storage.fault = StorageAway("no answer")
    done = remote.run()
    assert [error.what for error in done.failed.values()] == ["no answer"]
    assert done.fresh == set()
    assert len(remote.state.damaged.known()) == 1


def test_what_can_not_be_read_for_lack_of_room_is_named_and_asked_for_again(remote: World) -> None:
    remote.orphan()
    remote.storage.fault = StorageFailed("there is room for 5", mend="Make room.")
    done = remote.run()
    assert done.failed == {}
    assert "left alone: it can't be read: there is room for 5. Make room." in done.fates[0].said
    remote.storage.fault = None
    assert remote.run().fresh


def test_a_target_that_does_not_take_the_manifest_is_a_failure(remote: World, monkeypatch: pytest.MonkeyPatch) -> None:
    data = remote.orphan()

    def full(*_: Any) -> None:
        raise StorageFailed("full")

    monkeypatch.setattr(remote.storage, "put", full)
    assert [error.what for error in remote.run().failed.values()] == ["full"]
    assert remote.keys() == {archive_key(MADE): data}


# ── Retention ────────────────────────────────────────────────────────────────────────────────────────────────


def test_retention_neither_counts_nor_deletes_it_in_the_same_run(world: World) -> None:
    old, older = backup_id("20260102"), backup_id("20260101")
    shelve(world.storage, MADE)
    shelve(world.storage, older)
    world.orphan(old)

    def pruned(apart: Any = frozenset()) -> Any:
        [result] = prune([world.storage], "prod", lambda _: Policy(60, 2), NOW, UTC, dry_run=False, apart=apart)
        return result.deleted

    assert pruned(world.run().fresh) == ()
    assert pruned() == (older,)
    assert manifest_key(old) in set(world.keys())


def test_what_a_killed_prune_left_is_given_up_by_the_next_one(world: World) -> None:
    old = backup_id("20260101")
    shelve(world.storage, MADE)
    world.orphan(old)
    world.storage.put(proof_key(backup_id("20251231")), b"{}")
    world.run()
    prune([world.storage], "prod", lambda _: Policy(60, 1), NOW, UTC, dry_run=False)
    assert set(world.keys()) == {archive_key(MADE), manifest_key(MADE), proof_key(backup_id("20251231"))}


# ── verify ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("spoil", "says"),
    [(lambda data: data, "has no manifest beside it, yet is whole by the one inside"), (cut, "is damaged: ")],
)
def test_verify_reads_it_and_puts_nothing_beside_it(world: World, spoil: Any, says: str) -> None:
    world.orphan(data=spoil(world.archive()))
    before = world.keys()
    with progress(quiet=True) as shown:
        [result] = verify.strays([world.storage], catalog([world.storage], "prod"), world.fetch, shown)
    assert result.problem is not None
    assert says in result.problem
    assert (result.whole, result.size) == (False, len(before[archive_key(MADE)]))
    assert verify.exit_code([result]) is Exit.DAMAGED
    assert world.keys() == before
