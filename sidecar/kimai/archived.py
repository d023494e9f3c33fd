"""Kimai's files as the engine's archive endpoint gives them: tar streams, listed first and read in a second pass."""

import hashlib
import logging
import os
import posixpath
import stat
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from tarfile import EOFHeaderError, HeaderError, ReadError  # type: ignore[attr-defined]
from typing import IO, Self

import msgspec

from sidecar.errors import ConfigurationError, KimaiBackupError, Unreachable
from sidecar.kimai.beneath import SMALL_LIMIT, exact_path, is_within, parts_of
from sidecar.kimai.containerfiles import ContainerFiles, NotThere
from sidecar.kimai.survey import Escape, Survey, name
from sidecar.manifest import File

log = logging.getLogger(__name__)

CHUNK = 1 << 20

LINKS_FOLLOWED = 5
"""How many links in a row may lead to a settings file."""

_TYPES = {tarfile.DIRTYPE: stat.S_IFDIR, tarfile.SYMTYPE: stat.S_IFLNK}


class ArchivedFiles:
    """What lies at `paths` below `root` in a container, written down in `survey`, which then opens it from here.

    The endpoint gives times in whole seconds, and a file's size before its content: one that is written to meanwhile
    shows by its size alone.
    """

    def __init__(self, engine: ContainerFiles, container: str, root: str, survey: Survey, escape: Escape) -> None:
        self._engine = engine
        self._container = container
        self._root = root
        self._survey = survey
        self._escape = escape
        self._reader: _Reader | None = None
        self._broken: set[str] = set()

    def walk(self, paths: tuple[str, ...], covered: tuple[str, ...]) -> None:
        """Write down what is there; what doesn't exist is not missing. `covered`: all that the backup has."""
        for path in paths:
            self._survey.add_source([path], partial(self._open, path), self._close)
            seen: set[bytes] = set()
            try:
                with self._engine.fetch(self._container, f"{self._root}/{path}") as stream:
                    for _, member, exact in members(stream, path):
                        if exact in seen:
                            name(self._survey.changed, self._escape(exact), "comes twice in Docker's answer")
                            continue
                        seen.add(exact)
                        self._meet(member, exact, covered)
            except NotThere:
                continue
            except (KimaiBackupError, OSError) as error:
                name(self._survey.unreadable, path, error)

    def _meet(self, member: tarfile.TarInfo, exact: bytes, covered: tuple[str, ...]) -> None:
        record = self._record(member, exact)
        if record is None:
            name(self._survey.skipped, self._escape(exact), "a device or pipe")
            return
        self._survey.entries.append(record)
        if record.kind == "link" and not self._leads_inside(exact, member, covered):
            lost = f"{record.path} (a link to {record.target}, which is not in the backup)"
            is_top = os.fsdecode(exact) in covered
            name(self._survey.missing if is_top else self._survey.uncovered_links, lost, "a link")

    def _leads_inside(self, exact: bytes, member: tarfile.TarInfo, covered: tuple[str, ...]) -> bool:
        folder = posixpath.dirname(posixpath.join(self._root, os.fsdecode(exact)))
        target = posixpath.normpath(posixpath.join(folder, member.linkname))
        return any(is_within(os.fsencode(target), f"{self._root}/{path}".encode()) for path in covered)

    def _record(self, member: tarfile.TarInfo, exact: bytes) -> File | None:
        kind = _TYPES.get(member.type, stat.S_IFREG if member.isreg() or member.islnk() else 0)
        if not kind:
            return None
        text = self._escape(exact)
        is_link = kind == stat.S_IFLNK
        target = os.fsencode(member.linkname) if is_link else None
        target_text = None if target is None else self._escape(target)
        return File(
            path=text,
            path_bytes=None if text.encode() == exact else exact,
            kind="folder" if kind == stat.S_IFDIR else "link" if is_link else "file",
            size=member.size if member.isreg() else 0,
            mode=kind | stat.S_IMODE(member.mode),
            mtime=round(member.mtime * 10**9),
            uid=member.uid,
            gid=member.gid,
            target=target_text,
            target_bytes=None if target_text is None or target_text.encode() == target else target,
        )

    def _open(self, top: str, entry: File) -> "ArchivedFile | None":
        """Open one file: the next of the running stream, or by itself where it isn't ahead in that."""
        found = self._ahead(top, exact_path(entry))
        # A second name of a file that came before has no content in the stream; asked for by itself it has.
        if found is None or found.islnk():
            return self._alone(entry)
        assert self._reader is not None  # noqa: S101 - it found it
        return self._opened(entry, self._reader, found, owned=False)

    def _ahead(self, top: str, exact: bytes) -> tarfile.TarInfo | None:
        if top in self._broken:
            return None
        try:
            if self._reader is None or self._reader.top != top:
                self._close()
                self._reader = _Reader(self._engine, self._container, self._root, top)
            return self._reader.find(exact)
        except (KimaiBackupError, OSError) as error:
            log.info("%s: %s: its other files are asked for one by one", top, error)
            self._broken.add(top)
            return None

    def _alone(self, entry: File) -> "ArchivedFile | None":
        exact = exact_path(entry)
        try:
            reader = _Reader(self._engine, self._container, self._root, os.fsdecode(exact))
            found = reader.find(exact)
        except NotThere:
            name(self._survey.changed, entry.path, "vanished")
            return None
        except (KimaiBackupError, OSError) as error:
            name(self._survey.unreadable, entry.path, error)
            return None
        return self._opened(entry, reader, found, owned=True)

    def _opened(
        self, entry: File, reader: "_Reader", found: tarfile.TarInfo | None, *, owned: bool
    ) -> "ArchivedFile | None":
        record = self._record(found, exact_path(entry)) if found is not None else None
        if found is None or not found.isreg() or record is None:
            if owned:
                reader.close()
            name(self._survey.changed, entry.path, "no file any more")
            return None
        return ArchivedFile(reader, found, record, self._survey, owned=owned)

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None


class _Reader:
    """One stream of a path's content, read forwards."""

    def __init__(self, engine: ContainerFiles, container: str, root: str, top: str) -> None:
        self.top = top
        self._has_ended = False
        with ExitStack() as opened:
            stream = opened.enter_context(engine.fetch(container, f"{root}/{top}"))
            self.tar = opened.enter_context(open_tar(stream, top))
            self._opened = opened.pop_all()

    def find(self, exact: bytes) -> tarfile.TarInfo | None:
        """Go forwards to a path; None where it isn't ahead. Raises `Unreachable`; the stream has ended then."""
        while not self._has_ended:
            self._has_ended = True
            member = _next(self.tar, self.top)
            self._has_ended = member is None
            if member is not None and _exact(member, self.top) == exact:
                return member
        self.close()
        return None

    def close(self) -> None:
        self._opened.close()


class ArchivedFile:
    """One file of a stream, as `Content` says."""

    def __init__(self, reader: _Reader, member: tarfile.TarInfo, file: File, survey: Survey, *, owned: bool) -> None:
        self.file = file
        self._reader = reader
        self._member = member
        self._survey = survey
        self._owned = owned

    def __iter__(self) -> Iterator[bytes]:
        """Read to the end."""
        digest = hashlib.sha256()
        size = 0
        content = self._reader.tar.extractfile(self._member)
        try:
            while content is not None and (chunk := content.read(CHUNK)):
                digest.update(chunk)
                size += len(chunk)
                yield chunk
        except (KimaiBackupError, tarfile.TarError, OSError) as error:
            name(self._survey.unreadable, self.file.path, error)
        finally:
            self.close()
        if size != self._member.size and self.file.path not in self._survey.unreadable:
            name(self._survey.changed, self.file.path, "cut short while it was read")
        self.file = msgspec.structs.replace(self.file, size=size, sha256=digest.hexdigest())

    def close(self) -> None:
        """Close the file; the stream goes on to the next one."""
        if self._owned:
            self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def members(stream: IO[bytes], path: str) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo, bytes]]:
    """Each member of the endpoint's answer for a path, the tar it is read from, and its path below Kimai's root."""
    with open_tar(stream, path) as tar:
        while (member := _next(tar, path)) is not None:
            yield tar, member, _exact(member, path)


class _Header(tarfile.TarInfo):
    """A member's header. One that is cut off or damaged is a fault: tarfile would take it for the end."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> "_Header":
        try:
            return super().fromtarfile(tarfile)
        except EOFHeaderError:
            raise
        except HeaderError as error:
            raise ReadError(str(error)) from error


def open_tar(stream: IO[bytes], path: str) -> tarfile.TarFile:
    """The endpoint's answer for a path, to be read forwards. Raises `Unreachable` where it is no tar."""
    with tar_faults_named(path):
        return tarfile.open(fileobj=stream, mode="r|", bufsize=CHUNK, tarinfo=_Header)


@contextmanager
def tar_faults_named(path: str) -> Iterator[None]:
    """Tell an answer that is cut off or no tar as `Unreachable`."""
    try:
        yield
    except tarfile.TarError as error:
        raise Unreachable(f"Docker's answer for {path} is cut off or damaged: {error}") from error


def _next(tar: tarfile.TarFile, path: str) -> tarfile.TarInfo | None:
    with tar_faults_named(path):
        member = tar.next()
    forget(tar)
    return member


def forget(tar: tarfile.TarFile) -> None:
    """Let a tar forget what it has passed, which it would keep in memory to its end; a stream never goes back."""
    tar.members = []  # type: ignore[attr-defined]


def _exact(member: tarfile.TarInfo, path: str) -> bytes:
    """A member's path below Kimai's root: the endpoint's names begin with the last part of the path asked for.

    Raises `Unreachable` for a name that leads elsewhere.
    """
    given = os.fsencode(member.name).rstrip(b"/")
    last = os.fsencode(path.rpartition("/")[2])
    try:
        parts_of(given)
    except ValueError as error:
        raise Unreachable(f"Docker names {member.name!r}, which is no plain path") from error
    if not is_within(given, last):
        raise Unreachable(f"Docker names {member.name!r} where {path} was asked for")
    return os.fsencode(path) + given[len(last) :]


def owner_of(engine: ContainerFiles, container: str, path: str) -> tuple[int, int]:
    """User and group that a path in a container belongs to. Raises `Unreachable`, `NotThere`."""
    with engine.fetch(container, path) as stream, open_tar(stream, path) as tar:
        member = _next(tar, path)
        if member is None:
            raise Unreachable(f"Docker tells nothing of {path}")
        return member.uid, member.gid


def read_archived(engine: ContainerFiles, container: str, path: str) -> bytes | None:
    """A settings file in a container, whole; None where there is none. Raises `ConfigurationError`.

    Links are followed, as Kimai does.
    """
    try:
        for _ in range(LINKS_FOLLOWED):
            with engine.fetch(container, path) as stream, open_tar(stream, path) as tar:
                member = _next(tar, path)
                if member is not None and member.issym():
                    path = posixpath.normpath(posixpath.join(posixpath.dirname(path), member.linkname))
                    continue
                return _small(tar, member, path)
    except NotThere:
        return None
    except (Unreachable, tarfile.TarError, OSError) as error:
        raise ConfigurationError(f"{path} can't be read in Kimai's container: {error}") from error
    raise ConfigurationError(f"{path} can't be read in Kimai's container: links lead in a circle")


def _small(tar: tarfile.TarFile, member: tarfile.TarInfo | None, path: str) -> bytes:
    content = tar.extractfile(member) if member is not None and member.isreg() else None
    if member is None or content is None:
        raise ConfigurationError(f"{path} can't be read in Kimai's container: not a file")
    if member.size > SMALL_LIMIT:
        raise ConfigurationError(f"{path} can't be read in Kimai's container: larger than {SMALL_LIMIT} bytes")
    return content.read(SMALL_LIMIT + 1)
