"""Which files make up a Kimai instance, and how each of them is found and read."""

import errno
import hashlib
import logging
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Self

import msgspec

from sidecar.kimai.beneath import (
    FILE_FLAGS,
    STAGING_PREFIX,
    exact_path,
    is_within,
    list_names,
    open_folder,
    open_root,
    parent_of,
    relative_to,
)
from sidecar.kimai.userdata import BY_SETTING, NOT_USER_DATA, outermost, user_data
from sidecar.manifest import File

log = logging.getLogger(__name__)

CHUNK = 1 << 20
DEPTH_LIMIT = 100
"""Folders within folders; each one open holds a file descriptor."""

GROWTH_LIMIT = 64 << 20
"""Bytes that a file may grow while it is read; one that grows faster than it is read would never end."""

Escape = Callable[[bytes], str]
"""Writes a path's bytes as text that an archive can hold; equal to the path wherever that is plain UTF-8."""


class Survey:
    """What is there to back up, in order, and what could not be had; `open` adds to the latter while reading.

    `entries` are all files, folders (empty ones, too) and links; sizes in bytes, `mode` as st_mode, type included.
    `missing`: expected and not there, or beyond reach. `unreadable`, `changed` (while read, or vanished before):
    names as text. `skipped`: sockets, devices and pipes. `uncovered_links`: links to what is not in the backup.
    """

    def __init__(self, root: Path, escape: Escape) -> None:
        self.entries: list[File] = []
        self.missing: list[str] = []
        self.unreadable: list[str] = []
        self.changed: list[str] = []
        self.skipped: list[str] = []
        self.uncovered_links: list[str] = []
        self._root = root
        self._escape = escape

    @property
    def size(self) -> int:
        """Bytes of all files together, as the walk met them."""
        return sum(entry.size for entry in self.entries)

    def open(self, entry: File) -> "Reading | None":
        """Open one of the regular files; None, and its name in `changed` or `unreadable`, if it can't be."""
        folder, name = parent_of(exact_path(entry))
        try:
            root = open_root(self._root)
            try:
                parent = open_folder(root, folder)
            finally:
                os.close(root)
            try:
                descriptor = os.open(name, FILE_FLAGS, dir_fd=parent)
            finally:
                os.close(parent)
        except OSError as error:
            gone = error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)
            _name(self.changed if gone else self.unreadable, entry.path, error)
            return None
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            _name(self.changed, entry.path, "no file any more")
            return None
        return Reading(descriptor, _record(exact_path(entry), status, self._escape), self)


class Reading:
    """One open file: its chunks, hashed on their way, and after the last one its true record.

    Iterate once. `file` has size and SHA-256 of the bytes that were given out; if the file was written to
    meanwhile, `Survey.changed` names it. Closed after the last chunk, or by `close`.
    """

    def __init__(self, descriptor: int, file: File, survey: Survey) -> None:
        self.file = file
        self._descriptor = descriptor
        self._survey = survey

    def __iter__(self) -> Iterator[bytes]:
        """Read to the end. A read fault ends the file there, and `Survey.unreadable` names it."""
        digest = hashlib.sha256()
        size = 0
        before = os.fstat(self._descriptor)
        try:
            while size <= before.st_size + GROWTH_LIMIT and (chunk := self._read()):
                digest.update(chunk)
                size += len(chunk)
                yield chunk
            after = os.fstat(self._descriptor)
        finally:
            self.close()
        self.file = msgspec.structs.replace(self.file, size=size, sha256=digest.hexdigest())
        if size != before.st_size or (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            _name(self._survey.changed, self.file.path, "written to while it was read")

    def _read(self) -> bytes:
        try:
            return os.read(self._descriptor, CHUNK)
        except OSError as error:
            _name(self._survey.unreadable, self.file.path, error)
            return b""

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def survey(
    root: Path,
    *,
    escape: Escape,
    exclude: Iterable[Path] = (),
    previous_paths: Iterable[str] = (),
    previous_missing: Iterable[str] = (),
) -> Survey:
    """Find what makes up the instance, without following a link and without reading a file.

    `exclude`: folders that are not Kimai's, such as a backup target within `var/data`. `previous_paths`: the paths
    of the backup before this one; what was in it at the top and is gone, or has nothing in it any more, counts as
    missing, and so does what that one missed (`previous_missing`) until it is back. Raises `ConfigurationError` where
    the root itself can't be opened.
    """
    result = Survey(root, escape)
    paths, uncovered = user_data(root)
    left_out = {path.encode() for path in NOT_USER_DATA}
    left_out |= {inside for path in exclude if (inside := relative_to(path, root))}
    walk = _Walk(result, escape, left_out, {os.fsencode(root.resolve() / path) for path in paths})
    descriptor = open_root(root)
    try:
        for path in paths:
            walk.top(descriptor, path.encode())
    finally:
        os.close(descriptor)
    result.missing += uncovered
    named = {*result.unreadable, *result.skipped, *result.missing}
    there = {entry.path for entry in result.entries}
    # An empty folder where files were is most likely a volume that is not mounted.
    filled = _tops_with_content(there)
    missed = {path for path in previous_missing if not path.endswith(BY_SETTING)}  # settings are read anew
    had_content = _tops_with_content(set(previous_paths)) | missed
    for path in outermost([*previous_paths, *missed]):
        if path not in named and (
            path not in there or (path in had_content and path not in filled and _is_folder(path, result))
        ):
            result.missing.append(path)
    return result


def _tops_with_content(paths: set[str]) -> set[str]:
    """Every folder that another one of the paths lies in."""
    return {parent for path in paths for parent in _parents(path)}


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _is_folder(path: str, result: Survey) -> bool:
    return any(entry.path == path and entry.kind == "folder" for entry in result.entries)


class _Walk:
    """One walk over the paths of an instance, writing down what it meets."""

    def __init__(self, result: Survey, escape: Escape, left_out: set[bytes], covered: set[bytes]) -> None:
        self._result = result
        self._escape = escape
        self._left_out = left_out
        self._covered = covered
        # Root reads everything; asking would only cost time.
        self._ask = os.geteuid() != 0

    def top(self, root: int, path: bytes) -> None:
        """Write down one path of the list: what is not there under a readable parent is not missing."""
        folder, name = parent_of(path)
        text = self._escape(path)
        try:
            parent = open_folder(root, folder)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                _name(self._result.missing, text, "reached through a link, which is not followed")
            else:
                _name(self._result.unreadable, text, error)
            return
        try:
            self._meet(parent, path, name, depth=0)
        finally:
            os.close(parent)

    def _meet(self, parent: int, path: bytes, name: bytes, depth: int) -> None:
        if path in self._left_out or name.startswith(STAGING_PREFIX):
            return
        text = self._escape(path)
        try:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                self._folder(parent, path, name, status, depth)
            elif stat.S_ISLNK(status.st_mode):
                self._link(parent, path, name, status, depth)
            elif not stat.S_ISREG(status.st_mode):
                _name(self._result.skipped, text, "a socket, device or pipe")
            elif self._ask and not os.access(name, os.R_OK, dir_fd=parent, effective_ids=True):
                _name(self._result.unreadable, text, "no right to read it")
            else:
                self._result.entries.append(_record(path, status, self._escape))
        except FileNotFoundError:
            if depth:
                _name(self._result.changed, text, "vanished")
        except OSError as error:
            _name(self._result.unreadable, text, error)

    def _folder(self, parent: int, path: bytes, name: bytes, status: os.stat_result, depth: int) -> None:
        if depth > DEPTH_LIMIT:
            raise OSError(errno.ELOOP, f"more than {DEPTH_LIMIT} folders deep")
        descriptor = open_folder(parent, name)
        try:
            names = list_names(descriptor)
            self._result.entries.append(_record(path, status, self._escape))
            for each in names:
                self._meet(descriptor, path + b"/" + each, each, depth + 1)
        finally:
            os.close(descriptor)

    def _link(self, parent: int, path: bytes, name: bytes, status: os.stat_result, depth: int) -> None:
        target = os.readlink(name, dir_fd=parent)
        self._result.entries.append(_record(path, status, self._escape, target))
        resolved = os.path.realpath(f"/proc/self/fd/{parent}".encode() + b"/" + name)
        if any(is_within(resolved, covered) for covered in self._covered):
            return
        described = f"{self._escape(path)} (a link to {self._escape(target)}, which is not in the backup)"
        _name(self._result.uncovered_links if depth else self._result.missing, described, "not followed")


def _record(path: bytes, status: os.stat_result, escape: Escape, target: bytes | None = None) -> File:
    text = escape(path)
    target_text = None if target is None else escape(target)
    folder = stat.S_ISDIR(status.st_mode)
    return File(
        path=text,
        path_bytes=None if text.encode() == path else path,
        kind="folder" if folder else "file" if target is None else "link",
        size=0 if folder or target is not None else status.st_size,
        mode=status.st_mode,
        mtime=status.st_mtime_ns,
        uid=status.st_uid,
        gid=status.st_gid,
        target=target_text,
        target_bytes=None if target_text is None or target_text.encode() == target else target,
    )


def _name(names: list[str], name: str, reason: object) -> None:
    if name not in names:
        names.append(name)
        log.warning("%s: %s", name, reason)
