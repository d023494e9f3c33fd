"""The targets: whether each of them does what it must, and what of the S3 store would surprise later."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime

from sidecar.errors import ConfigurationError, Exit, KimaiBackupError
from sidecar.probes.job import Finding, Job
from sidecar.storage.base import Storage

LOOK_AT_TARGET = "Look at BACKUP_DIR: whether it is mounted, its disk, its rights."
_PROBE = b"probe"


def targets(job: Job) -> Iterator[Finding]:
    """Write, read, list and delete a probe on each target."""
    if not job.storages:
        raise ConfigurationError("there is none, so nothing can be backed up", mend="Set BACKUP_DIR or S3_BUCKET.")
    for storage in job.storages:
        what = f"target {storage.name}"
        try:
            gives_back = _gives_back(storage, f"kimai-backup-probe-{os.getpid()}")
        except KimaiBackupError as error:
            yield Finding(what, error.what, error.mend, error.exit_code)
        except OSError as error:
            yield Finding(what, str(error), LOOK_AT_TARGET, Exit.STORAGE)
        else:
            if gives_back:
                yield Finding(what, "writes, reads, lists and deletes")
            else:
                yield Finding(what, "does not give back what it was given", "", Exit.STORAGE)


def _gives_back(storage: Storage, key: str) -> bool:
    storage.put(key, _PROBE)
    try:
        with storage.open(key) as stream:
            same = stream.read() == _PROBE
        return any(found.key == key for found in storage.list()) and same
    finally:
        storage.delete(key)


def store(job: Job) -> Iterator[Finding]:
    """What of the S3 store would surprise later: another clock, versions that stay, rules that delete, locks."""
    for remark in job.remarks(datetime.now(UTC)):
        yield Finding(*remark)
