"""Room: whether the next backup fits where it grows, and the newest encrypted one where it is opened."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from sidecar.catalog import LOCAL, catalog
from sidecar.errors import Exit
from sidecar.probes.job import Finding, Job

_LARGER_DISK = "Make room, or set BACKUP_STATE_DIR to a folder on a larger disk."


def room(job: Job) -> Iterator[Finding]:
    """Whether the next backup fits where it grows: as large as the newest one, or as the files for the first.

    Without a local folder that is the state folder, where one that is read back from S3 needs as much.
    """
    if not job.storages:
        return
    if job.backup_dir is not None:
        folder, mend, also = job.backup_dir, "Make room, or keep fewer backups (RETENTION_DAYS).", ""
    else:
        folder, mend, also = job.check_state_folder(), _LARGER_DISK, ", to be made and to be read back"
    backups = catalog(job.listed, job.instance_name).backups
    needed = backups[0].size if backups else job.kimai().survey().size
    yield _fits("room", folder, needed, f"the next backup needs about {needed}{also}", mend)


def room_to_open(job: Job) -> Iterator[Finding]:
    """Whether the newest encrypted backup fits where it is decrypted; what lies elsewhere is fetched there first."""
    backups = catalog(job.listed, job.instance_name).backups if job.storages else ()
    newest = next((backup for backup in backups if backup.encrypted), None)
    if newest is not None:
        needed = newest.size * (1 if LOCAL in newest.targets else 2)
        said = f"the newest encrypted backup needs {needed} to be opened"
        yield _fits("room to open", job.check_state_folder(), needed, said, _LARGER_DISK)


def _fits(what: str, folder: Path, needed: int, said: str, mend: str) -> Finding:
    free = shutil.disk_usage(folder).free
    seen = f"{free} bytes free in {folder}, {said}"
    return Finding(what, seen) if free >= needed else Finding(what, seen, mend, Exit.STORAGE)
