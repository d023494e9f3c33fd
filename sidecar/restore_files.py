"""The files of a restore: staged beside what is there, exchanged for it, with what stays in force left alone."""

from collections.abc import Mapping

import msgspec

from sidecar.archive.names import link_stays_inside, safe_path
from sidecar.archive.source import Source
from sidecar.kept import made_anew, mounts_left_alone, moved_by_backup, settings_beside
from sidecar.kimai.target import Exchange
from sidecar.manifest import File
from sidecar.restore_job import BLOCK, Job, Report
from sidecar.restore_note import RestoreNote


def prepare_staging(job: Job, source: Source, note: RestoreNote, report: Report) -> Exchange:
    """A staging area that knows what moved, what is laid beside the one in force, and what it must not touch."""
    beside = settings_beside(job.kimai, source, job.database_url)
    for path, name in beside.items():
        report.note(f"the backup's {path} differs from the one in force and is laid beside it as {name}")
    return job.kimai.staging(note.run_id, moved_by_backup(job.kimai, source), beside)


def stage_files(job: Job, source: Source, staging: Exchange, report: Report) -> None:
    """Write every file of the backup to the staging area, then exchange all of them for what is there."""
    job.progress.phase("restore the files", total=sum(file.size for file in source.files))
    alone = {*mounts_left_alone(job.kimai, source, job.database_url), *made_anew(job.kimai, source)}
    owner = job.kimai.owner()
    for file in source.files:
        if file.path not in alone:
            _stage(job, source, file, file, owner, staging, report)
    staging.swap()
    count = sum(file.kind == "file" for file in source.files)
    report.step(f"{count} files are in place; what was there is set aside until Kimai has shown that it works")
    named = {file.path for file in source.files}
    for path in (path for path in staging.kept if path not in named):
        report.note(f"{path} is not in the backup and stays as it is")


def stage_lost(job: Job, source: Source, lost: Mapping[str, File], staging: Exchange, report: Report) -> None:
    """Bring back files that are lost: those of the backup by their path in it, each as what it is to be."""
    job.progress.phase("restore the files", total=sum(file.size for file in lost.values()))
    owner = job.kimai.owner()
    there = {file.path: file for file in source.files}
    for path, file in lost.items():
        _stage(job, source, there[path], file, owner, staging, report)
    staging.swap()
    count = sum(file.kind != "folder" for file in lost.values())
    report.step(f"{count} lost files are back in place; nothing else was touched")


def _stage(
    job: Job, source: Source, backed: File, file: File, owner: tuple[int, int], staging: Exchange, report: Report
) -> None:
    """Write one file of the backup to the staging area, as `file`, which may have another path."""
    if file.kind == "link":
        target = file.target_bytes if file.target_bytes is not None else (file.target or "").encode()
        if not link_stays_inside(safe_path(file.path), target):
            report.note(f"link {file.path} leads outside of Kimai and is not restored")
            return
    if file.kind != "file":
        staging.write(_tame(file, owner))
        return
    with source.open(backed.path) as stream:
        staging.write(_tame(file, owner), iter(lambda: stream.read(BLOCK), b""))
    job.progress.advance(file.size)


def _tame(file: File, owner: tuple[int, int]) -> File:
    """Without another user's rights, as a backup may be anybody's; with an owner where the zip knows none."""
    known = file.uid >= 0
    return msgspec.structs.replace(
        file,
        # A folder's setgid lends nobody's rights: it says whose the files will be that are made in it.
        mode=file.mode & ~(0o4000 if file.kind == "folder" else 0o6000),
        uid=file.uid if known else owner[0],
        gid=file.gid if known else owner[1],
    )
