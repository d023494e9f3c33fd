"""Replacing an instance in use: saved, restored over, and put back as it was where anything fails."""

import logging

from sidecar.archive.source import Source
from sidecar.carry_out import carry_out
from sidecar.database.objects import MARKER, clear, contents, mark, marked
from sidecar.errors import KimaiBackupError, Refused
from sidecar.killed import take_back_database
from sidecar.kimai import console as asked
from sidecar.kimai.target import Rest
from sidecar.manifest import Kimai
from sidecar.restore_database import load_anew
from sidecar.restore_job import Job, Report
from sidecar.restore_note import RestoreNote
from sidecar.safety import save
from sidecar.undisturbed import hold
from sidecar.wish import Wish

log = logging.getLogger(__name__)


def save_and_replace(
    job: Job, source: Source, note: RestoreNote, wish: Wish, kimai: Kimai, rest: Rest, report: Report
) -> None:
    """Make the safety backup, then replace. Until that is there and was read back, a failure leaves all untouched."""
    assert note.replacing is not None  # noqa: S101 - what this module is for
    note.phase = "saving"
    job.state.write_restore_note(note)
    try:
        note.replacing.safety = save(job, kimai, report)
    except BaseException:
        job.state.clear_restore_note()
        raise
    replace(job, source, note, wish, rest, report)


def replace(job: Job, source: Source, note: RestoreNote, wish: Wish, rest: Rest, report: Report) -> None:
    """Restore over what is there, which the note's safety backup holds; where that fails, roll back.

    An error says what became of the instance. Where the rollback fails as well, Kimai stays stopped, and the note is
    there for `restore --resume` and `restore --rollback`.
    """
    note.phase = "under way"
    try:
        carry_out(job, source, note, wish, rest, report)
    except BaseException as error:
        if note.is_settled:
            raise
        after_failure(job, note, rest, report, error)
        raise


def after_failure(job: Job, note: RestoreNote, rest: Rest, report: Report, error: BaseException) -> None:
    """Roll back, and let the error that led to it say how that ended."""
    hold()
    log.warning("the restore failed: %s", error)
    try:
        roll_back(job, note, rest, report)
    except Exception as second:  # noqa: BLE001 - whatever it is, the first error must tell what became of it
        log.error("what was there is not put back: %s", second)  # noqa: TRY400 - one line
        _add(error, f"Nor could what was there before be put back ({second}). {note.mend}")
    else:
        _add(error, "All is as it was before.")


def roll_back(job: Job, note: RestoreNote, rest: Rest, report: Report) -> None:
    """Bring back what was there: the files that were set aside, and the database from the safety backup.

    Kimai is at rest meanwhile, and stays so where this fails; the note stays then, too. Raises `KimaiBackupError`.
    """
    is_wanted, rest.is_wanted = rest.is_wanted, False
    note.phase = "rolling back"
    job.state.write_restore_note(note)
    rest.stop()
    for leftover in job.kimai.leftovers():
        job.kimai.recover(leftover.run_id)
    _put_back_database(job, note, report)
    job.state.clear_restore_note()
    rest.is_wanted = is_wanted
    report.step("what was there before is put back")
    _let_run(job, rest, report)


def _put_back_database(job: Job, note: RestoreNote, report: Report) -> None:
    """Only where the database bears this restore's mark, or is empty: what bears none is not ours to drop."""
    assert note.replacing is not None and note.replacing.safety is not None  # noqa: S101, PT018 - or none was dropped
    session = job.connect()
    try:
        its = marked(session)
        if its is None and contents(session):
            report.note("the database doesn't bear this restore's mark, so it is left as it is")
            return
        check_mark(its, note)
    finally:
        session.close()
    with job.reopen(note.replacing.safety) as source:
        job.progress.phase("check the safety backup", total=source.size)
        source.verify(job.progress.advance)
        session = job.connect()
        try:
            if its is None:
                mark(session, note.run_id)
            clear(session)
        finally:
            session.close()
        load_anew(job, source, report)
    take_back_database(job.connect, [("table", MARKER)], ())


def check_mark(its: str | None, note: RestoreNote) -> None:
    """Raise `Refused` where the database bears the mark of another restore."""
    if its not in (None, note.run_id):
        raise Refused(
            "the database bears the mark of another restore, whose journal lies in another BACKUP_STATE_DIR",
            mend="End that one first, with its BACKUP_STATE_DIR.",
        )


def _let_run(job: Job, rest: Rest, report: Report) -> None:
    """Kimai again, with a cache of its own files. What fails of this loses nothing, and is said."""
    try:
        if rest.is_wanted:
            rest.start()
            job.kimai.empty_cache()
            asked.reload(job.kimai.console)
    except KimaiBackupError as error:
        report.note(f"Kimai's cache may still be of what was taken back: {error}")


def _add(error: BaseException, sentence: str) -> None:
    if isinstance(error, KimaiBackupError):
        error.mend = f"{error.mend} {sentence}".strip()
    else:
        log.error("%s", sentence)
