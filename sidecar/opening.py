"""Opening the backup that a user named for a restore: a zip by its path, or the first copy that is whole."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sidecar.archive.decrypting import NO_KEYS, Keyring
from sidecar.archive.source import Source, open_source
from sidecar.catalog import Backup, Catalog, read_manifest
from sidecar.errors import Damaged, NoSuchBackup, StorageFailed
from sidecar.manifest import Manifest
from sidecar.names import ARCHIVE_SUFFIXES
from sidecar.references import LATEST, find_for, passed_over
from sidecar.storage.base import Fetch, Storage

log = logging.getLogger(__name__)


@contextmanager
def open_backup(
    reference: str,
    catalog: Callable[[], Catalog],
    storages: Callable[[], Sequence[Storage]],
    fetch: Fetch,
    folder: Path | None,
    keys: Keyring = NO_KEYS,
) -> Iterator[Source]:
    """Open what the user named: the path of a zip, encrypted or not, or a backup on the first target that holds it.

    `folder` is BACKUP_DIR. The targets are asked only for what is no path.
    """
    path = Path(reference)
    if reference.endswith(ARCHIVE_SUFFIXES) and (os.path.exists(path) or os.sep in reference):  # noqa: PTH110 - never raises
        with open_source(path, keys=keys) as source:
            yield source
        return
    listing = catalog()
    found = find_for("restore", listing, reference, folder)
    with ExitStack() as opened:
        source = _open_first_whole(found, storages(), fetch, opened, keys)
        if reference == LATEST:
            source.warnings.extend(passed_over(listing, found, folder))
        yield source


def manifest_inside(found: Backup, storages: Sequence[Storage], fetch: Fetch, keys: Keyring) -> Manifest:
    """All of an encrypted backup's manifest, by a key: the archive is fetched and opened for it."""
    with ExitStack() as opened:
        source = _open_first_whole(found, storages, fetch, opened, keys)
        assert source.manifest is not None  # noqa: S101 - one by its ID is ours
        return source.manifest


def _open_first_whole(
    found: Backup, storages: Sequence[Storage], fetch: Fetch, opened: ExitStack, keys: Keyring
) -> Source:
    """The backup from the first target, local before S3, whose copy's bytes are what its manifest says.

    Copies that are not, or can't be read, become warnings. Raises what the last one raised.
    """
    passed: list[str] = []
    if all(copy.encrypted for copy in found.copies):
        keys.require(found.copies[0].archive_key)  # before anything is fetched
    for copy in found.copies:
        storage = next(each for each in storages if each.name == copy.target)
        try:
            manifest = read_manifest(storage, found.id)
            archive = opened.enter_context(fetch(storage, copy.archive_key))
            source = opened.enter_context(open_source(archive, manifest, keys))
        except (Damaged, NoSuchBackup, StorageFailed) as error:
            if copy is found.copies[-1]:
                raise
            passed.append(f"the copy on {copy.target} is passed over: {error}")
            log.warning("%s: %s", found.id, passed[-1])
        else:
            source.warnings.extend(passed)
            return source
    raise AssertionError  # the last copy returns or raises
