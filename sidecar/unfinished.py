"""A restore over an instance in use that was cut short: brought to its end, or back to what was there before."""

import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from sidecar.archive.source import Source
from sidecar.carry_out import settle, start
from sidecar.claim import check_mark
from sidecar.database.dump import newest_migration
from sidecar.database.load import enable_events
from sidecar.database.objects import contents_but_mark, marked, tables_but_mark
from sidecar.errors import Damaged, Interrupted, KimaiBackupError, Refused
from sidecar.gate import migration_of
from sidecar.killed import find_killed, take_back
from sidecar.kimai.target import Rest
from sidecar.manifest import Manifest
from sidecar.precheck import check, read_whole
from sidecar.replace import STAYS_STOPPED, after_failure, replace
from sidecar.restore import restore
from sidecar.restore_job import Job, Report, add, add_left
from sidecar.restore_note import Replacing, RestoreNote
from sidecar.restore_report import reported
from sidecar.rollback import roll_back, whole_safety
from sidecar.undisturbed import tidying_undisturbed
from sidecar.unwritten import Known, check_same, holds, known_files, refuse_written_database, refuse_written_files

NONE = "no restore over an instance in use was cut short here"


def resume(job: Job, *, discard: bool = False, dry_run: bool = False) -> Report:
    """Bring the restore to its end: the instance is wholly the backup then. Raises `Refused` where there is none.

    `discard`: what was written to an instance that Kimai was cut short in migrating may go.
    """
    note, replacing = _unfinished(job)
    if note.phase == "begun":
        return _begin_anew(job, replacing, dry_run=dry_run)
    with job.state.lock("restore"), reported(job, note.backup, dry_run=dry_run, resume=True) as report:
        note, replacing = _unfinished(job)
        report.backup = note.backup
        if note.is_settled:
            _tidy_up(job, note, report, dry_run=dry_run)
            return report
        report.safety = note.safety
        report.check(f"the restore of {note.backup} was cut short: {_how_far(note)}")
        go_on = _finish if _is_whole(job, note, discard=discard) else _replace_again
        go_on(job, note, replacing, report, dry_run=dry_run)
        return report


def _begin_anew(job: Job, replacing: Replacing, *, dry_run: bool) -> Report:
    """Nothing was touched. `reopen`, as it may be another instance's backup."""
    wish, anew = replacing.wish, dataclasses.replace(job, open_backup=job.reopen)
    return restore(
        anew, replacing.reference, only=wish.only, allowed=wish.allowed, replace=True, anew=True, dry_run=dry_run
    )


def rollback(job: Job, *, discard: bool = False, dry_run: bool = False) -> Report:
    """Put back what was there before the restore. Raises `Refused` where there is nothing to be put back.

    `discard`: what was written to the restored instance since may go.
    """
    _cut_short(job)
    with job.state.lock("restore"), reported(job, "", dry_run=dry_run, rollback=True, discard=discard) as report:
        note = _cut_short(job)
        report.backup, report.is_rolled_back = note.backup, True
        if note.is_settled:
            raise Refused(
                f"the restore of {note.backup} had reached its end, so there is nothing to roll back",
                mend=f"To go back all the same: `kimai-backup restore {note.safety} --replace`.",
            )
        report.check(f"the restore of {note.backup} was cut short: {_how_far(note)}")
        known = None
        if note.phase == "in place" and not discard:
            # While Kimai may still run; it is asked once more when that is stopped, and the tables are locked.
            known = known_files(job, note)
            refuse_written_files(job, note, known)
            refuse_written_database(job, note)
        is_touched = note.phase != "begun"
        if dry_run:
            report.steps.append(f"would put {note.safety} back" if is_touched else "would let Kimai run again")
            return report
        with tidying_undisturbed(), job.kimai.at_rest(was_running=note.was_running, half=is_touched) as rest:
            if is_touched:
                _roll_back(job, note, rest, report, known)
            else:
                _leave_as_it_is(job, rest, report)
        if not is_touched:
            # Once Kimai runs again.
            job.state.clear_restore_note()
            report.step("nothing had been touched, or all was put back already")
        return report


def _leave_as_it_is(job: Job, rest: Rest, report: Report) -> None:
    """Nothing was touched by this one, but files may be left of one before it whose journal is lost."""
    for leftover in job.kimai.leftovers():
        for line in job.kimai.recover(leftover.run_id):
            report.lack(line)
    if rest.is_wanted:
        rest.start()


def _roll_back(job: Job, note: RestoreNote, rest: Rest, report: Report, known: Known | None) -> None:
    try:
        roll_back(job, note, rest, report, known=None if known is None else lambda: known)
    except BaseException as error:
        if isinstance(error, Refused) and note.phase == "in place":
            add(error, STAYS_STOPPED)
        else:
            add_left(error, f"{note.mend} {STAYS_STOPPED}")
        raise


def _unfinished(job: Job) -> tuple[RestoreNote, Replacing]:
    note = _cut_short(job)
    if note.replacing is None:
        raise Refused(NONE, mend=note.mend)
    return note, note.replacing


def _cut_short(job: Job) -> RestoreNote:
    """The note of a restore over an instance in use, or of any that had touched nothing yet."""
    note = job.state.restore_note()
    if note is None or (note.replacing is None and note.phase != "begun"):
        mend = note.mend if note is not None and note.is_between else "`kimai-backup health` tells how things are."
        raise Refused(NONE, mend=mend)
    if note.database != job.redacted_url:
        raise Refused(
            f"the restore of {note.backup} that was cut short went into {note.database}, "
            f"DATABASE_URL is {job.redacted_url}",
            mend="Set DATABASE_URL to that database once more.",
        )
    if note.phase == "rolling back" and note.replacing is not None and note.replacing.about_to_drop:
        with closing(job.connect()) as session:
            if marked(session) == note.run_id and tables_but_mark(session) >= note.replacing.about_to_drop:
                # Killed before the first of them was.
                note.phase = "in place"
    return note


def _how_far(note: RestoreNote) -> str:
    return {
        "begun": "nothing had been touched",
        "in place": "database and files are in place, and Kimai had not shown yet that it works",
        "rolling back": "what was there before was being put back",
        "settled": "it had reached its end",
    }.get(note.phase, "what was there is half replaced")


def _check_again(
    job: Job, source: Source, replacing: Replacing, saved: Manifest, report: Report, *, is_marked: bool
) -> None:
    """All that must be right before anything is dropped; without the mark it must be what the safety backup holds."""
    wish = replacing.wish
    check(job, source, only=wish.only, allowed=wish.allowed, resumed=True).tell(source, report)
    with closing(job.connect()) as session:
        is_strange = not is_marked and bool(contents_but_mark(session))
    if is_strange and not holds(job, saved.database):
        raise Refused(
            "the database doesn't bear this restore's mark, and was written to since its safety backup was made",
            mend="`kimai-backup restore --rollback` leaves it as it is; then restore with --replace again.",
        )


def _is_whole(job: Job, note: RestoreNote, *, discard: bool) -> bool:
    """Whether all is in place. Raises `Refused` where Kimai was cut short in migrating it, unless that may go."""
    if note.phase != "in place":
        return False
    if not _is_half_migrated(job, note):
        return True
    if not discard:
        raise Refused(
            f"Kimai was cut short in migrating the database of {note.backup}, and nobody can tell whether it was "
            "written to since",
            mend="If that can go: `kimai-backup restore --resume --discard-killed` begins anew, "
            f"`kimai-backup restore --rollback --discard-killed` puts {note.safety} back.",
        )
    return False


def _is_half_migrated(job: Job, note: RestoreNote) -> bool:
    """Whether Kimai was cut short in migrating it: as migrations can't be taken up again, all begins anew then.

    Where nobody knows what its code wants, Kimai is to find that out.
    """
    known = job.kimai.newest_migration() if note.upgrading else None
    if known is None:
        return False
    session = job.connect()
    try:
        stored = newest_migration(session)
    finally:
        session.close()
    return stored is None or migration_of(stored) != known


def _replace_again(job: Job, note: RestoreNote, replacing: Replacing, report: Report, *, dry_run: bool) -> None:
    """From the first drop on, unless nothing has been dropped yet."""
    with job.reopen(replacing.reference) as source:
        check_same(source, note)
        read_whole(job, source, report)
        is_marked = _is_marked(job, note)
        with whole_safety(job, note, is_dropped=is_marked) as safety:
            saved = safety.manifest
        if saved is None:
            raise Damaged(f"{note.safety} has no manifest, so it is no safety backup")
        _check_again(job, source, replacing, saved, report, is_marked=is_marked)
        if dry_run:
            report.steps.append(f"would restore from its beginning; where that fails, {note.safety} is put back")
            return
        with tidying_undisturbed(), job.kimai.at_rest(was_running=note.was_running, half=True) as rest:
            replace(job, source, note, replacing.wish, saved, rest, report)


def _finish(job: Job, note: RestoreNote, replacing: Replacing, report: Report, *, dry_run: bool) -> None:
    """What is in place already: let Kimai show that it works, and keep it; where it does not, roll back.

    But not what was written to it since, by which it stays as it is.
    """
    if dry_run:
        report.steps.append(f"would let Kimai show that it works; where it does not, {note.safety} is put back")
        return
    with (
        _backup_if_there(job, replacing, report) as source,
        tidying_undisturbed(),
        job.kimai.at_rest(was_running=note.was_running, half=True) as rest,
    ):
        try:
            start(job, source, replacing.wish, rest, report)
            _enable_events(job, replacing)
            settle(job, note, _InPlace(job))
        except BaseException as error:
            after_failure(job, note, rest, report, error, known=lambda: known_files(job, note))
            raise
        job.state.clear_restore_note()
        report.step(f"{note.backup} is restored")


def _is_marked(job: Job, note: RestoreNote) -> bool:
    """Whether what was in the database is dropped, or begun to be."""
    with closing(job.connect()) as session:
        its = marked(session)
        check_mark(its, note)
        return its is not None


@contextmanager
def _backup_if_there(job: Job, replacing: Replacing, report: Report) -> Iterator[Source | None]:
    """All of it is in place: without it only its APP_SECRET can't be compared."""
    with ExitStack() as opened:
        source = None
        try:
            source = opened.enter_context(job.reopen(replacing.reference))
        except Interrupted:
            raise
        except KimaiBackupError as error:
            report.note(f"nobody knows whether the APP_SECRET in force is the backup's: {error}")
        yield source


class _InPlace:
    """Files that a process which is gone has put in place."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def settle(self) -> None:
        """Keep them, and delete what was set aside for them."""
        for leftover in self._job.kimai.leftovers():
            self._job.kimai.finish(leftover.run_id)


def _enable_events(job: Job, replacing: Replacing) -> None:
    if replacing.events:
        session = job.connect()
        try:
            enable_events(session, replacing.events)
        finally:
            session.close()


def _tidy_up(job: Job, note: RestoreNote, report: Report, *, dry_run: bool) -> None:
    if dry_run:
        report.steps.append(f"{note.backup} was restored already: would tidy up what the restore had left")
        return
    take_back(find_killed(job.state, job.kimai), job.state, job.connect, job.kimai)
    report.step(f"{note.backup} was restored already: what the restore had left is tidied up")
