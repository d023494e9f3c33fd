"""Which backups lie on the targets: names alone tell, but for the time of a proof and the manifest."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from sidecar.errors import Damaged, ObjectNotFound, StorageFailed
from sidecar.manifest import BackupId, Manifest, decode
from sidecar.names import (
    ARCHIVE_SUFFIXES,
    ENCRYPTED_SUFFIX,
    FAILED_SUFFIX,
    MANIFEST_SUFFIX,
    PROOF_SUFFIX,
    manifest_key,
    parse,
    proof_key,
    split,
)
from sidecar.storage.base import Storage

log = logging.getLogger(__name__)

# What lies on a target may be hostile or garbage: no more than this is read, in bytes.
MANIFEST_LIMIT = 256 << 20
PROOF_LIMIT = 4 << 20
PROOFS_FROM_AFAR = 3
LOCAL = "local"
"""The name of the target whose objects are read at the price of a file."""


class Copy(NamedTuple):
    """A backup as it lies whole on one target: the archive's key and its size in bytes."""

    target: str
    archive_key: str
    size: int
    proven: bool
    damaged: bool

    @property
    def encrypted(self) -> bool:
        """Whether the archive is encrypted with age."""
        return self.archive_key.endswith(ENCRYPTED_SUFFIX)


@dataclass(frozen=True)
class Backup:
    """A backup that a target or more hold whole, archive and manifest; copies in the order of the targets."""

    id: BackupId
    copies: tuple[Copy, ...]

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the targets that hold it."""
        return tuple(copy.target for copy in self.copies)

    @property
    def size(self) -> int:
        """The archive's size in bytes."""
        return self.copies[0].size

    @property
    def encrypted(self) -> bool:
        """Whether the archive is encrypted with age."""
        return self.copies[0].encrypted

    @property
    def proven(self) -> bool:
        """Whether a drill of a copy matched."""
        return any(copy.proven for copy in self.copies)

    @property
    def damaged(self) -> bool:
        """Whether a drill of a copy did not match."""
        return any(copy.damaged for copy in self.copies)


class Stray(NamedTuple):
    """An object of this instance that belongs to no whole backup: named to the user, never deleted. Size in bytes."""

    target: str
    key: str
    size: int = 0


@dataclass(frozen=True)
class Catalog:
    """What there is of one instance, newest first, over all targets.

    `orphans` are archives without a manifest, `broken` are manifests and proofs without an archive,
    `instances` is every instance that has an archive somewhere, `failures` are targets that can't be listed.
    """

    instance: str
    backups: tuple[Backup, ...]
    orphans: tuple[Stray, ...] = ()
    broken: tuple[Stray, ...] = ()
    instances: tuple[str, ...] = ()
    failures: tuple[StorageFailed, ...] = ()


def catalog(storages: Sequence[Storage], instance: str) -> Catalog:
    """List all targets and merge what they hold of an instance.

    A target that can't be listed is named in the log and in `failures`: what the others hold is still there
    to be restored. Raises `StorageFailed` if none can be listed.
    """
    shelves: list[_Shelf] = []
    failures: list[StorageFailed] = []
    for storage in storages:
        try:
            shelves.append(_Shelf.of(storage))
        except StorageFailed as error:
            log.warning("target %s can't be listed: %s", storage.name, error)
            failures.append(error)
    if failures and not shelves:
        raise failures[0]
    copies: dict[BackupId, list[Copy]] = {}
    orphans: list[Stray] = []
    broken: list[Stray] = []
    for shelf in shelves:
        for backup_id, sizes in shelf.sizes.items():
            if backup_id.instance == instance:
                found = copies.setdefault(backup_id, [])
                _sort_out(shelf, backup_id, sizes, found, orphans, broken)
    backups = [Backup(backup_id, tuple(found)) for backup_id, found in copies.items() if found]
    return Catalog(
        instance,
        tuple(sorted(backups, key=_newest_last, reverse=True)),
        tuple(orphans),
        tuple(broken),
        tuple(sorted({name for shelf in shelves for name in shelf.instances()})),
        tuple(failures),
    )


def describe(backup: Backup, proven_at: datetime | None = None) -> dict[str, Any]:
    """A backup as `list --json` shows it: times in UTC as ISO 8601, size in bytes."""
    return {
        "id": str(backup.id),
        "instance": backup.id.instance,
        "created_at": _iso(backup.id.created_at),
        "kimai_version": backup.id.kimai_version,
        "size": backup.size,
        "targets": list(backup.targets),
        "encrypted": backup.encrypted,
        "proven": backup.proven,
        "proven_at": None if proven_at is None else _iso(proven_at),
        "damaged": backup.damaged,
        "safety": backup.id.safety,
    }


def describe_all(backups: Iterable[Backup], storages: Sequence[Storage]) -> list[dict[str, Any]]:
    """All of them as `list` shows them. When each was proven is read at every price where that is none, from a folder
    on this machine; from elsewhere for the newest few alone: thousands of backups must not be thousands of requests.
    """
    here = [storage for storage in storages if storage.name == LOCAL]
    rows, left = [], PROOFS_FROM_AFAR
    for backup in backups:
        time = proven_at(backup, here)
        if time is None and backup.proven and left:
            left -= 1
            time = proven_at(backup, [storage for storage in storages if storage.name != LOCAL])
        rows.append(describe(backup, time))
    return rows


def proven_at(backup: Backup, storages: Iterable[Storage]) -> datetime | None:
    """When a drill last matched, UTC: one small read, and none for a backup without proof.

    None, with a warning in the log, for a proof that can't be read or doesn't tell.
    """
    proven = {copy.target for copy in backup.copies if copy.proven}
    times = [_proof_time(storage, backup.id) for storage in storages if storage.name in proven]
    return max((time for time in times if time is not None), default=None)


def read_manifest(storage: Storage, backup_id: BackupId) -> Manifest:
    """Read and check the manifest beside an archive.

    Raises `Damaged` if it isn't one or is another backup's, `ObjectNotFound`, `StorageFailed`.
    """
    key = manifest_key(backup_id)
    found = decode(_read(storage, key, MANIFEST_LIMIT))
    if found.id != str(backup_id) or found.instance != backup_id.instance:
        raise Damaged(f"{key} on {storage.name} is the manifest of {found.id}")
    return found


def read_first_manifest(storages: Iterable[Storage], backup: Backup) -> Manifest:
    """The manifest from the first target that gives a good one; those before are named in the log.

    Raises what the last one raised.
    """
    holders = [storage for storage in storages if storage.name in backup.targets]
    for storage in holders[:-1]:
        try:
            return read_manifest(storage, backup.id)
        except (Damaged, StorageFailed) as error:
            log.warning("%s on %s: %s; looking at the next target", backup.id, storage.name, error)
    return read_manifest(holders[-1], backup.id)


class _Shelf(NamedTuple):
    """One target's objects that are parts of backups: for each ID the size of each part, by suffix.

    `encrypted` are those that have both kinds of archive, as somebody decrypted one on the spot, and the manifest of
    the encrypted one: names alone don't tell that.
    """

    target: str
    sizes: dict[BackupId, dict[str, int]]
    encrypted: set[BackupId]

    @classmethod
    def of(cls, storage: Storage) -> "_Shelf":
        ids: dict[str, BackupId | None] = {}
        sizes: dict[BackupId, dict[str, int]] = {}
        for key, size, _ in storage.list():
            stem, suffix = split(key)
            if stem not in ids:
                ids[stem] = parse(stem)
            backup_id = ids[stem]
            if backup_id is not None:
                sizes.setdefault(backup_id, {})[suffix] = size
        both = [found for found, parts in sizes.items() if parts.keys() >= {*ARCHIVE_SUFFIXES, MANIFEST_SUFFIX}]
        return cls(storage.name, sizes, {found for found in both if _is_of_the_encrypted(storage, found)})

    def instances(self) -> set[str]:
        return {
            found.instance for found, sizes in self.sizes.items() if any(name in sizes for name in ARCHIVE_SUFFIXES)
        }


class _Proof(msgspec.Struct):
    finished_at: datetime


def _is_of_the_encrypted(storage: Storage, backup_id: BackupId) -> bool:
    """Raises `StorageFailed`: who can't read it just then would take the wrong archive for the backup."""
    try:
        return read_manifest(storage, backup_id).withheld is not None
    except (Damaged, ObjectNotFound) as error:
        log.warning("whose manifest %s on %s is can't be told: %s", manifest_key(backup_id), storage.name, error)
        return False


def _sort_out(
    shelf: _Shelf,
    backup_id: BackupId,
    sizes: dict[str, int],
    copies: list[Copy],
    orphans: list[Stray],
    broken: list[Stray],
) -> None:
    target = shelf.target
    order = reversed(ARCHIVE_SUFFIXES) if backup_id in shelf.encrypted else ARCHIVE_SUFFIXES
    archives = [suffix for suffix in order if suffix in sizes]
    if not archives:
        broken.extend(Stray(target, f"{backup_id}{suffix}", size) for suffix, size in sizes.items())
        return
    if MANIFEST_SUFFIX in sizes:
        # A failure wins over a proof: the one is written before the other is removed.
        damaged = FAILED_SUFFIX in sizes
        proven = PROOF_SUFFIX in sizes and not damaged
        kept = archives.pop(0)
        copies.append(Copy(target, f"{backup_id}{kept}", sizes[kept], proven, damaged))
    orphans.extend(Stray(target, f"{backup_id}{suffix}", sizes[suffix]) for suffix in archives)


def _newest_last(backup: Backup) -> tuple[datetime, BackupId]:
    return backup.id.created_at, backup.id


def _proof_time(storage: Storage, backup_id: BackupId) -> datetime | None:
    key = proof_key(backup_id)
    try:
        time = msgspec.json.decode(_read(storage, key, PROOF_LIMIT), type=_Proof).finished_at
        return time.replace(tzinfo=time.tzinfo or UTC).astimezone(UTC)
    except ObjectNotFound:
        return None  # removed since the listing: it is proven no more
    except (Damaged, StorageFailed, msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as error:
        log.warning("%s on %s doesn't tell when it was proven: %s", key, storage.name, error)
        return None


def _read(storage: Storage, key: str, limit: int) -> bytes:
    with storage.open(key) as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise Damaged(f"{key} on {storage.name} is larger than {limit} bytes")
    return data


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
