"""What a backup found of an instance's files, what it did not, and how each file is opened, wherever it lies."""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, Self

from sidecar.kimai.beneath import exact_path, is_within
from sidecar.kimai.userdata import BY_SETTING, outermost
from sidecar.manifest import File

log = logging.getLogger(__name__)

Escape = Callable[[bytes], str]
"""Writes a path's bytes as text that an archive can hold; equal to the path wherever that is plain UTF-8."""


class Content(Protocol):
    """One open file: its chunks, hashed on their way, and after the last one its true record.

    Iterate once. `file` has size and SHA-256 of the bytes that were given out. A read fault ends the file there, and
    `Survey.unreadable` names it. Closed after the last chunk, or by `close`.
    """

    file: File

    def __iter__(self) -> Iterator[bytes]:
        """Read to the end."""

    def close(self) -> None:
        """Close the file; a second time does nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


Opener = Callable[[File], Content | None]
"""Opens one of the regular files; None, and its name in `changed` or `unreadable`, if it can't be."""


class Survey:
    """What is there to back up, in order, and what could not be had; `open` adds to the latter while reading.

    `entries` are all files, folders (empty ones, too) and links; sizes in bytes, `mode` as st_mode, type included.
    `missing`: expected and not there, or beyond reach. `unreadable`, `changed` (while read, or vanished before):
    names as text. `skipped`: sockets, devices and pipes. `uncovered_links`: links to what is not in the backup.
    """

    def __init__(self) -> None:
        self.entries: list[File] = []
        self.missing: list[str] = []
        self.unreadable: list[str] = []
        self.changed: list[str] = []
        self.skipped: list[str] = []
        self.uncovered_links: list[str] = []
        self._openers: list[tuple[bytes, Opener]] = []
        self._closers: list[Callable[[], None]] = []

    @property
    def size(self) -> int:
        """Bytes of all files together, as the survey met them."""
        return sum(entry.size for entry in self.entries)

    def add_source(self, paths: Iterable[str], opener: Opener, close: Callable[[], None] = lambda: None) -> None:
        """Say how what lies at or below the paths is opened; the longest path that fits an entry counts.

        `close` lets go of what openers keep for the next file.
        """
        self._openers += [(path.encode(), opener) for path in paths]
        self._openers.sort(key=lambda each: len(each[0]), reverse=True)
        self._closers.append(close)

    def close(self) -> None:
        """Let go of what is kept for files to come: the engine holds a container as long as it answers."""
        for close in self._closers:
            close()

    def open(self, entry: File) -> Content | None:
        """Open one of the regular files, in the order of `entries`; None, and its name noted, if it can't be."""
        path = exact_path(entry)
        return next(opener for top, opener in self._openers if is_within(path, top))(entry)

    def name_missing(self, previous_paths: Iterable[str], previous_missing: Iterable[str]) -> None:
        """Name what the backup before this one had at the top and is gone, or has nothing in it any more.

        `previous_paths`: that one's paths. What it missed itself (`previous_missing`) stays missing until it is back.
        """
        before = set(previous_paths)
        named = {*self.unreadable, *self.skipped, *self.missing}
        there = {entry.path for entry in self.entries}
        folders = {entry.path for entry in self.entries if entry.kind == "folder"}
        # An empty folder where files were is most likely a volume that is not mounted.
        filled = _tops_with_content(there)
        missed = {path for path in previous_missing if not path.endswith(BY_SETTING)}  # settings are read anew
        had_content = _tops_with_content(before) | missed
        for path in outermost([*before, *missed]):
            emptied = path in had_content and path not in filled and path in folders
            if path not in named and (path not in there or emptied):
                self.missing.append(path)


def name(names: list[str], path: str, reason: object) -> None:
    """Note a path among those that something is wrong with, and say what, once."""
    if path not in names:
        names.append(path)
        log.warning("%s: %s", path, reason)


def _tops_with_content(paths: set[str]) -> set[str]:
    """Every folder that another one of the paths lies in."""
    return {parent for path in paths for parent in _parents(path)}


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path
