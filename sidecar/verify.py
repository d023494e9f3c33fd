"""Verify: re-read every byte of a backup, on each target that holds it, against its manifest."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sidecar import __version__, names
from sidecar.archive.decrypting import NO_KEYS, Keyring
from sidecar.archive.source import check_stored, decrypted, open_ours
from sidecar.catalog import Backup, Catalog, Copy, Stray, read_manifest
from sidecar.damaged import DamagedArchive, learnt
from sidecar.errors import ConfigurationError, Damaged, Exit, NoSuchBackup, ObjectNotFound, StorageFailed
from sidecar.manifest import Manifest
from sidecar.report.progress import Progress
from sidecar.republish import read_whole
from sidecar.state import State
from sidecar.storage.base import Fetch, Storage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verified:
    """One copy of a backup: whether it is whole, and if not, what is wrong with it.

    `key` is its archive's. `unread`: the target did not let it be read, so that nobody knows. `unopened`: why what is
    in an encrypted one was not looked at: its size and SHA-256 alone were.
    """

    id: str
    target: str
    key: str
    size: int
    problem: str | None
    unread: bool = False
    unopened: str | None = None

    @property
    def whole(self) -> bool:
        """Every byte is as the manifest says: of one that was not opened, the archive's own."""
        return self.problem is None

    @property
    def opened(self) -> bool:
        """Whether the content was read to its end as well and found right."""
        return self.problem is None and self.unopened is None


def verify(
    storages: Sequence[Storage],
    backups: Sequence[Backup],
    fetch: Fetch,
    progress: Progress,
    keys: Keyring = NO_KEYS,
) -> list[Verified]:
    """Check every copy of these backups. What is damaged, or can't be read, is told in the result.

    An encrypted one is held against the manifest beside it, and opened where there is a key.
    What is deleted meanwhile, as prune may do, is no copy any more, and none of the result.
    """
    by_name = {storage.name: storage for storage in storages}
    return [
        found
        for backup in backups
        for copy in backup.copies
        if (found := _verify_copy(by_name[copy.target], backup, copy, fetch, progress, keys)) is not None
    ]


def strays(
    storages: Sequence[Storage], listing: Catalog, fetch: Fetch, progress: Progress, keys: Keyring = NO_KEYS
) -> list[Verified]:
    """What of the instance belongs to no whole backup: an archive without manifest, a manifest without archive.

    An archive is read to its end all the same, against the manifest inside.
    """
    by_name = {storage.name: storage for storage in storages}
    found = [_verify_orphan(by_name[stray.target], stray, fetch, progress, keys) for stray in listing.orphans]
    return found + [
        Verified(stray.key, stray.target, stray.key, stray.size, "has no archive beside it") for stray in listing.broken
    ]


def remember(
    state: State, copies: Sequence[Verified], orphans: Sequence[Verified] = (), *, keyed: bool = False
) -> None:
    """Keep in mind which copies are damaged, for prune, and forget those that are whole.

    `orphans` have no manifest: the next run that can put one beside them looks at each again. `keyed`: there was a key.
    What it found inside an encrypted one stays until a key opens that again.
    """
    seen = [each for each in (*copies, *orphans) if not each.unread and not (keyed and each.unopened)]
    read = {(each.target, each.key) for each in seen}
    damaged = [
        DamagedArchive(
            target=each.target,
            key=each.key,
            size=each.size,
            why=each.problem,
            tool_version=__version__,
            keyed=keyed and names.is_encrypted(each.key),
        )
        for each in copies
        if each.problem is not None and not each.unread
    ]
    state.damaged.change(learnt(read, damaged, keyed=keyed))


def _verify_copy(
    storage: Storage, backup: Backup, copy: Copy, fetch: Fetch, progress: Progress, keys: Keyring
) -> Verified | None:
    key, size = copy.archive_key, copy.size
    progress.phase(f"verify {backup.id} on {storage.name}", total=None)
    problem = unopened = None
    try:
        manifest = read_manifest(storage, backup.id)
        with fetch(storage, key) as path:
            unopened = _read_to_its_end(path, manifest, progress, keys)
    except Damaged as error:
        problem = str(error)
        log.error("%s on %s is damaged: %s", backup.id, storage.name, error)  # noqa: TRY400 - one line
    except (NoSuchBackup, StorageFailed) as error:
        if isinstance(error, NoSuchBackup | ObjectNotFound) and _are_gone(storage, names.manifest_key(backup.id), key):
            log.warning("%s on %s is gone meanwhile", backup.id, storage.name)
            return None
        log.error("%s on %s can't be read: %s", backup.id, storage.name, error)  # noqa: TRY400 - one line
        return Verified(str(backup.id), storage.name, key, size, f"can't be read: {error}", unread=True)
    return Verified(str(backup.id), storage.name, key, size, problem, unopened=unopened)


def _read_to_its_end(path: Path, manifest: Manifest, progress: Progress, keys: Keyring) -> str | None:
    """Check all that can be. Why the content of an encrypted one can't, where no key opens it.

    Raises `Damaged`, `NoSuchBackup`, `StorageFailed`.
    """
    try:
        with decrypted(path, manifest, keys) as plain, open_ours(plain, manifest) as (reader, full):
            reader.verify(full, progress.advance)
    except ConfigurationError as error:
        # A key that doesn't fit was tried on what had been held against its manifest.
        if not keys:
            check_stored(path, manifest)
            return "BACKUP_IDENTITY is not set"
        log.error("%s", error)  # noqa: TRY400 - one line
        return error.what
    return None


def _are_gone(storage: Storage, *keys: str) -> bool:
    try:
        for key in keys:
            try:
                storage.stat(key)
            except ObjectNotFound:
                continue
            return False
    except StorageFailed:
        return False  # nobody knows
    return True


def _verify_orphan(storage: Storage, stray: Stray, fetch: Fetch, progress: Progress, keys: Keyring) -> Verified:
    progress.phase(f"verify {stray.key} on {stray.target}", total=None)
    backup_id = names.parse(names.split(stray.key)[0])
    problem, unread = "has no manifest beside it", False
    try:
        if backup_id is not None:
            if names.is_encrypted(stray.key) and not keys:
                raise ConfigurationError("BACKUP_IDENTITY is not set")  # noqa: TRY301 - as for a key that doesn't fit
            with fetch(storage, stray.key) as path:
                read_whole(path, backup_id, progress, keys)
            problem += ", yet is whole by the one inside"
    except ConfigurationError as error:
        problem += f", and can't be looked into: {error.what}"
    except Damaged as error:
        problem += f", and {error}"
    except (NoSuchBackup, StorageFailed) as error:
        problem, unread = f"{problem}, and can't be read: {error}", True
    return Verified(stray.key, stray.target, stray.key, stray.size, problem, unread)


def exit_code(results: Sequence[Verified], *, with_key: bool = False) -> Exit:
    """7 where a copy is damaged, 6 where one could not be read, 4 where a key opens not all, 0 where all are whole.

    Without a key, what can be checked without one is all that was asked for.
    """
    if any(not result.whole and not result.unread for result in results):
        return Exit.DAMAGED
    if any(result.unread for result in results):
        return Exit.STORAGE
    return Exit.CONFIGURATION if with_key and any(result.unopened for result in results) else Exit.DONE
