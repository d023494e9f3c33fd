"""Reaching what lies below Kimai's root without following a link on the way."""

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

from sidecar.errors import ConfigurationError
from sidecar.manifest import File

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a pipe that took a file's place would wait for ever.
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

STAGING_PREFIX = b".kimai-backup-restore-"
"""How the folders begin that a restore works in (`staging`): never part of a backup."""

SMALL_LIMIT = 1 << 20
"""Bytes that a settings file of Kimai may have; read whole, so it must be small."""

ReadSmall = Callable[[str], bytes | None]
"""Reads a settings file by its path relative to Kimai's root, as `read_small` does, wherever that root lies."""

_OCTAL = re.compile(rb"\\([0-7]{3})")


def open_root(root: Path) -> int:
    """Open Kimai's folder; the one place where a link is followed. Raises `ConfigurationError`."""
    try:
        return os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigurationError(
            f"KIMAI_DIR {root} can't be opened: {error.strerror}",
            mend="Set KIMAI_DIR to the folder that holds Kimai's bin/console, as a user that may read it.",
        ) from error


def open_folder(root: int, path: bytes) -> int:
    """Open a folder below an open one, part by part. Raises `OSError`, for a link on the way, too."""
    current = os.dup(root)
    try:
        for part in parts_of(path):
            below = os.open(part, FOLDER_FLAGS, dir_fd=current)
            os.close(current)
            current = below
    except OSError:
        os.close(current)
        raise
    return current


def list_names(folder: int) -> list[bytes]:
    """The names in an open folder, in order."""
    with os.scandir(folder) as entries:
        return sorted(os.fsencode(entry.name) for entry in entries)


def exists(root: int, path: bytes) -> bool:
    """Whether anything, a dangling link included, is at a path below an open folder. Raises `OSError`."""
    return status_of(root, path) is not None


def status_of(root: int, path: bytes) -> os.stat_result | None:
    """What is at a path below an open folder, links not followed; None for nothing. Raises `OSError`."""
    folder, name = parent_of(path)
    try:
        parent = open_folder(root, folder)
    except FileNotFoundError:
        return None
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None
    finally:
        os.close(parent)


def parts_of(path: bytes) -> list[bytes]:
    """The components of a relative path. Raises `ValueError` for one that could lead elsewhere."""
    parts = path.split(b"/") if path else []
    if any(part in (b"", b".", b"..") or b"\0" in part for part in parts):
        raise ValueError(f"{path!r} is no plain relative path")
    return parts


def parent_of(path: bytes) -> tuple[bytes, bytes]:
    """A relative path as its folder (empty for the root) and its name."""
    folder, _, name = path.rpartition(b"/")
    return folder, name


def below(folder: bytes, name: bytes) -> bytes:
    """The path of a name in a folder, which is empty for the root."""
    return folder + b"/" + name if folder else name


def is_within(path: bytes, folder: bytes) -> bool:
    """Whether a relative path is the folder or lies below it."""
    return not folder or path == folder or path.startswith(folder + b"/")


def relative_to(path: Path, root: Path) -> bytes | None:
    """Where an absolute path lies below the root, links resolved; None where it does not."""
    path, root = path.resolve(), root.resolve()
    if not path.is_relative_to(root):
        return None
    return b"" if path == root else os.fsencode(path.relative_to(root))


def exact_path(file: File) -> bytes:
    """A file's path as it was on its own file system."""
    return file.path.encode() if file.path_bytes is None else file.path_bytes


def read_small(path: Path, limit: int = SMALL_LIMIT) -> bytes | None:
    """Read a settings file whole; None where there is none. Raises `ConfigurationError` if it can't be read.

    A link is followed here: those who keep `.env` elsewhere do so on purpose, and Kimai follows it, too.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _unreadable(path, "not a file")
        try:
            content = stream.read(limit + 1)
        except OSError as error:
            raise _unreadable(path, error.strerror or str(error)) from error
    if len(content) > limit:
        raise _unreadable(path, f"larger than {limit} bytes")
    return content


def small_files(root: Path) -> ReadSmall:
    """The settings files of a Kimai on this machine."""
    return lambda path: read_small(root / path)


def _unreadable(path: Path, reason: str) -> ConfigurationError:
    return ConfigurationError(f"{path} can't be read: {reason}", mend="Run as root or as the owner of Kimai's files.")


def mounts_below(root: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> list[bytes]:
    """Every mount point below the root, relative to it; bind mounts, which no device number shows, too."""
    try:
        lines = mountinfo.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    prefix = os.fsencode(root.resolve()).rstrip(b"/") + b"/"
    points = (
        _OCTAL.sub(lambda match: bytes([int(match[1], 8)]), fields[4])
        for line in lines
        if len(fields := line.split()) > 4
    )
    return sorted({point.removeprefix(prefix) for point in points if point.startswith(prefix)})
