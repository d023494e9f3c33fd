"""Which backup a user means by `latest`, an ID, its beginning or a file, and what helps where it is none."""

import os
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Literal

from sidecar import names
from sidecar.catalog import Backup, Catalog
from sidecar.errors import NoSuchBackup, UsageError
from sidecar.manifest import DATABASE_NAME, BackupId

LATEST = "latest"
_SHOWN = 5

Command = Literal["show", "verify", "drill", "restore"]


def find(listing: Catalog, reference: str) -> Backup:
    """The backup that `latest` (never a safety backup), an ID, or the only ID that starts so means.

    Raises `NoSuchBackup`, which tells what there is, and `UsageError` where several IDs start so.
    """
    if not reference:
        raise UsageError("an empty ID names no backup", mend="Give an ID, its beginning, or `latest`.")
    if reference == LATEST:
        for backup in listing.backups:
            if not backup.id.safety:
                return backup
        raise _no_backup(listing)
    matching = [backup for backup in listing.backups if str(backup.id).startswith(reference)]
    exact = [backup for backup in matching if str(backup.id) == reference]
    if exact or len(matching) == 1:
        return (exact or matching)[0]
    if matching:
        raise UsageError(
            f"{len(matching)} backups start with {reference}: {_named(matching)}", mend="Give more of the ID."
        )
    raise NoSuchBackup(
        f"no backup of instance {listing.instance} is, or starts with, {reference}",
        mend=_what_there_is(listing),
    )


def find_for(command: Command, listing: Catalog, reference: str, folder: Path | None) -> Backup:
    """`find`, for a command; `folder` is BACKUP_DIR. A path raises `UsageError` with the command that it asks for."""
    # Who names a zip in a hurry may mean the one in BACKUP_DIR; the other commands don't take zips at all.
    wanted = reference
    if command == "restore":
        wanted = reference.removesuffix(names.ENCRYPTED_SUFFIX).removesuffix(names.ARCHIVE_SUFFIX)
    try:
        return find(listing, wanted)
    except NoSuchBackup as error:
        hint = None if reference == LATEST else _hint(command, listing, reference, folder)
        if hint is None:
            raise
        raise hint from error


def check_instance(listing: Catalog) -> None:
    """Raise `NoSuchBackup`, naming the instances that are there, where nothing of this one is, but of others."""
    if listing.instances and not (listing.backups or listing.orphans or listing.broken):
        raise _no_backup(listing)


def passed_over(listing: Catalog, latest: Backup, folder: Path | None) -> list[str]:
    """What to know of newer archives that `latest` does not mean, as they lie there without their manifest."""
    found = []
    for stray in listing.orphans:
        backup_id = names.parse(names.split(stray.key)[0])
        if backup_id is not None and not backup_id.safety and backup_id.created_at > latest.id.created_at:
            path = quote(str(folder / stray.key if folder else stray.key))
            found.append(
                f"{stray.key} on {stray.target} is newer, but has no manifest beside it, so `latest` does not mean it:"
                f" `kimai-backup restore {path}` goes by the manifest inside it"
            )
    return found


# ── Paths where an ID is asked for ───────────────────────────────────────────────────────────────────────────


def _hint(command: Command, listing: Catalog, reference: str, folder: Path | None) -> UsageError | None:
    path = Path(reference)
    if _is_folder(path):
        return UsageError(f"{reference} is a folder", mend=_for_folder(command, path, folder))
    if folder is not None and os.sep not in reference and not _is_file(path):
        path = folder / reference
    in_folder = folder is not None and _same(path.parent, folder)
    stem, suffix = names.split(path.name)
    backup_id = names.parse(stem)
    if in_folder and suffix and backup_id is not None and _is_there(listing, backup_id):
        other = f" --instance {backup_id.instance}" if backup_id.instance != listing.instance else ""
        return UsageError(
            f"{reference} is a file, and {command} takes an ID", mend=f"`kimai-backup {command} {stem}{other}`."
        )
    if not _is_file(path):
        return None
    if command == "restore":
        return UsageError(f"{reference} is not the path of a zip", mend=_for_file(path, stem, suffix))
    mend = "`kimai-backup list` shows the IDs."
    if suffix in names.ARCHIVE_SUFFIXES:
        mend = f"What lies elsewhere, `kimai-backup restore {quote(str(path))} --dry-run` checks, and touches nothing."
    return UsageError(f"{reference} is a file, and {command} takes an ID", mend=mend)


def _for_folder(command: Command, path: Path, folder: Path | None) -> str:
    own = folder is not None and _same(path, folder)
    if command == "restore":
        if own:
            return "Backups in BACKUP_DIR go by their IDs: `kimai-backup restore latest`."
        if _is_file(path / DATABASE_NAME):
            return "Name the zip that it was unpacked from, or see README, Restore by hand."
        newest = _newest_zip(path)
        return (
            f"Name the zip: `kimai-backup restore {quote(str(path / newest))}`." if newest else "There is no zip in it."
        )
    does = "verify" if command == "verify" else "list"
    if own:
        return f"`kimai-backup {does}` looks at all that is in it."
    return f"For the backups in it: `BACKUP_DIR={quote(str(path))} kimai-backup {does}`."


def _for_file(path: Path, stem: str, suffix: str) -> str:
    if suffix in names.ARCHIVE_SUFFIXES:
        return f"It has no manifest beside it: `kimai-backup restore {quote(str(path))}` goes by the one inside it."
    if suffix:
        archives = [path.with_name(stem + each) for each in names.ARCHIVE_SUFFIXES]
        for archive in archives:
            if _is_file(archive):
                return f"It tells of a zip: `kimai-backup restore {quote(str(archive))}`."
        return f"It tells of a zip, {archives[0].name}, and there is no zip beside it."
    return "Give an ID, `latest`, or a path that ends in .zip or .zip.age."


def _newest_zip(path: Path) -> str | None:
    """The newest backup in a folder, else the last zip by name; None where none can be seen."""
    try:
        found = [name for name in os.listdir(path) if name.endswith(names.ARCHIVE_SUFFIXES)]  # noqa: PTH208
    except OSError:
        return None
    dated = [(backup_id.created_at, name) for name in found if (backup_id := names.parse(names.split(name)[0]))]
    return max(dated)[1] if dated else max(found, default=None)


def _is_file(path: Path) -> bool:
    """Unlike Path's, it raises for no name at all: too long, or below a folder that this user may not enter."""
    return os.path.isfile(path)  # noqa: PTH113


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112


def _same(path: Path, folder: Path) -> bool:
    return os.path.realpath(path) == os.path.realpath(folder)


def _is_there(listing: Catalog, backup_id: BackupId) -> bool:
    if backup_id.instance != listing.instance:
        return backup_id.instance in listing.instances
    return any(backup.id == backup_id for backup in listing.backups)


# ── What there is ────────────────────────────────────────────────────────────────────────────────────────────


def _no_backup(listing: Catalog) -> NoSuchBackup:
    return NoSuchBackup(f"instance {listing.instance} has no backup", mend=_what_there_is(listing))


def _what_there_is(listing: Catalog) -> str:
    parts = [f"There is: {_named(listing.backups)}."] if listing.backups else []
    others = [name for name in listing.instances if name != listing.instance]
    if others:
        parts.append(f"Other instances (--instance): {', '.join(others)}.")
    if listing.failures:
        parts.append(f"Not listed: {'; '.join(failure.what for failure in listing.failures)}.")
    if listing.orphans:
        parts.append(f"Without a manifest: {', '.join(stray.key for stray in listing.orphans[:_SHOWN])}.")
    return " ".join(parts) or "No target holds any backup: check BACKUP_DIR, S3_BUCKET and S3_PREFIX."


def _named(backups: Sequence[Backup]) -> str:
    shown = [str(backup.id) for backup in backups[:_SHOWN]]
    more = len(backups) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
