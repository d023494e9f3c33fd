"""What of the target a restore leaves as it is: settings in force, and single files that are mounts of their own."""

from sidecar.archive.source import Source
from sidecar.errors import ConfigurationError, Refused
from sidecar.kimai.beneath import SMALL_LIMIT, exact_path
from sidecar.kimai.environment import GENERATED_FILE, MIRROR_FILE, parse, plan_env
from sidecar.kimai.target import Target
from sidecar.kimai.userdata import LOCAL_YAML, moved_data
from sidecar.manifest import File

BLOCK = 1 << 20
"""Bytes of a file compared at once."""


def settings_beside(kimai: Target, source: Source, database_url: str) -> dict[str, str]:
    """Which `.env*` of the backup go beside the one in force, and under what name (`plan_env`)."""
    anew = made_anew(kimai, source)
    environments = {
        file.path: _small(source, file)
        for file in source.files
        if file.path.startswith(".env") and file.kind == "file" and file.path not in anew
    }
    return plan_env(kimai.read, environments, database_url)


def made_anew(kimai: Target, source: Source) -> list[str]:
    """What the target's start writes itself from other files of the backup: an `.env.local` with only the secret in it.

    Restored it would only lie beside the new one, and look like something to be heeded.
    """
    there = {file.path: file for file in source.files if file.kind == "file"}
    if not kimai.mirrors_secret or GENERATED_FILE not in there or MIRROR_FILE not in there:
        return []
    try:
        values = parse(_small(source, there[MIRROR_FILE]), MIRROR_FILE, {})
    except ConfigurationError:
        return []  # plan_env says what is wrong with it
    return [MIRROR_FILE] if values.keys() <= {"APP_SECRET"} else []


def moved_by_backup(kimai: Target, source: Source) -> list[str]:
    """Where the backup's own local.yaml puts Kimai's data, relative to the root."""
    local = next((file for file in source.files if file.path == LOCAL_YAML and file.kind == "file"), None)
    return moved_data(kimai.root, _small(source, local)) if local else []


def mounts_left_alone(kimai: Target, source: Source, database_url: str) -> list[str]:
    """The files of the backup whose place is a mount of its own, and holds the same content already.

    Raises `Refused` where it holds another one: no rename can put anything there. `OSError` where a mounted file
    can't be read.
    """
    mounted = kimai.mounted_files(source.files, moved_by_backup(kimai, source))
    beside = settings_beside(kimai, source, database_url) if mounted else {}
    alone = []
    for file in source.files:
        path = exact_path(file)
        if path not in mounted or file.path in beside:
            continue
        if not _is_equal(kimai, source, file):
            raise Refused(
                f"{file.path} is a mount of a single file, and the backup's differs: nothing can take its place",
                mend="Unmount it for the restore, or restore with --only database and copy the files by hand.",
            )
        alone.append(file.path)
    return alone


def _small(source: Source, file: File) -> bytes:
    with source.open(file.path) as stream:
        return stream.read(SMALL_LIMIT)


def _is_equal(kimai: Target, source: Source, file: File) -> bool:
    if file.kind != "file":
        return False
    with kimai.open(exact_path(file)) as there, source.open(file.path) as wanted:
        while block := wanted.read(BLOCK):
            if there.read(len(block)) != block:
                return False
        return not there.read(1)
