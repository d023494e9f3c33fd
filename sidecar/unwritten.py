"""What was written to a restored instance since it was in place, by which a rollback may not take it away."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing

from sidecar.archive.source import Source
from sidecar.brief import some
from sidecar.database.compare import compare
from sidecar.database.objects import contents_but_mark
from sidecar.database.snapshot import take
from sidecar.errors import (
    ConfigurationError,
    Damaged,
    KimaiBackupError,
    NoSuchBackup,
    Refused,
    StorageAway,
    StorageFailed,
)
from sidecar.kimai.beneath import exact_path
from sidecar.kimai.environment import BESIDE_SUFFIX, GENERATED_FILE, MIRROR_FILE
from sidecar.kimai.survey import Survey
from sidecar.manifest import Database, File
from sidecar.restore_job import Job, add
from sidecar.restore_note import RestoreNote

Known = Mapping[bytes, Sequence[File]]
"""By its path, what a file may be in a restored instance: the backup's, or as it was before where it stayed."""

_SHOWN = 3


def known_files(job: Job, note: RestoreNote) -> Known:
    """What there may be of files. Raises `Refused` where nobody can tell, as the backup that was restored is lost.

    `Damaged` and `NoSuchBackup` where it is the safety backup, which a rollback can't do without.
    """
    assert note.replacing is not None  # noqa: S101 - what this module is for
    found: dict[bytes, list[File]] = defaultdict(list)
    if note.replacing.wish.only == "database":
        return found
    try:
        for reference in (note.replacing.reference, note.safety):
            with job.reopen(reference) as source:
                if reference != note.safety:
                    check_same(source, note)
                for file in source.files:
                    found[exact_path(file)].append(file)
    except (ConfigurationError, StorageAway) as error:
        add(error, "Without it nobody can tell what was written since: if that can go, pass --discard-killed.")
        raise
    except (Damaged, NoSuchBackup, StorageFailed) as error:
        if reference == note.safety and isinstance(error, Damaged | NoSuchBackup):
            tell_way_out(job, note, error, is_dropped=False)
            raise
        raise not_to_drop(note, f"nobody can tell which of its files were written since ({error.what})") from error
    return found


def tell_way_out(job: Job, note: RestoreNote, error: KimaiBackupError, *, is_dropped: bool) -> None:
    """Add to the error what to do where it is the safety backup that is lost.

    `is_dropped`: what was in the database is, or may be, so that what is left of it is of no use.
    """
    way_out = f"empty the database, remove {job.state.journal}, and restore another backup into it."
    if not is_dropped:
        ends = "--resume` keeps what is" if note.phase == "in place" else "--rollback` leaves all as it is"
        way_out = f"`kimai-backup restore {ends}."
    error.mend = f"{error.mend} Bring it back to a target. If it is lost for good: {way_out}".strip()


def check_same(source: Source, note: RestoreNote) -> None:
    """Raise `Damaged` where another backup has taken the place of the one that is restored."""
    manifest = source.manifest
    # The journal knows what it shall hold once the load had begun.
    if source.label != note.backup or (manifest and note.expected and manifest.database != note.expected):
        raise Damaged(f"{source.label} is not the backup that was being restored, {note.backup}")


def refuse_written_files(job: Job, note: RestoreNote, known: Known) -> None:
    """Raise `Refused` where files are in place that neither the backup nor what was before has so."""
    if note.replacing is None or note.replacing.wish.only == "database":
        return
    survey = job.means().instance.survey()
    made_anew = (GENERATED_FILE, MIRROR_FILE) if job.kimai.mirrors_secret else ()
    with closing(survey):
        since = [
            entry.path
            for entry in survey.entries
            if entry.kind != "folder"
            and entry.path not in made_anew
            and not entry.path.endswith(BESIDE_SUFFIX)
            and not _is_known(entry, known.get(exact_path(entry), ()), survey)
        ]
    # Of what can't be read nobody knows what it is.
    if unknown := [*survey.unreadable, *survey.changed]:
        raise not_to_drop(note, f"{some(unknown, _SHOWN)} in its folder can't be read, or changes right now")
    if since:
        raise not_to_drop(note, f"{some(since, _SHOWN)} in its folder was written since")


def _is_known(entry: File, known: Sequence[File], survey: Survey) -> bool:
    """By content where its time differs, as not every way of reading it tells that to the nanosecond."""
    alike = [file for file in known if file.kind == entry.kind]
    if entry.kind == "link":
        return any((file.target, file.target_bytes) == (entry.target, entry.target_bytes) for file in alike)
    # Docker tells no size of a second name of a file.
    alike = [file for file in alike if entry.size in (0, file.size)]
    if any((file.size, file.mtime) == (entry.size, entry.mtime) for file in alike):
        return True
    content = survey.open(entry) if alike else None
    if content is None:
        return False
    with content:
        for _ in content:
            pass
    return any(file.sha256 == content.file.sha256 for file in alike)


def holds(job: Job, expected: Database) -> bool:
    """Whether the database is just that, row for row."""
    with take(job.connect, job.connections) as snapshot:
        return not compare(snapshot, expected)


def refuse_written_database(job: Job, note: RestoreNote) -> None:
    """Raise `Refused` where the database isn't empty, and not what was restored either."""
    with closing(job.connect()) as session:
        if not contents_but_mark(session):
            return
    check_unused(note)
    if note.expected is not None and not holds(job, note.expected):
        raise written_since(note)


def check_unused(note: RestoreNote) -> None:
    """Raise `Refused` where nobody can tell whether a restored database was written to since."""
    if note.upgrading:
        raise not_to_drop(
            note, "Kimai has begun to migrate its database, so that nobody can tell what else was written"
        )
    if note.expected is None:
        raise not_to_drop(note, "the zip doesn't say what its database held, so nobody can tell what was written since")


def written_since(note: RestoreNote) -> Refused:
    """What a restored database that was written to since is not dropped by."""
    return not_to_drop(note, "its database was written to since")


def not_to_drop(note: RestoreNote, why: str) -> Refused:
    """What keeps a restored instance where it is."""
    return Refused(
        f"{note.backup} is restored, and {why}: it is not dropped",
        mend="`kimai-backup restore --resume` keeps it. If it can go, pass --discard-killed.",
    )
