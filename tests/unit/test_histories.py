"""Whatever happens to two targets, in any order: what must never be deleted is there at the end of every step."""

import hashlib
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.errors import StorageAway, StorageFailed
from sidecar.manifest import Archive, BackupId
from sidecar.missed import send_missed
from sidecar.names import archive_key, proof_key
from sidecar.prune import prune
from sidecar.publish import put_backup
from sidecar.report.progress import progress
from sidecar.republish import Republished, republish
from sidecar.retention import Policy
from sidecar.state import State
from sidecar.storage.base import Storage
from tests.support import archives
from tests.support.examples import examples
from tests.support.memory_storage import MemoryStorage
from tests.support.shelf import manifest_of

FOREIGN = {
    "notes.txt": b"x",
    "kimai_other_2.66.0_20200101T000000Z.zip": b"archive",
    "kimai_other_2.66.0_20200101T000000Z.json": b"{}",
    "kimai_prod_2.66.0_20200101T000000Z.zip": b"without a manifest",
}
ARCHIVE = b"archive"
SAFETY = timedelta(days=7)


class Shaky(MemoryStorage):
    """A target that is away for as long as it is told to be."""

    away = False

    def __getattribute__(self, name: str) -> Any:
        if name in {"put", "open", "stat", "list", "delete"} and object.__getattribute__(self, "away"):
            raise StorageAway("no answer")
        return super().__getattribute__(name)

    def keys(self) -> set[str]:
        return set(self._objects)


@dataclass
class World:
    """Two targets, a clock, and what happened."""

    file: Path
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    local: Shaky = field(default_factory=lambda: Shaky("local"))
    s3: Shaky = field(default_factory=lambda: Shaky("s3"))
    policies: dict[str, Policy] = field(default_factory=lambda: {"local": Policy(), "s3": Policy()})

    def __post_init__(self) -> None:
        for target in (self.local, self.s3):
            target._objects |= FOREIGN

    def run(self, *, safety: bool, proven: bool) -> None:
        """A backup as `backup` does it: to each target, then what was missed, then, where all went well, pruning."""
        wanted = BackupId("prod", "2.66.0", self.now.replace(microsecond=0), safety)
        archive = Archive(size=len(ARCHIVE), sha256=hashlib.sha256(ARCHIVE).hexdigest())
        manifest = msgspec.structs.replace(manifest_of(wanted), archive=archive)
        failed = []
        for target in (self.local, self.s3):
            try:
                put_backup(target, archive_key(wanted), wanted, manifest, archive, self.file)
                if proven:
                    target.put(proof_key(wanted), b"{}")
            except StorageFailed as error:
                failed.append(error)
        if not failed:
            again = self.republish()
            if not again.failed:
                self.catch_up()
                self.prune(again.fresh)

    def killed(self, target: Shaky) -> None:
        """A backup that was killed between archive and manifest."""
        wanted = BackupId("prod", "2.66.0", self.now.replace(microsecond=0))
        manifest = msgspec.structs.replace(archives.manifest_of([]), id=str(wanted), instance="prod")
        path = self.file.with_name("killed.zip")
        archives.write_backup(path, [], manifest=manifest)
        if not target.away and {f"{wanted}.zip"}.isdisjoint(target.keys()):
            target.put(archive_key(wanted), path)

    @contextmanager
    def fetch(self, storage: Storage, key: str) -> Iterator[Path]:
        with storage.open(key) as stream:
            path = self.file.with_name(key)
            path.write_bytes(stream.read())
        yield path
        path.unlink()

    def republish(self) -> Republished:
        before = {target.name: target.keys() for target in self.targets}
        state = State(self.file.parent, "prod", self.file.parent)
        with progress(quiet=True) as shown:
            done = republish(self.targets, "prod", self.fetch, state, self.now, shown)
        for target in self.targets:
            new = {f"{backup_id}.json" for name, backup_id in done.fresh if name == target.name}
            assert target.keys() == before[target.name] | new
        return done

    def catch_up(self) -> None:
        with progress(quiet=True) as shown:
            sent = send_missed(
                self.local,
                self.s3,
                "prod",
                self.policies["s3"],
                self.now,
                UTC,
                self.fetch,
                shown,
                lambda: 0,
            )
        assert not sent.unfit

    def prune(self, apart: Set[tuple[str, BackupId]] = frozenset()) -> None:
        before = {target.name: must_stay(target, self.policies[target.name], self.now) for target in self.targets}
        for name, backup_id in apart:
            before[name] |= {f"{backup_id}.zip", f"{backup_id}.json"}
        prune(self.targets, "prod", self.policies.__getitem__, self.now, UTC, dry_run=False, apart=apart)
        for target in self.targets:
            assert before[target.name] <= target.keys()

    @property
    def targets(self) -> list[Shaky]:
        return [self.local, self.s3]


def must_stay(target: Shaky, policy: Policy, now: datetime) -> set[str]:
    """By the promise itself, not by the planner: newest proven, newest MIN_KEEP, young safety backups, and foreign."""
    keys = target.keys()
    ids = {key[:-4]: BackupId.parse(key[:-4]) for key in keys if key.endswith(".zip") and f"{key[:-4]}.json" in keys}
    ours = sorted(
        (found for found in ids.values() if found is not None and found.instance == "prod"),
        key=lambda found: found.created_at,
        reverse=True,
    )
    past = [found for found in ours if found.created_at <= now]
    proven = [found for found in past if f"{found}.proof.json" in keys]
    kept = past[: max(1, policy.min_keep)] + proven[:1] + [found for found in ours if found.created_at > now]
    kept += [found for found in past if found.safety and now - found.created_at <= SAFETY]
    stay = {f"{found}{suffix}" for found in kept for suffix in (".zip", ".json")}
    stay |= {f"{found}.proof.json" for found in proven[:1]}
    stay |= {key for key in keys if key.endswith(".zip") and f"{key[:-4]}.json" not in keys}
    return (stay | set(FOREIGN)) & keys


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "archive"
    path.write_bytes(ARCHIVE)
    return path


policies = st.builds(
    Policy,
    days=st.integers(0, 40),
    min_keep=st.integers(0, 4),
    daily=st.integers(0, 3),
    weekly=st.integers(0, 3),
    monthly=st.integers(0, 2),
    yearly=st.integers(0, 1),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("run"), st.booleans(), st.booleans()),
        st.tuples(st.just("killed"), st.sampled_from(["local", "s3"])),
        st.tuples(st.just("wait"), st.integers(1, 40 * 24)),
        st.tuples(st.just("jump"), st.integers(-400 * 24, 400 * 24)),
        st.tuples(st.just("away"), st.sampled_from(["local", "s3"]), st.booleans()),
        st.tuples(st.just("settings"), st.sampled_from(["local", "s3"]), policies),
        st.tuples(st.just("prune")),
    ),
    max_size=30,
)


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_no_history_deletes_what_must_stay(archive: Path, history: list[Any]) -> None:
    world = World(archive)
    for what, *given_values in history:
        if what == "run":
            world.run(safety=given_values[0], proven=given_values[1])
            world.now += timedelta(seconds=1)
        elif what == "killed":
            world.killed(getattr(world, given_values[0]))
            world.now += timedelta(seconds=1)
        elif what in ("wait", "jump"):
            world.now += timedelta(hours=given_values[0])
        elif what == "away":
            getattr(world, given_values[0]).away = given_values[1]
        elif what == "settings":
            world.policies[given_values[0]] = given_values[1]
        else:
            world.prune()
            world.republish()
    for target in world.targets:
        assert set(FOREIGN) <= target.keys()
