"""Pruning a target: only what is ours goes, manifest first, and nothing a person can't read a reason for."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.catalog import catalog
from sidecar.errors import StorageFailed
from sidecar.manifest import BackupId, encode
from sidecar.names import archive_key, failed_key, manifest_key, proof_key
from sidecar.prune import Pruned, prune
from sidecar.retention import Policy
from sidecar.storage.base import Storage
from sidecar.storage.local import LocalStorage
from tests.support.memory_storage import MemoryStorage
from tests.support.shelf import backup_id, manifest_of, shelve

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
OLD = [f"202601{day:02}" for day in range(31, 0, -1)]


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage("local")


def run(*storages: Storage, dry_run: bool = False, policy: Policy = Policy(60, 1)) -> list[Pruned]:  # noqa: B008
    return prune(storages, "prod", lambda _: policy, NOW, UTC, dry_run=dry_run)


def keys(storage: Storage) -> set[str]:
    return {key for key, *_ in storage.list()}


def test_what_is_too_old_goes_with_all_its_parts_and_the_rest_stays(storage: MemoryStorage) -> None:
    young = shelve(storage, backup_id("20261122"), proof=b"{}")
    staying = keys(storage)
    old = [
        shelve(storage, backup_id("20260103"), proof=b"{}"),
        shelve(storage, backup_id("20260102"), failed=True, encrypted=True),
        shelve(storage, backup_id("20260101", safety=True)),
    ]
    [result] = run(storage)
    assert keys(storage) == staying
    assert result.deleted == tuple(old)
    assert [decision.id for decision in result.decisions] == [young, *old]
    assert [decision.keep for decision in result.decisions] == [True, False, False, False]
    assert all(decision.reasons for decision in result.decisions)
    assert result.failure is None


def test_the_manifest_goes_first_then_the_archive_then_the_rest(storage: MemoryStorage) -> None:
    shelve(storage, backup_id("20261122"))
    old = shelve(storage, backup_id("20260101"), proof=b"{}", failed=True)
    run(storage)
    assert storage.deletions == [manifest_key(old), archive_key(old), proof_key(old), failed_key(old)]


def test_a_dry_run_decides_the_same_and_deletes_nothing(storage: MemoryStorage) -> None:
    for day in ("20261122", *OLD[:5]):
        shelve(storage, backup_id(day))
    storage.put(manifest_key(backup_id(OLD[0])), b"not ours")
    before = keys(storage)
    [dry] = run(storage, dry_run=True)
    assert keys(storage) == before
    assert dry.deleted == ()
    [real] = run(storage)
    assert real.decisions == dry.decisions
    assert len(real.deleted) == 4


def test_every_deletion_and_what_is_left_alone_is_logged(
    storage: MemoryStorage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    shelve(storage, backup_id("20261122"))
    old = shelve(storage, backup_id("20260101"))
    storage.put(manifest_key(backup_id("20250101")), b"x")
    run(storage)
    assert f"deleted {old} from local: older than 60 days (325)" in caplog.text
    assert f"{manifest_key(backup_id('20250101'))} on local is no whole backup: left alone" in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"\xff\xfe",
        b'{"format": 99}',
        encode(manifest_of(backup_id("20260102"))),
        encode(manifest_of(backup_id("20260101", instance="staging"))),
        encode(manifest_of(backup_id("20260101"))).replace(b'"prod"', b'"staging"'),
    ],
    ids=["empty", "no-manifest", "not-utf8", "newer-format", "another-backup", "another-instance", "two-minds"],
)
def test_what_bears_our_name_but_not_our_manifest_stays(storage: MemoryStorage, text: bytes) -> None:
    shelve(storage, backup_id("20261122"))
    foreign = shelve(storage, backup_id("20260101"))
    storage.put(manifest_key(foreign), text)
    before = keys(storage)
    [result] = run(storage)
    assert keys(storage) == before
    assert result.decisions[-1].keep
    assert "isn't ours" in result.decisions[-1].reasons[0]


def test_only_the_manifests_that_decide_are_read(storage: MemoryStorage) -> None:
    """Of what stands for the newest, and of what is given up: never one for each backup."""
    newest = [shelve(storage, backup_id(f"202611{day}"), proof=b"{}") for day in (22, 21, 20)]
    old = shelve(storage, backup_id("20260101"), proof=b"{}")
    run(storage, policy=Policy(60, 2))
    assert storage.opened == [manifest_key(newest[0]), manifest_key(newest[1]), manifest_key(old)]


def damage(storage: Storage, wanted: BackupId) -> BackupId:
    """Cut its archive short, as a full disk or a share that went away does."""
    storage.put(archive_key(wanted), b"arch")
    return wanted


@pytest.mark.parametrize("dry_run", [True, False])
def test_an_archive_of_another_size_takes_no_place_among_the_newest(storage: MemoryStorage, dry_run: bool) -> None:
    cut = damage(storage, shelve(storage, backup_id(OLD[0]), proof=b"{}"))
    sound = [shelve(storage, backup_id(day)) for day in OLD[1:3]]
    gone = shelve(storage, backup_id(OLD[3]))
    [result] = run(storage, policy=Policy(60, 2), dry_run=dry_run)
    decisions = {decision.id: decision for decision in result.decisions}
    assert [each for each in decisions if decisions[each].keep] == [cut, *sound]
    assert result.deleted == (() if dry_run else (gone,))
    assert f"{archive_key(cut)} has 4 bytes, its manifest says 7" in decisions[cut].reasons[0]
    assert "the newest proven" not in decisions[cut].reasons
    assert all("among the newest 2" in decisions[each].reasons for each in sound)


@pytest.mark.parametrize("text", [b"", b'{"format": 99}'])
def test_without_a_manifest_that_can_be_read_one_takes_no_place_either(storage: MemoryStorage, text: bytes) -> None:
    unknown = shelve(storage, backup_id(OLD[0]))
    storage.put(manifest_key(unknown), text)
    sound = shelve(storage, backup_id(OLD[1]))
    [result] = run(storage)
    assert [decision.id for decision in result.decisions if decision.keep] == [unknown, sound]
    assert "its manifest isn't ours" in result.decisions[0].reasons[0]


def test_a_cut_archive_that_is_too_old_is_kept_as_evidence(storage: MemoryStorage) -> None:
    shelve(storage, backup_id("20261122"))
    cut = damage(storage, shelve(storage, backup_id("20260101")))
    [result] = run(storage)
    assert result.deleted == ()
    assert archive_key(cut) in keys(storage)
    assert f"{archive_key(cut)} has 4 bytes" in result.decisions[-1].reasons[0]


def test_a_backup_that_is_yet_to_come_takes_its_place_and_nothing_goes(storage: MemoryStorage) -> None:
    there = [shelve(storage, backup_id(day)) for day in OLD[:3]]
    before = keys(storage)
    coming = backup_id("20261122")
    [result] = prune([storage], "prod", lambda _: Policy(60, 2), NOW, UTC, dry_run=False, coming=coming)
    assert [(each.id, each.keep) for each in result.decisions] == [
        (there[0], True),
        (there[1], False),
        (there[2], False),
    ]
    assert (keys(storage), result.deleted) == (before, ())
    [without] = run(storage, policy=Policy(60, 2), dry_run=True)
    assert [each.keep for each in without.decisions] == [True, True, False]


def test_where_damage_has_no_end_nothing_is_given_up_and_reading_ends(storage: MemoryStorage) -> None:
    """A share that shows every file empty, or a version of this tool that is too old, must cost no backup."""
    start = datetime(2020, 1, 1, 1, 10, tzinfo=UTC)
    every = [shelve(storage, backup_id()._replace(created_at=start + timedelta(days=day))) for day in range(200)]
    for each in every[40:]:
        damage(storage, each)
    [result] = run(storage, policy=Policy(60, 3))
    assert len(catalog([storage], "prod").backups) == 200
    assert all(decision.keep for decision in result.decisions)
    assert "20 or more of the newest are damaged" in result.decisions[-1].reasons[0]
    assert len(storage.opened) < 50


def test_strays_foreign_names_and_other_instances_are_never_touched(storage: MemoryStorage) -> None:
    shelve(storage, backup_id("20261122"))
    shelve(storage, backup_id("20250101", instance="staging"))
    shelve(storage, backup_id("20250101", instance="prod_2"))
    orphan, broken = archive_key(backup_id("20250102")), manifest_key(backup_id("20250103"))
    for key in (orphan, broken, "kimai-2025.zip", "holiday.zip", "kimai_prod_20250101T000000Z.zip"):
        storage.put(key, b"x")
    before = keys(storage)
    [result] = run(storage)
    assert keys(storage) == before
    assert [stray.key for stray in result.strays] == [orphan, broken]


def test_a_failed_drill_does_not_count_as_one_to_keep(storage: MemoryStorage) -> None:
    sound = shelve(storage, backup_id(OLD[3]))
    for day in OLD[:3]:
        shelve(storage, backup_id(day), failed=True)
    [result] = run(storage)
    assert [decision.id for decision in result.decisions if decision.keep] == [sound]


def test_each_target_is_pruned_by_what_it_holds_itself(storage: MemoryStorage) -> None:
    other = MemoryStorage("s3")
    shelve(storage, backup_id("20261122"))
    shelve(storage, backup_id("20260101"))
    only_there = shelve(other, backup_id("20260101"))
    here, there = run(storage, other)
    assert (here.target, here.deleted) == ("local", (backup_id("20260101"),))
    assert (there.target, there.deleted) == ("s3", ())
    assert [backup.id for backup in catalog([other], "prod").backups] == [only_there]


def test_a_target_that_is_gone_does_not_keep_the_others_from_it(storage: MemoryStorage, tmp_path: Path) -> None:
    shelve(storage, backup_id("20261122"))
    old = shelve(storage, backup_id("20260101"))
    gone, here = run(LocalStorage(tmp_path / "not-mounted"), storage)
    assert gone.failure is not None
    assert gone.decisions == ()
    assert (here.failure, here.deleted) == (None, (old,))


class Stubborn(MemoryStorage):
    """Refuses after so many deletions."""

    def __init__(self, deletions: int) -> None:
        super().__init__()
        self.left = deletions

    def delete(self, key: str) -> None:
        if self.left == 0:
            raise StorageFailed("no rights to delete")
        self.left -= 1
        super().delete(key)


def test_a_deletion_that_is_refused_ends_the_work_there_and_is_told() -> None:
    storage = Stubborn(deletions=4)
    for day in ("20261122", *OLD[:3]):
        shelve(storage, backup_id(day))
    [result] = run(storage)
    assert result.deleted == (backup_id(OLD[0]),)
    assert result.failure is not None
    assert "no rights" in str(result.failure)
    assert len(catalog([storage], "prod").backups) == 3


@pytest.mark.parametrize("deletions", [0, 1, 2, 3])
def test_stopped_at_any_step_what_is_left_is_no_backup_and_is_named(deletions: int) -> None:
    storage = Stubborn(deletions)
    shelve(storage, backup_id("20261122"))
    old = shelve(storage, backup_id("20260101"), proof=b"{}", failed=True)
    run(storage)
    listing = catalog([storage], "prod")
    assert (old in [backup.id for backup in listing.backups]) == (deletions == 0)
    assert len(listing.orphans) == (deletions == 1)
    storage.left = 100
    [again] = run(storage)
    assert again.failure is None
    named = {
        0: set(),
        1: {archive_key(old)},
        2: {proof_key(old), failed_key(old)},
        3: {failed_key(old)},
    }
    assert {stray.key for stray in again.strays} == named[deletions]


def test_a_folder_is_pruned_as_well(tmp_path: Path) -> None:
    local = LocalStorage(tmp_path)
    young = shelve(local, backup_id("20261122"))
    shelve(local, backup_id("20260101"), failed=True)
    (tmp_path / "notes.txt").write_text("mine")
    run(local)
    assert keys(local) == {"notes.txt", archive_key(young), manifest_key(young)}


@given(
    st.lists(st.tuples(st.sampled_from(OLD), st.booleans(), st.booleans(), st.booleans()), max_size=8),
    st.builds(Policy, st.integers(0, 400), st.integers(0, 3), st.integers(0, 2)),
    st.datetimes(timezones=st.just(UTC)),
)
def test_no_policy_and_no_clock_empties_a_target(
    backups: list[tuple[str, bool, bool, bool]], policy: Policy, now: datetime
) -> None:
    storage = MemoryStorage()
    sound: list[BackupId] = []
    for day, proven, failed, safety in backups:
        wanted = backup_id(day, safety=safety)
        if wanted not in [backup.id for backup in catalog([storage], "prod").backups]:
            shelve(storage, wanted, proof=b"{}" if proven else None, failed=failed)
            sound += [] if failed else [wanted]
    prune([storage], "prod", lambda _: policy, now, UTC, dry_run=False)
    left = {backup.id for backup in catalog([storage], "prod").backups}
    assert bool(left) == bool(backups)
    assert left.issuperset(sorted(sound, key=lambda one: (one.created_at, one), reverse=True)[: policy.min_keep])
