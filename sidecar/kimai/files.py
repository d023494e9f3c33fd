"""Which files make up a Kimai instance, and how each of them is found and read."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
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
from sidecar.kimai.survey import Escape, Survey, name
from sidecar.kimai.userdata import NOT_USER_DATA, user_data
from sidecar.manifest import File

CHUNK = 1 << 20
DEPTH_LIMIT = 100
"""Folders within folders; each one open holds a file descriptor."""

GROWTH_LIMIT = 64 << 20
"""Bytes that a file may grow while it is read; one that grows faster than it is read would never end."""


class Reading:
    """One open file on this machine, as `Content` says; written to meanwhile, `Survey.changed` names it."""

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
            name(self._survey.changed, self.file.path, "written to while it was read")

    def _read(self) -> bytes:
        try:
            return os.read(self._descriptor, CHUNK)
        except OSError as error:
            name(self._survey.unreadable, self.file.path, error)
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
    """Find what makes up an instance on this machine, without following a link and without reading a file.

    `exclude`: folders that are not Kimai's, such as a backup target within `var/data`. `previous_paths` and
    `previous_missing`: see `Survey.name_missing`. Raises `ConfigurationError` where the root can't be opened.
    """
    result = Survey()
    paths, uncovered = user_data(root)
    walk(result, root, paths, escape=escape, exclude=exclude, covered=paths)
    result.missing += uncovered
    result.name_missing(previous_paths, previous_missing)
    return result


def walk(
    result: Survey,
    root: Path,
    paths: Iterable[str],
    *,
    escape: Escape,
    exclude: Iterable[Path] = (),
    covered: Iterable[str] = (),
) -> None:
    """Write down what lies at the paths below the root; `covered` is all that the backup has, for what links lead to.

    Raises `ConfigurationError` where the root itself can't be opened.
    """
    named = tuple(paths)
    left_out = {path.encode() for path in NOT_USER_DATA}
    left_out |= {inside for path in exclude if (inside := relative_to(path, root))}
    one = _Walk(result, escape, left_out, {os.fsencode(root.resolve() / path) for path in covered})
    result.add_source(named, lambda entry: _open(result, root, escape, entry))
    descriptor = open_root(root)
    try:
        for path in named:
            one.top(descriptor, path.encode())
    finally:
        os.close(descriptor)


def _open(survey: Survey, root: Path, escape: Escape, entry: File) -> "Reading | None":
    folder, last = parent_of(exact_path(entry))
    try:
        top = open_root(root)
        try:
            parent = open_folder(top, folder)
        finally:
            os.close(top)
        try:
            descriptor = os.open(last, FILE_FLAGS, dir_fd=parent)
        finally:
            os.close(parent)
    except OSError as error:
        gone = error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)
        name(survey.changed if gone else survey.unreadable, entry.path, error)
        return None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        name(survey.changed, entry.path, "no file any more")
        return None
    return Reading(descriptor, _record(exact_path(entry), status, escape), survey)


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
        folder, last = parent_of(path)
        text = self._escape(path)
        try:
            parent = open_folder(root, folder)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                name(self._result.missing, text, "reached through a link, which is not followed")
            else:
                name(self._result.unreadable, text, error)
            return
        try:
            self._meet(parent, path, last, depth=0)
        finally:
            os.close(parent)

    def _meet(self, parent: int, path: bytes, last: bytes, depth: int) -> None:
        if path in self._left_out or last.startswith(STAGING_PREFIX):
            return
        text = self._escape(path)
        try:
            status = os.stat(last, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                self._folder(parent, path, last, status, depth)
            elif stat.S_ISLNK(status.st_mode):
                self._link(parent, path, last, status, depth)
            elif not stat.S_ISREG(status.st_mode):
                name(self._result.skipped, text, "a socket, device or pipe")
            elif self._ask and not os.access(last, os.R_OK, dir_fd=parent, effective_ids=True):
                name(self._result.unreadable, text, "no right to read it")
            else:
                self._result.entries.append(_record(path, status, self._escape))
        except FileNotFoundError:
            if depth:
                name(self._result.changed, text, "vanished")
        except OSError as error:
            name(self._result.unreadable, text, error)

    def _folder(self, parent: int, path: bytes, last: bytes, status: os.stat_result, depth: int) -> None:
        if depth > DEPTH_LIMIT:
            raise OSError(errno.ELOOP, f"more than {DEPTH_LIMIT} folders deep")
        descriptor = open_folder(parent, last)
        try:
            names = list_names(descriptor)
            self._result.entries.append(_record(path, status, self._escape))
            for each in names:
                self._meet(descriptor, path + b"/" + each, each, depth + 1)
        finally:
            os.close(descriptor)

    def _link(self, parent: int, path: bytes, last: bytes, status: os.stat_result, depth: int) -> None:
        target = os.readlink(last, dir_fd=parent)
        self._result.entries.append(_record(path, status, self._escape, target))
        resolved = os.path.realpath(f"/proc/self/fd/{parent}".encode() + b"/" + last)
        if any(is_within(resolved, covered) for covered in self._covered):
            return
        described = f"{self._escape(path)} (a link to {self._escape(target)}, which is not in the backup)"
        name(self._result.uncovered_links if depth else self._result.missing, described, "not followed")


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
