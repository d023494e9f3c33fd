"""Carrying out a restore whose checks have passed: load, compare, exchange the files, let Kimai show that it works."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Protocol

from sidecar.archive.source import Source
from sidecar.database.objects import MARKER
from sidecar.errors import Refused, StorageFailed, Unreachable
from sidecar.gate import may_migrate
from sidecar.killed import Killed, find_killed, take_back_database
from sidecar.kimai import console as asked
from sidecar.kimai import web
from sidecar.kimai.target import Exchange, Rest
from sidecar.manifest import Manifest
from sidecar.restore_database import load_database, loading
from sidecar.restore_files import check_as_saved, prepare_staging, stage_files
from sidecar.restore_job import Job, Report, add, add_left, enter
from sidecar.restore_note import RestoreNote
from sidecar.undisturbed import hold, undisturbed
from sidecar.upgrade import begin as begin_migrating
from sidecar.upgrade import migrate, migrating
from sidecar.whose_secret import tell as tell_secret
from sidecar.wish import Wish

log = logging.getLogger(__name__)


class Settling(Protocol):
    """Files that were put in place, and are kept for good from `settle` on."""

    def settle(self) -> None:
        """Keep them: nothing puts the old ones back from here on."""


def carry_out(
    job: Job,
    source: Source,
    note: RestoreNote,
    wish: Wish,
    rest: Rest,
    report: Report,
    saved: Manifest | None = None,
) -> None:
    """Restore; what fails is taken back, but for an instance in use, of which a safety backup has `saved` all.

    That one is `replace`'s to put back.
    """
    enter(job, note, "under way")
    database = saved.database if saved is not None else None
    staging = None
    try:
        with (
            loading(job, source, note, report, database) if wish.only != "files" else nullcontext() as load,
            prepare_staging(job, source, note, report) if wish.only != "database" else nullcontext() as staging,
            migrating(job, note),
            stopped_on_failure(rest, note),
        ):
            if load is not None:
                load_database(job, source, load, report)
            if staging is not None:
                stage_files(job, source, staging, report)
                if saved is not None:
                    check_as_saved(staging, saved)
            if load is not None and may_migrate(source, wish.allowed):
                begin_migrating(job, note)
            if note.replacing is not None:
                note.replacing.events = load.events if load is not None else []
                enter(job, note, "in place")
            start(job, source, wish, rest, report)
            if load is not None:
                load.enable_events()
            settle_and_tidy_up(job, note, staging, report)
    except BaseException as error:
        leave_note(job, note, error, staging, report)
        raise
    job.state.clear_restore_note()
    report.step(f"{source.label} is restored")


def start(job: Job, source: Source | None, wish: Wish, rest: Rest, report: Report) -> None:
    """Let Kimai run on what was restored, and show that it works; without the backup whose secret counts isn't told."""
    job.progress.phase("start Kimai")
    rest.start(migrating=wish.allowed.upgrade)
    bring_up(job, wish, report)
    if source is not None:
        tell_secret(job.kimai, source, report)


def settle_and_tidy_up(job: Job, note: RestoreNote, staging: Exchange | None, report: Report) -> None:
    """Let the restore count, and delete what was set aside for it."""
    settle(job, note, staging)
    if staging is not None:
        staging.clean_up()
        for line in staging.notes:
            report.note(line)


def settle(job: Job, note: RestoreNote, files: Settling | None) -> None:
    """From here on the restore counts: nothing that happens later may take it back, and no signal comes in between."""
    with undisturbed():
        before = note.phase
        enter(job, note, "settled")
        try:
            if files is not None:
                files.settle()
        except BaseException:
            # Into an empty database the files' own journal has a say. Over one in use the note alone decides: it is
            # down, so that nothing goes back from here on.
            if note.replacing is None:
                enter(job, note, before)
            raise
        if note.objects:
            take_back_database(job.connect, [("table", MARKER)], ())


@contextmanager
def stopped_on_failure(rest: Rest, note: RestoreNote) -> Iterator[None]:
    """Nothing is taken back from under a Kimai that runs; once the restore counts, nothing is taken back at all."""
    try:
        yield
    except BaseException:
        hold()
        if note.is_settled:
            raise
        try:
            rest.stop()
        except Unreachable as error:
            log.warning("Kimai is not stopped while what was made is taken back: %s", error)
        raise


@contextmanager
def begun(job: Job, note: RestoreNote, after: Killed | None) -> Iterator[None]:
    """Put down that it has begun, before Kimai is stopped: a kill leaves nobody who would start it.

    Not where something is to be taken back first, which is told of already. Whatever fails before anything is touched
    leaves no journal, once Kimai runs again.
    """
    try:
        if after is None or after.note is None:
            job.state.write_restore_note(note)
        yield
    except BaseException:
        if note.phase == "begun":
            job.state.clear_restore_note(note.run_id)
        raise


def leave_note(job: Job, note: RestoreNote, error: BaseException, staging: Exchange | None, report: Report) -> None:
    """Let the error say what is left. Where taking back failed as well, the note stays: the next restore tries again.

    So does one that is settled, as something is left to be tidied up.
    """
    if note.is_settled or note.replacing is not None:
        return
    lacks = [*(staging.stays if staging is not None else ()), *report.gone]
    if note.objects or find_killed(job.state, job.kimai).folders:
        # Without what was taken back already: Kimai may have made something anew in its place by then.
        job.state.write_restore_note(note)
        add_left(error, " ".join(["Not all that it had made could be taken back.", note.mend, *lacks]))
        return
    try:
        # Until Kimai runs again, at which `begun` clears it.
        enter(job, note, "begun")
    except StorageFailed:
        job.state.clear_restore_note()
    if lacks:
        add_left(error, f"What it had made is taken back, but {'; '.join(lacks)}.")
    else:
        add(error, "All that it had made is taken back.")


def bring_up(job: Job, wish: Wish, report: Report) -> None:
    """What Kimai's documentation asks for after a restore, and the proof that code and database fit."""
    job.progress.phase("bring Kimai up")
    job.kimai.empty_cache()
    asked.reload(job.kimai.console)
    try:
        version, _ = asked.read_version(job.kimai.console, job.kimai.version_file())
    except Unreachable:
        if not wish.allowed.unknown_version:
            raise
        version = "of unknown version"
    report.step(f"Kimai {version} is reloaded, its cache built anew")
    if wish.only == "files":
        return
    if wish.allowed.upgrade:
        migrate(job, report)
    state = asked.migrations(job.kimai.console)
    if state != "up-to-date":
        raise Refused(f"Kimai says that the restored database doesn't fit its code ({state})")
    asked.list_users(job.kimai.console)
    report.step("Kimai reads its users from the restored database, and its migrations are up to date")
    if job.kimai_url:
        web.check_login(job.kimai_url)
        report.step(f"Kimai's login page answers at {web.redacted(job.kimai_url)}")
