"""What names on the targets tell, and which backup a reference means."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.catalog import Stray, catalog, describe, proven_at, read_manifest
from sidecar.errors import Damaged, Exit, NoSuchBackup, ObjectNotFound, StorageFailed, UsageError
from sidecar.manifest import BackupId, encode, withhold
from sidecar.names import archive_key, belongs_to, failed_key, manifest_key, proof_key
from sidecar.references import find
from sidecar.storage.local import LocalStorage
from tests.support.memory_storage import MemoryStorage
from tests.support.shelf import backup_id, manifest_of, shelve

PROOF = b'{"finished_at": "2026-11-23T04:05:06Z", "compared": {"tables": 37}}'


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage("local")


def ids(*storages: MemoryStorage, instance: str = "prod") -> list[BackupId]:
    return [backup.id for backup in catalog(storages, instance).backups]


# Listing.


def test_backups_come_newest_first(storage: MemoryStorage) -> None:
    days = ["20261120", "20261122", "20251231", "20261121"]
    for day in days:
        shelve(storage, backup_id(day, version="9.0.0" if day == "20251231" else "2.66.0"))
    assert ids(storage) == [
        backup_id(day, version="9.0.0" if day == "20251231" else "2.66.0") for day in sorted(days, reverse=True)
    ]


def test_names_alone_tell_and_nothing_is_opened(storage: MemoryStorage) -> None:
    shelve(storage, backup_id("20261122"), proof=PROOF, encrypted=True, archive=b"12345")
    shelve(storage, backup_id("20261121"), failed=True)
    newest, older = catalog([storage], "prod").backups
    assert (newest.encrypted, newest.proven, newest.damaged, newest.size) == (True, True, False, 5)
    assert (older.encrypted, older.proven, older.damaged, older.size) == (False, False, True, 7)
    assert newest.copies[0].archive_key == archive_key(newest.id, encrypted=True)
    assert storage.opened == []


def test_a_failed_drill_wins_over_a_proof_that_was_not_yet_removed(storage: MemoryStorage) -> None:
    shelve(storage, backup_id(), proof=PROOF, failed=True)
    [backup] = catalog([storage], "prod").backups
    assert backup.damaged
    assert not backup.proven


def test_targets_are_merged(storage: MemoryStorage) -> None:
    other = MemoryStorage("s3")
    both = shelve(storage, backup_id("20261122"))
    shelve(other, both, proof=PROOF)
    only_there = shelve(other, backup_id("20261121"))
    newest, older = catalog([storage, other], "prod").backups
    assert (newest.id, newest.targets, newest.proven) == (both, ("local", "s3"), True)
    assert [copy.proven for copy in newest.copies] == [False, True]
    assert (older.id, older.targets) == (only_there, ("s3",))


def test_without_its_manifest_an_archive_is_an_orphan_and_no_backup(storage: MemoryStorage) -> None:
    storage.put(archive_key(backup_id()), b"x")
    storage.put(proof_key(backup_id()), PROOF)
    listing = catalog([storage], "prod")
    assert listing.backups == ()
    assert listing.orphans == (Stray("local", archive_key(backup_id()), 1),)
    assert listing.instances == ("prod",)


def test_without_its_archive_a_manifest_is_broken_and_no_backup(storage: MemoryStorage) -> None:
    shelve(storage, backup_id(), failed=True)
    storage.delete(archive_key(backup_id()))
    listing = catalog([storage], "prod")
    assert listing.backups == ()
    assert {stray.key for stray in listing.broken} == {manifest_key(backup_id()), failed_key(backup_id())}
    assert listing.instances == ()


def test_a_second_archive_of_one_backup_is_an_orphan(storage: MemoryStorage) -> None:
    shelve(storage, backup_id())
    storage.put(archive_key(backup_id(), encrypted=True), b"x")
    listing = catalog([storage], "prod")
    assert not listing.backups[0].encrypted
    assert [stray.key for stray in listing.orphans] == [archive_key(backup_id(), encrypted=True)]


def test_other_instances_are_seen_but_not_listed(storage: MemoryStorage) -> None:
    mine = shelve(storage, backup_id())
    shelve(storage, backup_id(instance="prod_2"))
    shelve(storage, backup_id(instance="a-b_c"))
    storage.put(archive_key(backup_id(instance="orphaned")), b"x")
    listing = catalog([storage], "prod")
    assert [backup.id for backup in listing.backups] == [mine]
    assert listing.orphans == ()
    assert listing.instances == ("a-b_c", "orphaned", "prod", "prod_2")


@pytest.mark.parametrize(
    "stem",
    [
        "holiday",
        "kimai_prod_2.66.0_20261122T011000",
        "kimai_prod_2.66.0_20261322T011000Z",
        "kimai_prod_2.66.0_20261122T011060Z",
        "kimai_prod_20261122T011000Z",
        "kimai_Prod_2.66.0_20261122T011000Z",
        "kimai_prod_2.66.0_20261122T011000Z_safety_safety",
        "kimai_prod_2.66.0_20261122T011000Z ",
        "kimai_prod_2.66.0_00010101T000000Z",
        "akimai_prod_2.66.0_20261122T011000Z",
        "",
    ],
)
def test_names_that_are_not_ours_are_not_seen(storage: MemoryStorage, stem: str) -> None:
    for suffix in (".zip", ".json", ".proof.json"):
        storage.put(f"x{stem}{suffix}" if not stem else stem + suffix, b"x")
    storage.put(f"{backup_id()}.zip.part", b"x")
    storage.put(f"{backup_id()}", b"x")
    listing = catalog([storage], "prod")
    assert (listing.backups, listing.orphans, listing.broken, listing.instances) == ((), (), (), ())


@given(
    st.builds(
        BackupId,
        st.from_regex(r"[a-z0-9_-]{1,12}", fullmatch=True),
        st.from_regex(r"[0-9]{1,2}\.[0-9]{1,3}(\.[0-9]{1,3})?(-[a-z0-9.]{1,8})?", fullmatch=True),
        st.datetimes(datetime(1970, 1, 1), datetime(2999, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001
            lambda moment: moment.replace(microsecond=0)
        ),
        st.booleans(),
    ),
    st.booleans(),
)
def test_every_id_is_found_again_by_its_names(wanted: BackupId, encrypted: bool) -> None:
    storage = MemoryStorage()
    shelve(storage, wanted, proof=PROOF, encrypted=encrypted)
    [backup] = catalog([storage], wanted.instance).backups
    assert (backup.id, backup.proven, backup.encrypted) == (wanted, True, encrypted)
    assert all(belongs_to(key, wanted.instance) for key, *_ in storage.list())
    assert not any(belongs_to(key, wanted.instance + "x") for key, *_ in storage.list())
    assert find(catalog([storage], wanted.instance), str(wanted)) == backup


def test_a_target_that_fails_does_not_hide_the_others(
    storage: MemoryStorage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = shelve(storage, backup_id())
    listing = catalog([LocalStorage(tmp_path / "not-mounted"), storage], "prod")
    assert [backup.id for backup in listing.backups] == [wanted]
    assert len(listing.failures) == 1
    assert "not-mounted" in caplog.text


def test_if_every_target_fails_that_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match="not-mounted"):
        catalog([LocalStorage(tmp_path / "not-mounted")], "prod")


def test_no_target_holds_no_backup() -> None:
    assert catalog([], "prod").backups == ()


def test_ten_thousand_backups_are_listed_within_two_seconds() -> None:
    storage = MemoryStorage()
    start = backup_id().created_at
    manifest = b"{}"
    for number in range(10_000):
        wanted = BackupId("prod", "2.66.0", start - timedelta(hours=number))
        storage.put(archive_key(wanted), b"x")
        storage.put(manifest_key(wanted), manifest)
        storage.put(proof_key(wanted), PROOF)
    began = time.process_time()
    listing = catalog([storage], "prod")
    assert time.process_time() - began < 2
    assert len(listing.backups) == 10_000


# Which backup is meant.


def test_latest_is_the_newest_and_never_a_safety_backup(storage: MemoryStorage) -> None:
    shelve(storage, backup_id("20261120"))
    wanted = shelve(storage, backup_id("20261121"))
    shelve(storage, backup_id("20261122", safety=True))
    assert find(catalog([storage], "prod"), "latest").id == wanted


def test_latest_of_safety_backups_alone_is_none_but_they_are_named(storage: MemoryStorage) -> None:
    wanted = shelve(storage, backup_id(safety=True))
    with pytest.raises(NoSuchBackup, match=str(wanted)):
        find(catalog([storage], "prod"), "latest")


def test_a_whole_id_is_meant_even_where_a_longer_one_starts_so(storage: MemoryStorage) -> None:
    wanted = shelve(storage, backup_id())
    safety = shelve(storage, backup_id(safety=True))
    listing = catalog([storage], "prod")
    assert find(listing, str(wanted)).id == wanted
    assert find(listing, str(safety)).id == safety
    with pytest.raises(UsageError, match="2 backups start with"):
        find(listing, str(wanted)[:-1])


def test_the_only_id_that_starts_so_is_meant(storage: MemoryStorage) -> None:
    wanted = shelve(storage, backup_id("20261122"))
    shelve(storage, backup_id("20261121"))
    assert find(catalog([storage], "prod"), "kimai_prod_2.66.0_20261122").id == wanted


def test_an_ambiguous_beginning_names_the_candidates(storage: MemoryStorage) -> None:
    found = [shelve(storage, backup_id(f"202611{day:02}")) for day in range(10, 17)]
    with pytest.raises(UsageError) as caught:
        find(catalog([storage], "prod"), "kimai_prod")
    assert caught.value.exit_code == Exit.USAGE
    assert str(found[-1]) in str(caught.value)
    assert "7 backups" in str(caught.value)
    assert "and 2 more" in str(caught.value)


def test_an_empty_reference_is_refused(storage: MemoryStorage) -> None:
    shelve(storage, backup_id())
    with pytest.raises(UsageError, match="empty"):
        find(catalog([storage], "prod"), "")


@pytest.mark.parametrize("reference", ["latest", "kimai_prod_2.66.0_20261122T011000Z", "../../etc/passwd"])
def test_where_there_is_none_the_other_instances_are_named(storage: MemoryStorage, reference: str) -> None:
    shelve(storage, backup_id(instance="staging"))
    with pytest.raises(NoSuchBackup, match=r"--instance\): staging") as caught:
        find(catalog([storage], "prod"), reference)
    assert caught.value.exit_code == Exit.NO_SUCH_BACKUP


def test_an_unknown_id_names_what_there_is(storage: MemoryStorage) -> None:
    there = shelve(storage, backup_id("20261122"))
    with pytest.raises(NoSuchBackup, match=f"There is: {there}"):
        find(catalog([storage], "prod"), "kimai_prod_2.66.0_20270101")


def test_empty_targets_say_what_to_check_and_failed_ones_why(storage: MemoryStorage, tmp_path: Path) -> None:
    with pytest.raises(NoSuchBackup, match="check BACKUP_DIR"):
        find(catalog([storage], "prod"), "latest")
    with pytest.raises(NoSuchBackup, match=r"Not listed: .*not-mounted"):
        find(catalog([storage, LocalStorage(tmp_path / "not-mounted")], "prod"), "latest")


def test_an_orphan_is_named_where_no_backup_is_found(storage: MemoryStorage) -> None:
    storage.put(archive_key(backup_id()), b"x")
    with pytest.raises(NoSuchBackup, match=f"Without a manifest: {backup_id()}.zip"):
        find(catalog([storage], "prod"), "latest")


# What is shown of one.


def test_a_backup_is_described_with_what_a_list_promises(storage: MemoryStorage) -> None:
    shelve(storage, backup_id(), proof=PROOF)
    [backup] = catalog([storage], "prod").backups
    assert describe(backup, proven_at(backup, [storage])) == {
        "id": "kimai_prod_2.66.0_20261122T011000Z",
        "instance": "prod",
        "created_at": "2026-11-22T01:10:00Z",
        "kimai_version": "2.66.0",
        "size": 7,
        "targets": ["local"],
        "encrypted": False,
        "proven": True,
        "proven_at": "2026-11-23T04:05:06Z",
        "damaged": False,
        "safety": False,
    }


def test_the_time_of_a_proof_costs_one_read_and_none_without_proof(storage: MemoryStorage) -> None:
    shelve(storage, backup_id("20261122"))
    shelve(storage, backup_id("20261121"), proof=PROOF)
    unproven, proven = catalog([storage], "prod").backups
    assert proven_at(unproven, [storage]) is None
    assert storage.opened == []
    assert proven_at(proven, [storage]) == datetime(2026, 11, 23, 4, 5, 6, tzinfo=UTC)
    assert storage.opened == [proof_key(proven.id)]


def test_the_newest_proof_of_all_targets_counts_in_utc(storage: MemoryStorage) -> None:
    other = MemoryStorage("s3")
    shelve(storage, backup_id(), proof=b'{"finished_at": "2026-11-24T00:30:00+02:00"}')
    shelve(other, backup_id(), proof=b'{"finished_at": "2026-11-23T22:00:00"}')
    [backup] = catalog([storage, other], "prod").backups
    assert proven_at(backup, [storage, other]) == datetime(2026, 11, 23, 22, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "proof",
    [b"", b"{}", b"\xff", b'{"finished_at": "soon"}', b'{"finished_at":' + b"[" * 100_000, b'"' + b" " * (5 << 20)],
    ids=["empty", "no-time", "not-utf8", "no-date", "deep", "huge"],
)
def test_a_proof_that_does_not_tell_is_warned_of(
    storage: MemoryStorage, proof: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    shelve(storage, backup_id(), proof=proof)
    [backup] = catalog([storage], "prod").backups
    assert backup.proven
    assert proven_at(backup, [storage]) is None
    assert proof_key(backup.id) in caplog.text


def test_a_proof_that_was_just_removed_is_none(storage: MemoryStorage) -> None:
    shelve(storage, backup_id(), proof=PROOF)
    [backup] = catalog([storage], "prod").backups
    storage.delete(proof_key(backup.id))
    assert proven_at(backup, [storage]) is None


# The manifest beside an archive.


def test_a_manifest_is_read_back(storage: MemoryStorage) -> None:
    wanted = shelve(storage, backup_id())
    assert read_manifest(storage, wanted) == manifest_of(wanted)


def test_another_backups_manifest_is_refused(storage: MemoryStorage) -> None:
    wanted = shelve(storage, backup_id())
    storage.put(manifest_key(wanted), encode(manifest_of(backup_id("20200101"))))
    with pytest.raises(Damaged, match=r"is the manifest of kimai_prod_2\.66\.0_20200101T011000Z"):
        read_manifest(storage, wanted)


@pytest.mark.parametrize("text", [b"", b"{}", b"\xff", b'{"format": 2}', b'{"format":1,"id":' + b"[" * 100_000])
def test_what_is_no_manifest_is_damaged(storage: MemoryStorage, text: bytes) -> None:
    storage.put(manifest_key(backup_id()), text)
    with pytest.raises(Damaged):
        read_manifest(storage, backup_id())


def test_a_missing_manifest_is_not_found(storage: MemoryStorage) -> None:
    with pytest.raises(ObjectNotFound):
        read_manifest(storage, backup_id())


def test_a_manifest_beyond_all_bounds_is_not_read_whole(
    storage: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = shelve(storage, backup_id())
    monkeypatch.setattr("sidecar.catalog.MANIFEST_LIMIT", 100)
    with pytest.raises(Damaged, match="larger than 100 bytes"):
        read_manifest(storage, wanted)


@pytest.mark.parametrize("encrypted", [True, False])
def test_one_that_was_decrypted_or_encrypted_on_the_spot_is_told_by_its_manifest(encrypted: bool) -> None:
    """`age -d ID.zip.age > ID.zip` in BACKUP_DIR: the manifest beside both is still that of the encrypted one."""
    storage = MemoryStorage("local")
    manifest = manifest_of(backup_id(), 7)
    storage.put(manifest_key(backup_id()), encode(withhold(manifest) if encrypted else manifest))
    for kind in (True, False):
        storage.put(archive_key(backup_id(), encrypted=kind), b"archive")
    listing = catalog([storage], "prod")
    [found] = listing.backups
    assert found.encrypted is encrypted
    assert [stray.key for stray in listing.orphans] == [archive_key(backup_id(), encrypted=not encrypted)]


def test_where_the_manifest_that_tells_them_apart_can_not_be_read_just_then_the_target_is_failed() -> None:
    """Taken for the plain one a drill would find it damaged, and say so for ever."""

    class Stumbling(MemoryStorage):
        def open(self, key: str) -> BinaryIO:
            raise StorageFailed("no answer")

    storage = Stumbling("s3")
    storage.put(manifest_key(backup_id()), encode(withhold(manifest_of(backup_id(), 7))))
    for kind in (True, False):
        storage.put(archive_key(backup_id(), encrypted=kind), b"archive")
    with pytest.raises(StorageFailed, match="no answer"):
        catalog([storage], "prod")
