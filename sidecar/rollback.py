"""Rolling back a restore over an instance in use: the files that were set aside, and the safety backup's database."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import msgspec

from sidecar.archive.source import Source
from sidecar.claim import check_mark
from sidecar.database.fits import check_largest
from sidecar.database.locked import drop_unchanged
from sidecar.database.objects import MARKER, clear, contents_but_mark, mark, marked, sign_mark
from sidecar.errors import Damaged, KimaiBackupError, NoSuchBackup, Refused, StorageFailed
from sidecar.killed import take_back_database
from sidecar.kimai import console as asked
from sidecar.kimai.target import Rest
from sidecar.restore_database import load_anew
from sidecar.restore_job import Job, Report, enter
from sidecar.restore_note import Replacing, RestoreNote
from sidecar.unwritten import Known, check_unused, holds, refuse_written_files, tell_way_out, written_since

log = logging.getLogger(__name__)


def roll_back(
    job: Job, note: RestoreNote, rest: Rest, report: Report, *, known: Callable[[], Known] | None = None
) -> None:
    """Bring back what was there. Kimai is at rest meanwhile, and stays so where this fails; the note stays then, too.

    The safety backup is there and whole before anything is changed. `known`: what was written to a restored instance
    since it was in place may not go, so that it is `Refused`. Raises `KimaiBackupError`.
    """
    rest.is_wanted = False
    rest.stop()
    if note.phase != "in place":
        known = None  # nobody can have worked with it
    if known is not None:
        refuse_written_files(job, note, known())
    # What can't be looked at would keep the files from being put back: seen before anything is dropped.
    job.kimai.leftovers()
    if _is_ours(job, note):
        with whole_safety(job, note, is_dropped=note.phase != "in place") as safety:
            _drop_what_was_restored(job, note, safety, discard=known is None)
            lacks = put_files_back(job, note)
            lacks += load_anew(job, safety, report)
    else:
        was_dropped = note.phase != "under way"
        _begin(job, note)
        lacks = put_files_back(job, note)
        lacks += _tell_whether_it_is_back(job, note) if was_dropped else []
    take_back_database(job.connect, [("table", MARKER)], ())
    for line in lacks:
        report.lack(line)
    report.step("what was there before is put back")
    _keep_that_it_is_back(job, note)
    _let_run(job, note, rest, report)
    job.state.clear_restore_note()


def put_files_back(job: Job, note: RestoreNote) -> list[str]:
    """Put back what was set aside of the files, if anything was; what can't be is returned, a sentence each.

    Raises `Refused` where the new ones count already.
    """
    assert note.replacing is not None  # noqa: S101 - what this module is for
    for leftover in job.kimai.leftovers():
        if leftover.state == "committed" and leftover.run_id == note.run_id:
            raise Refused(
                f"the restored files in {job.kimai.root} count already, and what was there before may be deleted",
                mend="Look into " + ", ".join(map(str, leftover.folders)),
            )
        if stays := job.kimai.recover(leftover.run_id):
            note.replacing.stays += stays
            job.state.write_restore_note(note)
    return list(dict.fromkeys(note.replacing.stays))


def _is_ours(job: Job, note: RestoreNote) -> bool:
    """Whether the database bears this restore's mark, or is empty: what bears none is not ours to drop."""
    session = job.connect()
    try:
        its = marked(session)
        check_mark(its, note)
        return its is not None or not contents_but_mark(session)
    finally:
        session.close()


@contextmanager
def whole_safety(job: Job, note: RestoreNote, *, is_dropped: bool) -> Iterator[Source]:
    """The safety backup, read to its end. Raises `KimaiBackupError` with what to do where it is lost.

    `is_dropped`: what was in the database is, or may be, so that what is left of it is of no use.
    """
    with ExitStack() as opened:
        try:
            source = opened.enter_context(job.reopen(note.safety))
            job.progress.phase("check the safety backup", total=source.size)
            source.verify(job.progress.advance)
        except (Damaged, NoSuchBackup) as error:
            tell_way_out(job, note, error, is_dropped=is_dropped)
            raise
        yield source


def _drop_what_was_restored(job: Job, note: RestoreNote, safety: Source, *, discard: bool) -> None:
    """Until something is dropped the journal says what it said: one that is killed before is asked the same again."""
    session = job.connect()
    try:
        if safety.manifest is not None:
            # The server may have been started again since, with another limit.
            check_largest(session, safety.manifest.database)
        if marked(session) is None:
            mark(session, note.run_id)
        if not discard and contents_but_mark(session):
            check_unused(note)
            assert note.expected is not None  # noqa: S101 - `check_unused`
            if drop_unchanged(session, note.expected, lambda tables: _begin(job, note, tables), job.progress.advance):
                raise written_since(note)
        else:
            _begin(job, note)
            sign_mark(session, note.run_id)
            clear(session)
    finally:
        session.close()


def _begin(job: Job, note: RestoreNote, about_to_drop: int = 0) -> None:
    assert note.replacing is not None  # noqa: S101 - what this module is for
    note.replacing.about_to_drop = about_to_drop
    enter(job, note, "rolling back")


def _tell_whether_it_is_back(job: Job, note: RestoreNote) -> list[str]:
    """Without the mark it was put back before a kill, or somebody has made it anew, which is returned as a sentence."""
    try:
        with whole_safety(job, note, is_dropped=False) as safety:
            if safety.manifest is not None and holds(job, safety.manifest.database):
                return []
    except (Damaged, NoSuchBackup, StorageFailed) as error:
        return [f"nobody knows whether the database is what was there, as {note.safety} can't be read: {error.what}"]
    return [f"the database bears no mark, and is not what {note.safety} holds: it is left as it is"]


def _keep_that_it_is_back(job: Job, note: RestoreNote) -> None:
    """As if nothing had been touched: all that is left to do is to start Kimai."""
    assert note.replacing is not None  # noqa: S101 - what this module is for
    replacing = Replacing(reference=note.replacing.reference, wish=note.replacing.wish)
    back = msgspec.structs.replace(note, phase="begun", objects=[], expected=None, upgrading=False, replacing=replacing)
    job.state.write_restore_note(back)
    note.phase = back.phase


def _let_run(job: Job, note: RestoreNote, rest: Rest, report: Report) -> None:
    """Kimai again, with a cache of its own files. What fails of this loses nothing, and is said."""
    rest.is_wanted = note.was_running
    if not rest.is_wanted:
        return
    try:
        rest.start()
    except KimaiBackupError as error:
        report.lack(f"Kimai has all that it had, and does not start: {error}")
        return
    try:
        job.kimai.empty_cache()
        asked.reload(job.kimai.console)
    except KimaiBackupError as error:
        report.lack(f"Kimai's cache may still be of what was taken back: {error}")
