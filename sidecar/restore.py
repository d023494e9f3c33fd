"""Restore: check everything, load and compare the database, exchange the files, let Kimai show that it works."""

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from typing import Literal

from sidecar.archive.source import Source
from sidecar.database.objects import MARKER
from sidecar.errors import Refused, Unreachable
from sidecar.gate import Allowed, may_migrate
from sidecar.killed import check_ours, find_killed, take_back, take_back_database
from sidecar.kimai import console as asked
from sidecar.kimai import web
from sidecar.kimai.target import Exchange, Rest
from sidecar.precheck import check
from sidecar.restore_database import load_database, loading
from sidecar.restore_files import prepare_staging, stage_files
from sidecar.restore_job import Job, Report
from sidecar.restore_report import reported
from sidecar.state import RestoreNote
from sidecar.undisturbed import hold, tidying_undisturbed, undisturbed
from sidecar.upgrade import begin as begin_migrating
from sidecar.upgrade import migrate, migrating
from sidecar.whose_secret import tell as tell_secret

__all__ = ["Job", "Report", "restore"]

log = logging.getLogger(__name__)

Part = Literal["database", "files"]

RULE = Allowed()
"""The documented rule: into the backup's own version alone."""


def restore(
    job: Job,
    reference: str,
    *,
    only: Part | None = None,
    allowed: Allowed = RULE,
    discard_killed: bool = False,
    dry_run: bool = False,
) -> Report:
    """Bring a backup back. Touches nothing until every check has passed; what fails after that is taken back.

    `discard_killed`: drop what a killed restore made although it was written to since.
    """
    given = {"only": only, **asdict(allowed), "discard_killed": discard_killed}
    with job.state.lock("restore"), reported(job, reference, dry_run=dry_run, **given) as report:
        killed = find_killed(job.state, job.kimai)
        with job.open_backup(reference) as source:
            report.backup = source.label
            job.progress.phase("check the backup", total=source.size)
            source.verify(job.progress.advance)
            report.check(f"{source.label} is whole, every byte as its manifest says")
            check_ours(killed, job.connect, job.redacted_url, files_only=only == "files", discard=discard_killed)
            checked = check(
                job,
                source,
                only=only,
                allowed=allowed,
                passing_over=killed.objects,
            )
            for line in checked.found:
                report.check(line)
            for line in (*source.warnings, *checked.warnings):
                report.note(line)
            if killed:
                report.note(f"{killed}: what it made is {'to be ' if dry_run else ''}taken back first")
            if dry_run:
                report.steps += _plan(source, only, allowed)
                return report
            job.progress.phase("stop Kimai")
            was_running = killed.note is not None and killed.note.was_running
            with tidying_undisturbed(), job.kimai.at_rest(was_running=was_running) as rest:
                if killed:
                    take_back(killed, job.state, job.connect, job.kimai)
                _carry_out(job, source, only, report, rest, allowed)
        return report


def _carry_out(job: Job, source: Source, only: Part | None, report: Report, rest: Rest, allowed: Allowed) -> None:
    root = str(job.kimai.root.resolve())
    run_id = secrets.token_hex(8)
    note = RestoreNote(
        backup=source.label, database=job.redacted_url, run_id=run_id, root=root, was_running=rest.is_wanted
    )
    job.state.write_restore_note(note)
    try:
        with (
            loading(job, source, note, report) if only != "files" else nullcontext() as load,
            prepare_staging(job, source, note, report) if only != "database" else nullcontext() as staging,
            migrating(job, note),
            stopped_on_failure(rest),
        ):
            if load is not None:
                load_database(job, source, load, report)
            if staging is not None:
                stage_files(job, source, staging, report)
            if load is not None and may_migrate(source, allowed):
                begin_migrating(job, note)
            job.progress.phase("start Kimai")
            rest.start(migrating=allowed.upgrade)
            bring_up(job, only, report, allowed)
            tell_secret(job.kimai, source, report)
            if load is not None:
                load.enable_events()
            settle(job, note, staging)
            if staging is not None:
                staging.clean_up()
                for line in staging.notes:
                    report.note(line)
    except BaseException:
        # Where taking back failed as well, the note stays: the next restore tries again.
        if note.phase == "settled" or not (note.objects or find_killed(job.state, job.kimai).folders):
            job.state.clear_restore_note()
        else:
            # Without what was taken back already: Kimai may have made something anew in its place by then.
            job.state.write_restore_note(note)
        raise
    job.state.clear_restore_note()
    report.step(f"{source.label} is restored")


@contextmanager
def stopped_on_failure(rest: Rest) -> Iterator[None]:
    """Nothing is taken back from under a Kimai that runs."""
    try:
        yield
    except BaseException:
        hold()
        try:
            rest.stop()
        except Unreachable as error:
            log.warning("Kimai is not stopped while what was made is taken back: %s", error)
        raise


def settle(job: Job, note: RestoreNote, staging: Exchange | None) -> None:
    """From here on the restore counts: nothing that happens later may take it back, and no signal comes in between."""
    with undisturbed():
        note.phase = "settled"
        try:
            job.state.write_restore_note(note)
            if staging is not None:
                staging.settle()
        except BaseException:
            note.phase = "under way"
            job.state.write_restore_note(note)
            raise
        if note.objects:
            take_back_database(job.connect, [("table", MARKER)], ())


def bring_up(job: Job, only: Part | None, report: Report, allowed: Allowed) -> None:
    """What Kimai's documentation asks for after a restore, and the proof that code and database fit."""
    job.progress.phase("bring Kimai up")
    job.kimai.empty_cache()
    asked.reload(job.kimai.console)
    try:
        version, _ = asked.read_version(job.kimai.console, job.kimai.version_file())
    except Unreachable:
        if not allowed.unknown_version:
            raise
        version = "of unknown version"
    report.step(f"Kimai {version} is reloaded, its cache built anew")
    if only == "files":
        return
    if allowed.upgrade:
        migrate(job, report)
    state = asked.migrations(job.kimai.console)
    if state != "up-to-date":
        raise Refused(f"Kimai says that the restored database doesn't fit its code ({state}): all is taken back")
    asked.list_users(job.kimai.console)
    report.step("Kimai reads its users from the restored database, and its migrations are up to date")
    if job.kimai_url:
        web.check_login(job.kimai_url)
        report.step(f"Kimai's login page answers at {web.redacted(job.kimai_url)}")


def _plan(source: Source, only: Part | None, allowed: Allowed) -> list[str]:
    lines = []
    if only != "files":
        lines.append(f"would load {source.database_name} ({source.database_size} bytes) and compare it")
    if only != "database":
        lines.append(f"would put {len(source.files)} files and folders in place")
    if allowed.upgrade:
        lines.append("would let Kimai migrate the database")
    return [*lines, "would empty Kimai's cache, reload it and test it"]
