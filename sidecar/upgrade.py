"""The way up: a newer Kimai migrates the database that was loaded, after it was shown to be the backup's."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sidecar.claim import claim
from sidecar.errors import KimaiBackupError
from sidecar.kimai import console as asked
from sidecar.restore_job import Job, Report
from sidecar.restore_note import RestoreNote
from sidecar.undisturbed import hold

log = logging.getLogger(__name__)


@contextmanager
def migrating(job: Job, note: RestoreNote) -> Iterator[None]:
    """Around what lets Kimai migrate: where it fails, all that stands in the database is taken back, whoever made it.

    The database was empty, or as good as, before the restore; what migrations make in it nobody knows beforehand.
    """
    try:
        yield
    except BaseException:
        hold()
        if note.upgrading and note.phase != "settled":
            try:
                claim(note, job.connect)
            except KimaiBackupError as error:
                log.warning("what Kimai's migrations have made can't be listed: %s", error)
        raise


def begin(job: Job, note: RestoreNote) -> None:
    """From here on Kimai may migrate: its image does at its start. Written down first, as a kill may come any time."""
    note.upgrading = True
    job.state.write_restore_note(note)


def migrate(job: Job, report: Report) -> None:
    """Let Kimai migrate; `migrations` must be asked afterwards. Raises `Unreachable` with what it printed."""
    job.progress.phase("migrate the database")
    command = asked.upgrade(job.kimai.console)
    report.upgraded = True
    report.step(f"Kimai has migrated the database (bin/console {command} -n)")
