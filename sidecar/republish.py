"""Republish: an archive that lost its manifest is read to its last byte, and then gets it back from within."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from sidecar import __version__, names
from sidecar.archive.decrypting import NO_KEYS, Keyring
from sidecar.archive.source import decrypted, measure, open_ours
from sidecar.catalog import LOCAL, Backup, Stray, catalog
from sidecar.damaged import DamagedArchive
from sidecar.durable import write_whole
from sidecar.errors import ConfigurationError, Damaged, NoSuchBackup, ObjectNotFound, StorageAway, StorageFailed
from sidecar.manifest import BackupId, Manifest, encode, withhold
from sidecar.names import is_encrypted
from sidecar.report.progress import Progress
from sidecar.state import State
from sidecar.storage.base import Fetch, Storage

log = logging.getLogger(__name__)

_YOUNG = timedelta(days=1)
"""How long an archive elsewhere is left to whoever sent it: another machine may be about to put its manifest there."""


@dataclass(frozen=True)
class Fate:
    """What became of one archive without a manifest, or would, in words; `published` is its ID where it has one now."""

    target: str
    key: str
    said: str
    published: BackupId | None = None

    def __str__(self) -> str:
        return f"{self.key} on {self.target} {self.said}"


@dataclass
class Republished:
    """What became of each archive that had no manifest, and by name the failures of targets."""

    fates: list[Fate] = field(default_factory=list)
    failed: dict[str, StorageFailed] = field(default_factory=dict)

    @property
    def fresh(self) -> set[tuple[str, BackupId]]:
        """Target and ID of what is a backup again: for retention it is one from the next run on."""
        return {(fate.target, fate.published) for fate in self.fates if fate.published is not None}


class _Left(Exception):
    """An archive stays as it is, and why. `damaged`: looking again would find the same; `unopened`: by these keys."""

    def __init__(self, why: str, *, damaged: bool = False, unopened: bool = False) -> None:
        super().__init__(why)
        self.damaged = damaged
        self.unopened = unopened


class _Unopened(msgspec.Struct, frozen=True):
    """An encrypted archive that these keys (`Keyring.fingerprint`) don't open: where it lies, and its size in bytes."""

    target: str
    key: str
    size: int
    keys: str
    why: str


def republish(
    storages: Sequence[Storage],
    instance: str,
    fetch: Fetch,
    state: State,
    now: datetime,
    progress: Progress,
    keys: Keyring = NO_KEYS,
    *,
    dry_run: bool = False,
) -> Republished:
    """Put beside each archive without a manifest the one from inside, where every byte is as that one says.

    Beside an encrypted one goes what may lie there of it; without a key that opens it, it can only be named. What can't
    be shown to be whole is named and stays: nothing is overwritten or deleted. One that was found damaged is not read
    again until its size changes, or `verify` was run; one that no key opens, not until there are other keys. The
    caller holds the instance's lock.
    """
    done = Republished()
    remembered, unopened = state.damaged.known(), _read_unopened(state.unopened)
    for storage in storages:
        try:
            listing = catalog([storage], instance)
            before = [each for each in remembered if each.target == storage.name]
            whole = {backup.id for backup in listing.backups}
            found = _Target(storage, whole, before, fetch, now, progress, keys, known_unopened=unopened)
            found.look(listing.orphans, done, dry_run=dry_run)
        except StorageFailed as error:
            log.error("target %s failed: %s", storage.name, error)  # noqa: TRY400 - one line
            done.failed[storage.name] = error
        else:
            if not dry_run:
                state.damaged.change(found.known_from_now_on(listing.backups))
                unopened = [each for each in unopened if each.target != storage.name] + found.unopened
    if keys and not dry_run:
        _write_unopened(state.unopened, unopened)
    return done


def read_whole(path: Path, backup_id: BackupId, progress: Progress, keys: Keyring) -> Manifest:
    """The manifest that belongs beside an archive, which was read to its end and is what that says.

    Raises `Damaged`, `NoSuchBackup`, `StorageFailed`, and `ConfigurationError` where no key opens it.
    """
    with decrypted(path, None, keys) as plain, open_ours(plain, None) as (reader, inner):
        if inner.id != str(backup_id) or inner.instance != backup_id.instance:
            raise Damaged(f"the manifest inside is that of {inner.id}")
        reader.verify(inner, progress.advance)
        if not is_encrypted(path.name):
            return msgspec.structs.replace(inner, archive=reader.measure())
    return msgspec.structs.replace(withhold(inner), archive=measure(path))


@dataclass
class _Target:
    """One target that is looked over: its whole backups, and what was and is now found damaged there."""

    storage: Storage
    whole: set[BackupId]
    known: list[DamagedArchive]
    fetch: Fetch
    now: datetime
    progress: Progress
    keys: Keyring
    known_unopened: Sequence[_Unopened] = ()
    damaged: list[DamagedArchive] = field(default_factory=list)
    unopened: list[_Unopened] = field(default_factory=list)

    def look(self, orphans: Sequence[Stray], done: Republished, *, dry_run: bool) -> None:
        for orphan in orphans:
            published = None
            try:
                backup_id = self._id_of(orphan)
                if dry_run:
                    said = "has no manifest: would be checked and published again"
                else:
                    self._publish(orphan, backup_id)
                    self.whole.add(backup_id)
                    published, said = backup_id, "had no manifest: checked, and published again"
            except _Left as left:
                said = f"has no manifest and is left alone: {left}"
                if left.damaged:
                    self.damaged.append(_damaged(orphan, str(left)))
                if left.unopened:
                    self.unopened.append(self._unopened(orphan, str(left)))
            done.fates.append(Fate(orphan.target, orphan.key, said, published))
            log.warning("%s", done.fates[-1])

    def known_from_now_on(self, backups: Sequence[Backup]) -> Callable[[list[DamagedArchive]], list[DamagedArchive]]:
        """What was found damaged here, and of what was before what still lies there as a backup: prune asks for it."""
        there = {(self.storage.name, copy.archive_key, copy.size) for each in backups for copy in each.copies}

        def change(known: list[DamagedArchive]) -> list[DamagedArchive]:
            return [each for each in known if each.target != self.storage.name or each.place in there] + self.damaged

        return change

    def _id_of(self, orphan: Stray) -> BackupId:
        """The ID in its name, where it is one to look at. Raises `_Left`."""
        backup_id = names.parse(names.split(orphan.key)[0])
        assert backup_id is not None  # noqa: S101 - the catalog has read it
        if is_encrypted(orphan.key) and not self.keys:
            raise _Left("it is encrypted, so nobody can look inside without BACKUP_IDENTITY")
        if backup_id in self.whole:
            raise _Left(f"the manifest beside it is that of another archive, {backup_id}")
        if self.storage.name != LOCAL and self.now - backup_id.created_at < _YOUNG:
            raise _Left("it is not a day old, so another machine may be about to put its manifest there")
        for each in self.known:
            if each == _damaged(orphan, each.why):
                raise _Left(each.why, damaged=True)
        for one in self.known_unopened:
            if one == self._unopened(orphan, one.why):
                raise _Left(one.why, unopened=True)
        return backup_id

    def _publish(self, orphan: Stray, backup_id: BackupId) -> None:
        self.progress.phase(f"check {orphan.key} on {self.storage.name}", total=None)
        manifest = self._read(orphan.key, backup_id)
        key = names.manifest_key(backup_id)
        if self._size(orphan.key) != orphan.size:
            raise _Left("it changed while it was read")
        if self._size(key) is not None:
            raise _Left("its manifest has come meanwhile")
        self.storage.put(key, encode(manifest))

    def _read(self, key: str, backup_id: BackupId) -> Manifest:
        """Raises `_Left`, and `StorageAway` where the target is gone; what it refuses of one archive is that one's."""
        try:
            with self.fetch(self.storage, key) as path:
                return read_whole(path, backup_id, self.progress, self.keys)
        except ConfigurationError as error:
            raise _Left(error.what, unopened=True) from error
        except Damaged as error:
            raise _Left(error.what, damaged=True) from error
        except (ObjectNotFound, NoSuchBackup) as error:
            raise _Left("it is gone meanwhile") from error
        except StorageAway:
            raise
        except StorageFailed as error:
            raise _Left(f"it can't be read: {error}") from error

    def _unopened(self, orphan: Stray, why: str) -> _Unopened:
        return _Unopened(orphan.target, orphan.key, orphan.size, self.keys.fingerprint, why)

    def _size(self, key: str) -> int | None:
        try:
            return self.storage.stat(key).size
        except ObjectNotFound:
            return None


def _damaged(orphan: Stray, why: str) -> DamagedArchive:
    return DamagedArchive(target=orphan.target, key=orphan.key, size=orphan.size, why=why, tool_version=__version__)


def _read_unopened(path: Path) -> list[_Unopened]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[_Unopened])
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("%s can't be read, so archives that no key opens are looked at once more: %s", path, error)
        return []


def _write_unopened(path: Path, unopened: Sequence[_Unopened]) -> None:
    try:
        if not unopened:
            path.unlink(missing_ok=True)
        else:
            write_whole(path, msgspec.json.encode(unopened))
    except OSError as error:
        log.warning("%s can't be written, so archives that no key opens are looked at once more: %s", path, error)
