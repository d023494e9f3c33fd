"""A restore over an instance in use that was cut short: brought to its end, or back to what was there before."""

from sidecar.archive.source import Source
from sidecar.carry_out import settle, start
from sidecar.database.compare import compare
from sidecar.database.load import enable_events
from sidecar.database.objects import contents, marked
from sidecar.database.snapshot import take
from sidecar.errors import Damaged, Refused
from sidecar.killed import find_killed, take_back
from sidecar.kimai.target import Rest
from sidecar.manifest import Database
from sidecar.precheck import check, read_whole
from sidecar.replace import after_failure, check_mark, replace, roll_back
from sidecar.restore import restore
from sidecar.restore_job import Job, Report
from sidecar.restore_note import Replacing, RestoreNote
from sidecar.restore_report import reported
from sidecar.undisturbed import tidying_undisturbed
from sidecar.wish import Wish

NONE = "no restore over an instance in use was cut short here"


def resume(job: Job, *, dry_run: bool = False) -> Report:
    """Bring the restore to its end: the instance is wholly the backup then. Raises `Refused` where there is none."""
    note, replacing = _unfinished(job)
    wish = replacing.wish
    if note.phase == "saving":
        # Nothing was touched: it begins anew.
        return restore(job, replacing.reference, only=wish.only, allowed=wish.allowed, replace=True, dry_run=dry_run)
    with job.state.lock("restore"), reported(job, note.backup, dry_run=dry_run, resume=True) as report:
        note, replacing = _unfinished(job)
        if note.is_settled:
            _tidy_up(job, note, report)
            return report
        report.check(f"the restore of {note.backup} was cut short: {_how_far(note)}")
        with job.reopen(replacing.reference) as source:
            _check_same(source, note)
            read_whole(job, source, report)
            if note.phase != "in place":
                _check_again(job, source, note, wish, report)
            if dry_run:
                ends = "let Kimai show that it works" if note.phase == "in place" else "restore from its beginning"
                report.steps.append(f"would {ends}; where that fails, {replacing.safety} is put back")
                return report
            with tidying_undisturbed(), job.kimai.at_rest(was_running=note.was_running) as rest:
                if note.phase == "in place":
                    _finish(job, source, note, wish, rest, report)
                else:
                    for leftover in job.kimai.leftovers():
                        job.kimai.recover(leftover.run_id)
                    replace(job, source, note, wish, rest, report)
        return report


def rollback(job: Job, *, discard: bool = False, dry_run: bool = False) -> Report:
    """Put back what was there before the restore. Raises `Refused` where there is nothing to be put back.

    `discard`: what was written to the restored instance since may go.
    """
    _unfinished(job)
    with job.state.lock("restore"), reported(job, "", dry_run=dry_run, rollback=True, discard=discard) as report:
        note, replacing = _unfinished(job)
        report.backup, report.is_rolled_back = note.backup, True
        if note.is_settled:
            raise Refused(
                f"the restore of {note.backup} had reached its end, so there is nothing to roll back",
                mend=f"To go back all the same: `kimai-backup restore {replacing.safety} --replace`.",
            )
        report.check(f"the restore of {note.backup} was cut short: {_how_far(note)}")
        if note.phase == "in place" and not discard and not _is_as_restored(job, note):
            raise Refused(
                f"{note.backup} is restored, and its database was written to since, so it is not dropped",
                mend="`kimai-backup restore --resume` keeps it. If it can go, pass --discard-killed.",
            )
        if dry_run:
            what = "let Kimai run again" if note.phase == "saving" else f"put {replacing.safety} back"
            report.steps.append(f"would {what}")
            return report
        with tidying_undisturbed(), job.kimai.at_rest(was_running=note.was_running) as rest:
            if note.phase == "saving":
                job.state.clear_restore_note()
                report.step("nothing had been touched")
            else:
                roll_back(job, note, rest, report)
        return report


def _unfinished(job: Job) -> tuple[RestoreNote, Replacing]:
    note = job.state.restore_note()
    if note is None or note.replacing is None:
        mend = note.mend if note is not None and note.is_between else "`kimai-backup health` tells how things are."
        raise Refused(NONE, mend=mend)
    if note.database != job.redacted_url:
        raise Refused(
            f"the restore of {note.backup} that was cut short went into {note.database}, "
            f"DATABASE_URL is {job.redacted_url}",
            mend="Set DATABASE_URL to that database once more.",
        )
    return note, note.replacing


def _how_far(note: RestoreNote) -> str:
    return {
        "saving": "nothing had been touched",
        "in place": "database and files are in place, and Kimai had not shown yet that it works",
        "rolling back": "what was there before was being put back",
        "settled": "it had reached its end",
    }.get(note.phase, "what was there is half replaced")


def _check_same(source: Source, note: RestoreNote) -> None:
    manifest = source.manifest
    # The journal knows what it shall hold once the load had begun.
    if source.label != note.backup or (manifest and note.expected and manifest.database != note.expected):
        raise Damaged(f"{source.label} is not the backup that was being restored, {note.backup}")


def _check_again(job: Job, source: Source, note: RestoreNote, wish: Wish, report: Report) -> None:
    """All that must be right before anything is dropped; without the mark it must be what the safety backup holds."""
    check(job, source, only=wish.only, allowed=wish.allowed, resumed=True).tell(source, report)
    session = job.connect()
    try:
        its = marked(session)
        check_mark(its, note)
        is_strange = its is None and bool(contents(session))
    finally:
        session.close()
    if is_strange and not _is_as_saved(job, note):
        raise Refused(
            "the database doesn't bear this restore's mark, and was written to since its safety backup was made",
            mend="`kimai-backup restore --rollback` leaves it as it is; then restore with --replace again.",
        )


def _is_as_saved(job: Job, note: RestoreNote) -> bool:
    assert note.replacing is not None and note.replacing.safety is not None  # noqa: S101, PT018 - past saving
    with job.reopen(note.replacing.safety) as safety:
        return safety.manifest is not None and _holds(job, safety.manifest.database)


def _is_as_restored(job: Job, note: RestoreNote) -> bool:
    """Nobody can tell once Kimai may have migrated it, or where the backup doesn't say what it held."""
    return not note.upgrading and note.expected is not None and _holds(job, note.expected)


def _holds(job: Job, expected: Database) -> bool:
    """Whether the database is just that, row for row."""
    with take(job.connect, job.connections) as snapshot:
        return not compare(snapshot, expected)


def _finish(job: Job, source: Source, note: RestoreNote, wish: Wish, rest: Rest, report: Report) -> None:
    """What is in place already: let Kimai show that it works, and keep it; where it does not, roll back."""
    try:
        start(job, source, wish, rest, report)
        if note.replacing is not None:
            _enable_events(job, note.replacing)
        settle(job, note, _InPlace(job))
    except BaseException as error:
        if not note.is_settled:
            after_failure(job, note, rest, report, error)
        raise
    job.state.clear_restore_note()
    report.step(f"{source.label} is restored")


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


def _tidy_up(job: Job, note: RestoreNote, report: Report) -> None:
    take_back(find_killed(job.state, job.kimai), job.state, job.connect, job.kimai)
    report.step(f"{note.backup} was restored already: what the restore had left is tidied up")
