"""The files of a restore: staged beside what is there, exchanged for it, with what stays in force left alone."""

import os
from collections.abc import Mapping

import msgspec

from sidecar.archive.names import link_stays_inside, safe_path
from sidecar.archive.source import Source
from sidecar.errors import Refused
from sidecar.kept import made_anew, mounts_left_alone, moved_by_backup, settings_beside
from sidecar.kimai.aside import SetAside
from sidecar.kimai.beneath import exact_path
from sidecar.kimai.environment import BESIDE_SUFFIX
from sidecar.kimai.target import Exchange
from sidecar.manifest import File, Manifest
from sidecar.restore_job import BLOCK, Job, Report
from sidecar.restore_note import RestoreNote

_SHOWN = 3


def prepare_staging(job: Job, source: Source, note: RestoreNote, report: Report) -> Exchange:
    """A staging area that knows what moved, what is laid beside the one in force, and what it must not touch."""
    beside = settings_beside(job.kimai, source, job.database_url)
    for path, name in beside.items():
        report.note(f"the backup's {path} differs from the one in force and is laid beside it as {name}")
    staging = job.kimai.staging(note.run_id, moved_by_backup(job.kimai, source), beside)
    if note.replacing is not None:
        staging.hand_over()
    return staging


def stage_files(job: Job, source: Source, staging: Exchange, report: Report) -> None:
    """Write every file of the backup to the staging area, then exchange all of them for what is there."""
    job.progress.phase("restore the files", total=sum(file.size for file in source.files))
    alone = {*mounts_left_alone(job.kimai, source, job.database_url), *made_anew(job.kimai, source)}
    owner = job.kimai.owner()
    for file in source.files:
        if file.path in alone:
            continue
        if leads_outside(file):
            report.note(f"link {file.path} leads outside of Kimai and is not restored")
            continue
        _stage(job, source, file, file, owner, staging)
    staging.swap()
    count = sum(file.kind == "file" for file in source.files)
    report.step(f"{count} files are in place; what was there is set aside until Kimai has shown that it works")
    named = {file.path for file in source.files}
    for path in (path for path in staging.kept if path not in named):
        report.note(f"{path} is not in the backup and stays as it is")


def check_as_saved(staging: Exchange, saved: Manifest) -> None:
    """Raise `Refused` where files were set aside that a safety backup does not hold, as they came or changed since.

    Once the restore counts they are deleted.
    """
    known = {exact_path(file): file for file in saved.files}
    since = sorted(
        aside.path
        for aside in staging.set_aside()
        # What an earlier restore has laid beside is no part of a backup.
        if not aside.path.endswith(BESIDE_SUFFIX.encode()) and not _is_saved(aside, known.get(aside.path))
    )
    if since:
        shown = ", ".join(os.fsdecode(path) for path in since[:_SHOWN])
        raise Refused(
            f"{len(since)} files were written since the safety backup was made, such as {shown}",
            mend="Stop what writes to Kimai's folder, such as its web server, and begin again.",
        )


def _is_saved(aside: SetAside, saved: File | None) -> bool:
    """By content where its time differs, as not every way of reading it tells that to the nanosecond."""
    if saved is None or saved.kind != aside.kind:
        return False
    if aside.kind != "file" or (aside.size, aside.mtime) == (saved.size, saved.mtime):
        return True
    return aside.size == saved.size and aside.digest() == saved.sha256


def stage_lost(job: Job, source: Source, lost: Mapping[str, File], staging: Exchange, report: Report) -> None:
    """Bring back files that are lost: those of the backup by their path in it, each as what it is to be."""
    job.progress.phase("restore the files", total=sum(file.size for file in lost.values()))
    owner = job.kimai.owner()
    there = {file.path: file for file in source.files}
    for path, file in lost.items():
        _stage(job, source, there[path], file, owner, staging)
    staging.swap()
    count = sum(file.kind != "folder" for file in lost.values())
    report.step(f"{count} lost files are back in place; nothing else was touched")


def leads_outside(file: File) -> bool:
    """Whether it is a link out of Kimai's folder, which no restore brings."""
    if file.kind != "link":
        return False
    target = file.target_bytes if file.target_bytes is not None else (file.target or "").encode()
    return not link_stays_inside(safe_path(file.path), target)


def _stage(job: Job, source: Source, backed: File, file: File, owner: tuple[int, int], staging: Exchange) -> None:
    """Write one file of the backup to the staging area, as `file`, which may have another path."""
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
