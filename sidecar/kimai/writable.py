"""Whether a restore can put files below a root on this machine: room, rights, and folders that must stay folders."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from sidecar.errors import Refused
from sidecar.kimai.beneath import exact_path
from sidecar.kimai.places import Places, room
from sidecar.manifest import File


def check_writable(root: Path, files: Sequence[File], paths: Iterable[str]) -> None:
    """Raise `Refused` unless all of the files can be staged and renamed into place; `paths`: see `Places`."""
    named = set(paths)
    try:
        _check_kinds(Places(root, named), files)
        rooms = room(root, files, named)
        folders = [each.folder for each in rooms] + _exchanged_in(root, files, named)
    except OSError as error:
        raise Refused(f"KIMAI_DIR {root} can't be looked into: {error}") from error
    for each in rooms:
        if each.free < each.needed:
            raise Refused(
                f"{each.folder} has {each.free} bytes free, the files need {each.needed} beside what is there",
                mend="Make room there.",
            )
    for folder in folders:
        while not folder.exists():
            folder = folder.parent
        if not os.access(folder, os.W_OK | os.X_OK):
            raise Refused(f"{folder} can't be written to", mend="Run the restore as root, or as Kimai's own user.")


def check_cache(root: Path) -> None:
    """Raise `Refused` where the cache could not be emptied: better known before everything is loaded."""
    cache = root / "var" / "cache"
    if cache.is_symlink() or (cache.exists() and not os.access(cache, os.W_OK | os.X_OK)):
        raise Refused(
            f"{cache} is a link, or can't be written to, and a restore empties it",
            mend="Make it a folder, and run the restore as root or as Kimai's own user.",
        )


def _check_kinds(places: Places, files: Iterable[File]) -> None:
    for file in files:
        path = exact_path(file)
        if path in places.fixed and path not in places.mounted_files and file.kind != "folder":
            raise Refused(
                f"{file.path} is a {file.kind} in the backup, and a mount, or holds one, in the target",
                mend="Unmount what is below it, or restore into another Kimai.",
            )


def _exchanged_in(root: Path, files: Iterable[File], paths: Iterable[str]) -> list[Path]:
    """The folders in which a restore renames: the one above each path of user data, a mount itself."""
    named = set(paths)
    places = Places(root, named)
    mounts = {os.fsdecode(mount) for mount in places.mounts}
    names = [file.path for file in files if exact_path(file) not in places.mounted_files]
    restored = [path for path in named if any(name == path or name.startswith(f"{path}/") for name in names)]
    return sorted({root / path if path in mounts else (root / path).parent for path in restored})
