"""Restore: check everything, then load, compare, exchange the files and let Kimai show that it works."""

import os
from dataclasses import asdict
from pathlib import Path

from sidecar.archive.source import Source
from sidecar.carry_out import begun, carry_out
from sidecar.killed import check_ours, find_killed, take_back
from sidecar.names import ARCHIVE_SUFFIXES
from sidecar.precheck import Checked, check, read_whole
from sidecar.replace import save_and_replace
from sidecar.restore_job import Job, Report, new_note
from sidecar.restore_note import Replacing
from sidecar.restore_report import reported
from sidecar.safety import identify
from sidecar.undisturbed import tidying_undisturbed
from sidecar.wish import RULE, Allowed, Part, Wish

__all__ = ["Job", "Report", "restore"]


def restore(
    job: Job,
    reference: str,
    *,
    only: Part | None = None,
    allowed: Allowed = RULE,
    replace: bool = False,
    discard_killed: bool = False,
    anew: bool = False,
    dry_run: bool = False,
) -> Report:
    """Bring a backup back. Touches nothing until every check has passed; what fails after that is taken back.

    `replace`: over a database in use, which a safety backup holds and which is put back where anything fails.
    `discard_killed`: drop what a killed restore made although it was written to since. `anew`: one that was cut short
    before it had touched anything.
    """
    wish = Wish(only, allowed)
    given = {"only": only, **asdict(allowed), "replace": replace, "discard_killed": discard_killed}
    with job.state.lock("restore"), reported(job, reference, dry_run=dry_run, **given) as report:
        killed = find_killed(job.state, job.kimai)
        if killed.is_unfinished and not anew:
            job.state.refuse_while_restoring()
        with job.open_backup(reference) as source:
            report.backup = source.label
            read_whole(job, source, report)
            check_ours(killed, job.connect, job.redacted_url, files_only=only == "files", discard=discard_killed)
            checked = check(job, source, only=only, allowed=allowed, replace=replace, passing_over=killed.objects)
            checked.tell(source, report)
            if killed and not anew:
                report.note(f"{killed}: what it made is {'to be ' if dry_run else ''}taken back first")
            if dry_run:
                report.steps += _plan(source, wish, checked)
                return report
            was_running = job.kimai.runs or (killed.note is not None and killed.note.was_running)
            note = new_note(job, source, was_running=was_running)
            note.only = only
            kimai = None
            if checked.in_use:
                kimai = identify(job, allowed)
                note.replacing = _replacing(reference, source, wish)
            job.progress.phase("stop Kimai")
            with (
                begun(job, note, after=None if anew else killed),
                tidying_undisturbed(),
                job.kimai.at_rest(was_running=was_running) as rest,
            ):
                if killed.folders or (killed and not anew):
                    take_back(killed, job.state, job.connect, job.kimai, then=note)
                if kimai is None:
                    carry_out(job, source, note, wish, rest, report)
                else:
                    save_and_replace(job, source, note, wish, kimai, rest, report)
        return report


def _replacing(reference: str, source: Source, wish: Wish) -> Replacing:
    """What to resume by: the path of a zip, from wherever that is done, or the ID that was meant."""
    is_path = reference.endswith(ARCHIVE_SUFFIXES) and os.path.exists(reference)  # noqa: PTH110 - never raises
    return Replacing(reference=str(Path(reference).absolute()) if is_path else source.label, wish=wish)


def _plan(source: Source, wish: Wish, checked: Checked) -> list[str]:
    lines = []
    if checked.in_use:
        lines.append("would make a safety backup of what is there, read it back, and then drop what is in the database")
    if wish.only != "files":
        lines.append(f"would load {source.database_name} ({source.database_size} bytes) and compare it")
    if wish.only != "database":
        lines.append(f"would put {len(source.files)} files and folders in place")
    if wish.allowed.upgrade:
        lines.append("would let Kimai migrate the database")
    return [*lines, "would empty Kimai's cache, reload it and test it"]
