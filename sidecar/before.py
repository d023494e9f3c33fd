"""The backup before this one: what it had is looked for again, and keeps the old ones where it is gone."""

import logging
from collections.abc import Sequence, Set
from dataclasses import dataclass

from sidecar import names
from sidecar.catalog import Backup, catalog, read_manifest
from sidecar.errors import KimaiBackupError
from sidecar.kimai.instance import Instance
from sidecar.kimai.survey import Survey
from sidecar.manifest import ENVIRONMENT_NAME, BackupId, Manifest
from sidecar.storage.base import Storage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Before:
    """The backup before this one: its manifest, if there is one that can be read; and the IDs that are `taken`."""

    taken: Set[BackupId]
    manifest: Manifest | None = None
    unreadable: bool = False

    @property
    def size(self) -> int:
        """Bytes of its archive; 0 where nobody knows."""
        return self.manifest.archive.size if self.manifest is not None and self.manifest.archive is not None else 0

    def survey(self, instance: Instance) -> Survey:
        """What there is to back up, and what of the backup before is gone."""
        if self.manifest is None:
            return instance.survey()
        paths = [file.path for file in self.manifest.files if file.path != ENVIRONMENT_NAME]
        return instance.survey(paths, self.manifest.missing)

    def why_not_prune(self, lacks: set[str], tables: set[str]) -> str | None:
        """Why old backups stay: one that lacks so much, and has these tables, lacks what the one before had."""
        if self.unreadable:
            return "the manifest of the backup before can't be read, so nobody knows whether this one lacks something"
        if self.manifest is None:
            return None
        lacking = sorted(lacks - lacks_of(self.manifest))
        if lacking:
            return f"this backup lacks what the one before it had: {', '.join(lacking[:5])}"
        gone = sorted({table.name for table in self.manifest.database.tables} - tables)
        if gone:
            return f"tables of the backup before are gone: {', '.join(gone[:5])}"
        return None


def look_back(storages: Sequence[Storage], instance: str) -> Before:
    """Find the newest backup that is no safety backup. Raises `StorageFailed` where no target can be listed."""
    listing = catalog(storages, instance)
    # An archive that lost its manifest has its ID all the same: it must not be overwritten.
    orphaned = (names.parse(names.split(stray.key)[0]) for stray in listing.orphans)
    taken = {found.id for found in listing.backups} | {found for found in orphaned if found is not None}
    newest: Backup | None = next((found for found in listing.backups if not found.id.safety), None)
    if newest is None:
        return Before(taken)
    for storage in storages:
        if storage.name in newest.targets:
            try:
                return Before(taken, read_manifest(storage, newest.id))
            except KimaiBackupError as error:
                log.warning("the manifest of the backup before this one, %s, can't be read: %s", newest.id, error)
    return Before(taken, unreadable=True)


def lacks_of(manifest: Manifest) -> set[str]:
    """What a backup should hold and does not."""
    return {*manifest.missing, *manifest.unreadable, *manifest.database.unreadable}
