"""Verify: re-read every byte of a backup, on each target that holds it, against its manifest."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from sidecar import __version__, names
from sidecar.archive.reader import ArchiveReader
from sidecar.catalog import Backup, Catalog, Copy, Stray, read_manifest
from sidecar.errors import Damaged, Exit, NoSuchBackup, ObjectNotFound, StorageFailed
from sidecar.report.progress import Progress
from sidecar.republish import read_whole
from sidecar.state import DamagedArchive, State, learnt
from sidecar.storage.base import Fetch, Storage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verified:
    """One copy of a backup: whether it is whole, and if not, what is wrong with it.

    `key` is its archive's. `unread`: the target did not let it be read, so that nobody knows.
    """

    id: str
    target: str
    key: str
    size: int
    problem: str | None
    unread: bool = False

    @property
    def whole(self) -> bool:
        """Every byte is as the manifest says."""
        return self.problem is None


def verify(storages: Sequence[Storage], backups: Sequence[Backup], fetch: Fetch, progress: Progress) -> list[Verified]:
    """Check every copy of these backups. What is damaged, or can't be read, is told in the result.

    What is deleted meanwhile, as prune may do, is no copy any more, and none of the result.
    """
    by_name = {storage.name: storage for storage in storages}
    return [
        found
        for backup in backups
        for copy in backup.copies
        if (found := _verify_copy(by_name[copy.target], backup, copy, fetch, progress)) is not None
    ]


def strays(storages: Sequence[Storage], listing: Catalog, fetch: Fetch, progress: Progress) -> list[Verified]:
    """What of the instance belongs to no whole backup: an archive without manifest, a manifest without archive.

    An archive is read to its end all the same, against the manifest inside.
    """
    by_name = {storage.name: storage for storage in storages}
    found = [_verify_orphan(by_name[stray.target], stray, fetch, progress) for stray in listing.orphans]
    return found + [
        Verified(stray.key, stray.target, stray.key, stray.size, "has no archive beside it") for stray in listing.broken
    ]


def remember(state: State, copies: Sequence[Verified], orphans: Sequence[Verified] = ()) -> None:
    """Keep in mind which copies are damaged, for prune, and forget those that are whole.

    `orphans` have no manifest: the next run that can put one beside them looks at each again.
    """
    read = {(each.target, each.key) for each in (*copies, *orphans) if not each.unread}
    damaged = [
        DamagedArchive(target=each.target, key=each.key, size=each.size, why=each.problem, tool_version=__version__)
        for each in copies
        if each.problem is not None and not each.unread
    ]
    state.change_damaged(learnt(read, damaged))


def _verify_copy(storage: Storage, backup: Backup, copy: Copy, fetch: Fetch, progress: Progress) -> Verified | None:
    key, size = copy.archive_key, copy.size
    progress.phase(f"verify {backup.id} on {storage.name}", total=None)
    problem = None
    try:
        manifest = read_manifest(storage, backup.id)
        with fetch(storage, key) as path, ArchiveReader(path) as reader:
            reader.check(manifest)
            reader.verify(manifest, progress.advance)
    except Damaged as error:
        problem = str(error)
        log.error("%s on %s is damaged: %s", backup.id, storage.name, error)  # noqa: TRY400 - one line
    except (NoSuchBackup, StorageFailed) as error:
        if isinstance(error, NoSuchBackup | ObjectNotFound) and _are_gone(storage, names.manifest_key(backup.id), key):
            log.warning("%s on %s is gone meanwhile", backup.id, storage.name)
            return None
        log.error("%s on %s can't be read: %s", backup.id, storage.name, error)  # noqa: TRY400 - one line
        return Verified(str(backup.id), storage.name, key, size, f"can't be read: {error}", unread=True)
    return Verified(str(backup.id), storage.name, key, size, problem)


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


def _verify_orphan(storage: Storage, stray: Stray, fetch: Fetch, progress: Progress) -> Verified:
    progress.phase(f"verify {stray.key} on {stray.target}", total=None)
    stem, suffix = names.split(stray.key)
    backup_id = names.parse(stem)
    problem, unread = "has no manifest beside it", False
    try:
        if backup_id is not None and suffix != names.ENCRYPTED_SUFFIX:
            with fetch(storage, stray.key) as path:
                read_whole(path, backup_id, progress)
            problem += ", yet is whole by the one inside"
    except Damaged as error:
        problem += f", and {error}"
    except (NoSuchBackup, StorageFailed) as error:
        problem, unread = f"{problem}, and can't be read: {error}", True
    return Verified(stray.key, stray.target, stray.key, stray.size, problem, unread)


def exit_code(results: Sequence[Verified]) -> Exit:
    """7 where a copy is damaged, 6 where one could not be read, 0 where all are whole."""
    if any(not result.whole and not result.unread for result in results):
        return Exit.DAMAGED
    return Exit.STORAGE if any(result.unread for result in results) else Exit.DONE
