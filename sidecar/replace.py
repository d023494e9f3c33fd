"""Replacing an instance in use: saved, restored over, and put back as it was where anything fails."""

import logging
from collections.abc import Callable

from sidecar.archive.source import Source
from sidecar.carry_out import carry_out
from sidecar.errors import Exit, KimaiBackupError
from sidecar.kimai.target import Rest
from sidecar.manifest import Kimai, Manifest
from sidecar.restore_job import Job, Report, add, add_left, enter
from sidecar.restore_note import RestoreNote
from sidecar.rollback import put_files_back, roll_back
from sidecar.safety import save
from sidecar.undisturbed import hold
from sidecar.unwritten import Known
from sidecar.wish import Wish

log = logging.getLogger(__name__)

STAYS_STOPPED = "A Kimai in a container stays stopped until then."


def save_and_replace(
    job: Job, source: Source, note: RestoreNote, wish: Wish, kimai: Kimai, rest: Rest, report: Report
) -> None:
    """Make the safety backup, then replace. Until that is there and was read back, a failure leaves all untouched.

    The phase is `begun` then.
    """
    job.state.write_restore_note(note)
    saved = save(job, kimai, report)
    # Only once it is down may anything be touched.
    note.saved_as(saved.id)
    enter(job, note, "under way")
    replace(job, source, note, wish, saved, rest, report)


def replace(
    job: Job, source: Source, note: RestoreNote, wish: Wish, saved: Manifest, rest: Rest, report: Report
) -> None:
    """Restore over what is there, which is what the safety backup holds; where that fails, roll back.

    An error says what became of the instance. Where the rollback fails as well, Kimai stays stopped, and the note is
    there for `restore --resume` and `restore --rollback`.
    """
    rest.is_wanted = False
    note.phase, note.upgrading = "under way", False
    try:
        job.state.write_restore_note(note)
        put_files_back(job, note)
        carry_out(job, source, note, wish, rest, report, saved)
    except BaseException as error:
        after_failure(job, note, rest, report, error)
        raise


def after_failure(
    job: Job,
    note: RestoreNote,
    rest: Rest,
    report: Report,
    error: BaseException,
    *,
    known: Callable[[], Known] | None = None,
) -> None:
    """Roll back, and let the error that led to it say how that ended; one that has settled stays.

    `known`: see `roll_back`.
    """
    if note.is_settled:
        add(error, "The restore counts all the same: `kimai-backup restore --resume` tidies up.")
        return
    hold()
    log.warning("the restore failed: %s", error)
    try:
        roll_back(job, note, rest, report, known=known)
    except Exception as second:  # noqa: BLE001 - whatever it is, the first error must tell what became of it
        log.error("what was there is not put back: %s", second)  # noqa: TRY400 - one line
        code = second.exit_code if isinstance(second, KimaiBackupError) else Exit.FAULT
        add_left(error, f"Nor could what was there before be put back ({second}). {note.mend} {STAYS_STOPPED}", code)
    else:
        if report.lacks:
            add_left(error, "But for what is said above, all is as it was before.")
        else:
            add(error, "All is as it was before.")
