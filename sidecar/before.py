"""The backup before this one: what it had is looked for again, and keeps the old ones where it is gone."""

import logging
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from sidecar import names
from sidecar.catalog import Backup, catalog, read_manifest
from sidecar.durable import write_whole
from sidecar.errors import Damaged, KimaiBackupError
from sidecar.exposed import plain_on_s3
from sidecar.kimai.instance import Instance
from sidecar.kimai.survey import Survey
from sidecar.manifest import ENVIRONMENT_NAME, BackupId, Manifest, decode, encode
from sidecar.storage.base import Storage

log = logging.getLogger(__name__)

_FORGOTTEN = "the backup before is encrypted, and BACKUP_STATE_DIR does not tell what it held"


@dataclass(frozen=True)
class Before:
    """The backup before this one: its manifest, if there is one that can be read; and the IDs that are `taken`.

    `unknown`: why nobody knows what it held. `size` of its archive in bytes; 0 where nobody knows. `exposed`: so many
    archives lie on S3 not encrypted.
    """

    taken: Set[BackupId]
    manifest: Manifest | None = None
    unknown: str | None = None
    size: int = 0
    exposed: int = 0

    def survey(self, instance: Instance) -> Survey:
        """What there is to back up, and what of the backup before is gone."""
        if self.manifest is None:
            return instance.survey()
        paths = [file.path for file in self.manifest.files if file.path != ENVIRONMENT_NAME]
        return instance.survey(paths, self.manifest.missing)

    @property
    def why_unknown(self) -> str | None:
        """Why old backups stay where nobody can tell what is gone."""
        return f"{self.unknown}, so nobody knows whether this one lacks something" if self.unknown else None

    def what_is_gone(self, lacks: set[str], tables: set[str]) -> str | None:
        """Why old backups stay: one that lacks so much, and has these tables, lacks what the one before had."""
        if self.manifest is None:
            return None
        lacking = sorted(lacks - lacks_of(self.manifest))
        if lacking:
            return f"this backup lacks what the one before it had: {', '.join(lacking[:5])}"
        gone = sorted({table.name for table in self.manifest.database.tables} - tables)
        if gone:
            return f"tables of the backup before are gone: {', '.join(gone[:5])}"
        return None


def look_back(storages: Sequence[Storage], instance: str, memory: Path) -> Before:
    """Find the newest backup that is no safety backup. Raises `StorageFailed` where no target can be listed.

    `memory` is the folder that `remember` has written to.
    """
    listing = catalog(storages, instance)
    # An archive that lost its manifest has its ID all the same: it must not be overwritten.
    orphaned = (names.parse(names.split(stray.key)[0]) for stray in listing.orphans)
    taken = {found.id for found in listing.backups} | {found for found in orphaned if found is not None}
    exposed = plain_on_s3(listing)
    newest: Backup | None = next((found for found in listing.backups if not found.id.safety), None)
    if newest is None:
        return Before(taken, exposed=exposed)
    for storage in storages:
        if storage.name in newest.targets:
            try:
                manifest = read_manifest(storage, newest.id)
            except KimaiBackupError as error:
                log.warning("the manifest of the backup before this one, %s, can't be read: %s", newest.id, error)
                continue
            size = manifest.archive.size if manifest.archive else 0
            whole = manifest if manifest.withheld is None else _recall(memory, newest.id)
            if whole is None:
                return Before(taken, unknown=_FORGOTTEN, size=size, exposed=exposed)
            return Before(taken, whole, size=size, exposed=exposed)
    return Before(taken, unknown="the manifest of the backup before can't be read", exposed=exposed)


def remember(memory: Path, manifest: Manifest) -> None:
    """Keep the whole manifest of an encrypted backup for the next one, as what lies beside it withholds most.

    Before it is published, so that a run that is killed leaves none without. A failure costs the next backup's prune.
    """
    path = memory / f"{manifest.id}.json"
    try:
        memory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(path, encode(manifest))
    except OSError as error:
        log.warning("%s can't be written, so the next backup prunes nothing: %s", path, error.strerror)


def forget(memory: Path, *, all_but: str | None) -> None:
    """Drop what is remembered of other backups than the one of this ID, which was published."""
    try:
        for path in memory.glob("*"):
            if path.name != f"{all_but}.json":
                path.unlink()
    except OSError as error:
        log.warning("%s can't be tidied up: %s", memory, error.strerror)


def _recall(memory: Path, backup_id: BackupId) -> Manifest | None:
    path = memory / f"{backup_id}.json"
    try:
        return decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, Damaged) as error:
        log.warning("%s can't be read: %s", path, error)
        return None


def lacks_of(manifest: Manifest) -> set[str]:
    """What a backup should hold and does not."""
    return {*manifest.missing, *manifest.unreadable, *manifest.database.unreadable}
