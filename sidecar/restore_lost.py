"""Restore what was lost: some tables or files of a backup into a Kimai that is otherwise in use, and nothing else."""

import os
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace

import msgspec

from sidecar.archive.names import escape_name
from sidecar.archive.source import Source
from sidecar.brief import some
from sidecar.carry_out import begun, bring_up, leave_note, settle_and_tidy_up, stopped_on_failure
from sidecar.database.load import Load
from sidecar.errors import Refused
from sidecar.kept import moved_by_backup, settings_beside
from sidecar.killed import Killed, check_same_database, find_killed, take_back
from sidecar.kimai.environment import GENERATED_FILE
from sidecar.kimai.target import Exchange, Rest
from sidecar.manifest import Database, File
from sidecar.pick import folders_above, pick_files, pick_tables
from sidecar.placed import check_placed
from sidecar.precheck import Checked, read_whole
from sidecar.precheck_lost import check_gate, check_tables
from sidecar.restore_files import leads_outside, stage_lost
from sidecar.restore_job import Job, Report, enter, new_note
from sidecar.restore_note import RestoreNote
from sidecar.restore_report import reported
from sidecar.restore_tables import bring, bringing
from sidecar.undisturbed import tidying_undisturbed
from sidecar.whose_secret import tell as tell_secret
from sidecar.wish import RULE, Allowed, Part, Wish

_SHOWN = 5


@dataclass(frozen=True)
class Lost:
    """What is to come back: tables with their triggers, and files by their path in the backup, each as it is to be."""

    tables: Database | None = None
    files: dict[str, File] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The tables' names."""
        return [table.name for table in self.tables.tables] if self.tables else []

    @property
    def described(self) -> str:
        """The tables and files in few words, folders only where nothing else is lost; empty where nothing is."""
        files = [path for path, file in self.files.items() if file.kind != "folder"] or list(self.files)
        return some([*self.names, *files], _SHOWN)

    @property
    def only(self) -> Part:
        """Which half of Kimai it belongs to, for what is asked of Kimai afterwards."""
        return "database" if self.tables else "files"


def restore_lost(
    job: Job,
    reference: str,
    *,
    tables: Sequence[str] = (),
    files: Sequence[str] = (),
    allowed: Allowed = RULE,
    discard_killed: bool = False,
    dry_run: bool = False,
) -> Report:
    """Bring back tables and files by their names. Nothing that is there is touched; what fails is taken back.

    Raises `UsageError` for a name that the backup doesn't have, `Refused` where something is in a place.
    """
    given = {"tables": list(tables), "files": list(files), **asdict(allowed), "discard_killed": discard_killed}
    with job.state.lock("restore"), reported(job, reference, dry_run=dry_run, **given) as report:
        killed = find_killed(job.state, job.kimai)
        if killed.is_unfinished:
            job.state.refuse_while_restoring()
        with job.open_backup(reference) as source:
            report.backup = source.label
            picked = _pick(job, source, tables, files)
            read_whole(job, source, report)
            taken_back = _check_killed(job, killed, picked.names, discard=discard_killed)
            checked = Checked()
            lost = _check(job, source, picked, killed, taken_back, allowed, checked)
            checked.tell(source, report)
            if killed:
                report.note(f"{killed}: what it made is {'to be ' if dry_run else ''}taken back first")
            if dry_run:
                report.steps += _plan(lost)
                return report
            if not (lost.tables or lost.files or killed):
                _tell_end(lost, report)
                return report
            was_running = job.kimai.runs or (killed.note is not None and killed.note.was_running)
            note = new_note(job, source, was_running=was_running)
            note.tables, note.files = lost.names, _as_asked(files)
            job.progress.phase("stop Kimai")
            with (
                begun(job, note, after=killed),
                tidying_undisturbed(),
                job.kimai.at_rest(was_running=was_running) as rest,
            ):
                if killed:
                    take_back(killed, job.state, job.connect, job.kimai, discard=discard_killed, then=note)
                    lost = _look_again(job, source, picked, lost, killed, report)
                _carry_out(job, source, lost, note, Wish(lost.only, allowed), rest, report)
        return report


def _pick(job: Job, source: Source, tables: Sequence[str], files: Sequence[str]) -> Lost:
    if tables and source.manifest is None:
        raise Refused(
            f"{source.label} is no backup of kimai-backup: it doesn't say what each table held, so none can be shown "
            "to have come back whole by itself",
            mend="Restore it whole, into another database.",
        )
    chosen = pick_files(files, source.files, str(job.kimai.root))
    return Lost(
        tables=pick_tables(tables, source.manifest.database) if tables and source.manifest else None,
        files={file.path: file for file in chosen},
    )


def _check_killed(job: Job, killed: Killed, tables: Collection[str], *, discard: bool) -> list[str]:
    """The tables that a killed restore of tables put in place and that go first. Raises `Refused` as `check_placed`."""
    note = killed.note
    if note is None or killed.done or not note.objects:
        return []
    check_same_database(note, job.redacted_url)
    if not note.tables:
        raise Refused(f"{killed}, of the whole database", mend=note.mend)
    return check_placed(note, job.connect, killed.journal, tables=tables, discard=discard)


def _check(
    job: Job,
    source: Source,
    picked: Lost,
    killed: Killed,
    taken_back: Collection[str],
    allowed: Allowed,
    checked: Checked,
) -> Lost:
    """What of the picked is to be brought. Raises `Refused`, `Unreachable` at the first thing that keeps it away."""
    check_gate(job, source, picked.tables, picked.files.values(), allowed, checked)
    if picked.tables is not None and source.manifest is not None:
        mark = killed.note.run_id if killed.note and killed.note.objects else None
        check_tables(job, source.manifest.database, picked.tables, taken_back, mark, checked)
    if not picked.files or killed.folders:  # `_look_again`
        return picked
    return replace(picked, files=_lost_files(job, source, picked.files, checked))


def _look_again(job: Job, source: Source, picked: Lost, lost: Lost, killed: Killed, report: Report) -> Lost:
    """Which files are lost could not be seen while those of a killed restore lay there."""
    if not killed.folders or not picked.files:
        return lost
    checked = Checked()
    files = _lost_files(job, source, picked.files, checked)
    for line in checked.found:
        report.step(line)
    for line in checked.warnings:
        report.note(line)
    return replace(lost, files=files)


def _lost_files(job: Job, source: Source, picked: dict[str, File], checked: Checked) -> dict[str, File]:
    """Those that are not there, and the folders on the way to them that aren't either. Raises `Refused`."""
    narrow = replace(source, files=tuple(picked.values()))
    beside = settings_beside(job.kimai, narrow, job.database_url)
    checked.warnings += [
        f"the backup's {path} differs from the one in force and is laid beside it as {name}"
        for path, name in beside.items()
    ]
    wanted = {file.path: file for file in (*folders_above(picked.values(), source.files), *picked.values())}
    wanted |= {path: msgspec.structs.replace(wanted[path], path=name, path_bytes=None) for path, name in beside.items()}
    also = moved_by_backup(job.kimai, source)
    compared = job.kimai.compare(list(wanted.values()), also)
    if compared.taken:
        raise Refused(
            f"{some([file.path for file in compared.taken], _SHOWN)} in Kimai's folder is there and differs from the "
            "backup's: nothing is put in its place",
            mend="Move it away, and run it again.",
        )
    checked.warnings += [
        f"link {file.path} leads outside of Kimai and is not restored" for file in compared.lost if leads_outside(file)
    ]
    missing = {file.path for file in compared.lost if not leads_outside(file)}
    lost = {path: file for path, file in wanted.items() if file.path in missing}
    equal = sum(file.kind != "folder" for file in compared.equal)
    if equal:
        checked.found.append(f"{equal} of the files are there as the backup has them, and stay")
    if lost:
        checked.found += job.kimai.check(list(lost.values()), also)
    return lost


def _plan(lost: Lost) -> list[str]:
    lines = []
    if lost.tables:
        rows = sum(table.rows for table in lost.tables.tables)
        lines.append(f"would bring back {some(lost.names, _SHOWN)} ({rows} rows), compare, and look for orphans")
    files = [path for path, file in lost.files.items() if file.kind != "folder"]
    if files:
        lines.append(f"would put {len(files)} files in place: {some(files, _SHOWN)}")
    return [*lines, "would empty Kimai's cache, reload it and test it"]


def _as_asked(files: Sequence[str]) -> list[str]:
    """What the same command takes again; JSON holds no bytes that aren't UTF-8."""
    return [path if path.isprintable() else escape_name(os.fsencode(path)) for path in files]


def _carry_out(job: Job, source: Source, lost: Lost, note: RestoreNote, wish: Wish, rest: Rest, report: Report) -> None:
    """Bring it back and let Kimai show that it works; what fails is taken back."""
    enter(job, note, "under way")
    staging = None
    try:
        with (
            _tables(job, source, lost, note, report) as load,
            _files(job, source, lost, note) as staging,
            stopped_on_failure(rest, note),
        ):
            if load is not None and lost.tables is not None:
                bring(job, source, lost.tables, load, note, report)
            if staging is not None:
                stage_lost(job, source, lost.files, staging, report)
            job.progress.phase("start Kimai")
            rest.start()
            bring_up(job, wish, report)
            if any(path.startswith(".env") or path == GENERATED_FILE for path in lost.files):
                tell_secret(job.kimai, source, report)
            settle_and_tidy_up(job, note, staging, report)
    except BaseException as error:
        leave_note(job, note, error, staging, report)
        raise
    job.state.clear_restore_note()
    _tell_end(lost, report)


def _tell_end(lost: Lost, report: Report) -> None:
    report.brought = lost.described
    report.step(report.end)


def _tables(
    job: Job, source: Source, lost: Lost, note: RestoreNote, report: Report
) -> AbstractContextManager[Load | None]:
    if lost.tables is None or source.manifest is None:
        return nullcontext()
    return bringing(job, lost.tables, [table.name for table in source.manifest.database.tables], note, report)


def _files(job: Job, source: Source, lost: Lost, note: RestoreNote) -> AbstractContextManager[Exchange | None]:
    if not lost.files:
        return nullcontext()
    return job.kimai.staging(note.run_id, moved_by_backup(job.kimai, source), {}, list(lost.files.values()))
