"""Which archives are known to be damaged, so that none counts as a backup, or is read once more for it."""

import logging
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import msgspec

from sidecar.durable import write_whole
from sidecar.errors import ConfigurationError, Locked
from sidecar.locks import locked

log = logging.getLogger(__name__)

_POLL = 0.1
_UNREADABLE = (OSError, msgspec.DecodeError, UnicodeDecodeError)
_MOMENT = 10
"""Seconds that one may wait for another to write down what is damaged."""


class DamagedArchive(msgspec.Struct, kw_only=True, frozen=True):
    """An archive that was read and is not whole: where it lies, its size in bytes, and why.

    `tool_version` found it so; of one without a manifest a newer one may know better. `keyed`: it is encrypted, and a
    key was there to look inside, so that who looks without one knows no better.
    """

    target: str
    key: str
    size: int
    why: str
    tool_version: str
    keyed: bool = False

    @property
    def place(self) -> tuple[str, str, int]:
        """What it is known by: of another size it is another one."""
        return self.target, self.key, self.size


def learnt(
    looked_at: Collection[tuple[str, str]], damaged: Iterable[DamagedArchive], *, keyed: bool = False
) -> Callable[[list[DamagedArchive]], list[DamagedArchive]]:
    """For `DamagedArchives.change`: of what was looked at, target and key, only this is damaged.

    Without a key (`keyed`) only the outside of an encrypted one was looked at: what one with a key found stays.
    """

    def change(known: list[DamagedArchive]) -> list[DamagedArchive]:
        staying = [each for each in known if (each.target, each.key) not in looked_at or (each.keyed and not keyed)]
        return staying + list(damaged)

    return change


class DamagedArchives:
    """What runs before this one have found, in a file that can be made anew; `ready` makes the folder that it is in."""

    def __init__(self, path: Path, ready: Callable[[], object]) -> None:
        self._path = path
        self._ready = ready

    def known(self) -> list[DamagedArchive]:
        """All that is known; nothing where that can't be read."""
        try:
            return self._read()
        except _UNREADABLE as error:
            log.warning("%s can't be read, so damaged archives are looked at once more: %s", self._path.name, error)
            return []

    def change(self, change: Callable[[list[DamagedArchive]], list[DamagedArchive]]) -> None:
        """Keep in mind what `change` makes of it. A failure costs no more than another look.

        Under a lock of its own: `verify` holds no other, and a backup beside it finds damage as well.
        """
        ends = time.monotonic() + _MOMENT
        while True:
            try:
                self._ready()
                with locked(self._path.with_name(f"{self._path.name}.lock"), "remembering what is damaged"):
                    self._write(change)
            except (ConfigurationError, Locked) as error:
                if isinstance(error, ConfigurationError) or time.monotonic() > ends:
                    log.warning("%s is left as it is: %s", self._path, error)
                    return
                time.sleep(_POLL)
            else:
                return

    def _read(self) -> list[DamagedArchive]:
        try:
            found = self._path.read_bytes()
        except FileNotFoundError:
            return []
        return msgspec.json.decode(found, type=list[DamagedArchive])

    def _write(self, change: Callable[[list[DamagedArchive]], list[DamagedArchive]]) -> None:
        try:
            before = self._read()
        except _UNREADABLE:
            before = []  # whoever asked before has said so
        found = change(before)
        try:
            if not found:
                self._path.unlink(missing_ok=True)  # also one that can't be read
            elif found != before:
                write_whole(self._path, msgspec.json.encode(found))
        except OSError as error:
            log.warning(
                "%s can't be written, so damaged archives are looked at once more: %s", self._path, error.strerror
            )
