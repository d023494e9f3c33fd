"""Turns: which backup is to be drilled next, so that each one that is kept is tried, whatever becomes of the others."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec

from sidecar.catalog import Backup, Catalog, proven_at
from sidecar.durable import write_whole
from sidecar.errors import NoSuchBackup
from sidecar.manifest import BackupId
from sidecar.storage.base import Storage

log = logging.getLogger(__name__)

_KEPT = 20_000
"""How many tries are remembered: twice as many as backups are reckoned with."""
_Time = Annotated[datetime, msgspec.Meta(tz=True)]
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Tries:
    """Drills that were begun and have left neither proof nor failure beside the backup, by ID: when, UTC.

    Refused by the scratch server, interrupted, killed: the next one takes another backup, and comes back to this one
    after the others. One that can't be read or written is said, and costs no more than a drill made again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, datetime]:
        """In the order in which they were begun."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, _Time])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("%s, which drills were tried, can't be read: %s", self._path, error)
            return {}

    def begin(self, backup_id: BackupId, now: datetime) -> None:
        """Before anything is done: a drill that kills its process every time must not be the next one again."""
        known = self.read()
        known.pop(str(backup_id), None)
        known[str(backup_id)] = now
        self._write(dict(list(known.items())[-_KEPT:]))

    def end(self, backup_id: BackupId) -> None:
        """What the drill found lies beside the backup, and tells from now on."""
        known = self.read()
        if known.pop(str(backup_id), None) is not None:
            self._write(known)

    def _write(self, known: dict[str, datetime]) -> None:
        try:
            write_whole(self._path, msgspec.json.encode(known))
        except OSError as error:
            log.warning("%s, which drills were tried, can't be written: %s", self._path, error)


def whose_turn(listing: Catalog, storages: Sequence[Storage], tries: dict[str, datetime], now: datetime) -> Backup:
    """The oldest backup that no drill has tried; where all were, the one that was tried or proven the longest ago.

    Raises `NoSuchBackup`. Reads each proof where all were tried. A time to come is no time: a clock was set back.
    """
    ordinary = _ordinary(listing)
    untried = [backup for backup in ordinary if _is_untried(backup, tries)]
    if untried:
        return untried[-1]

    def last(backup: Backup) -> datetime:
        times = [proven_at(backup, storages), tries.get(str(backup.id))]
        return max((time for time in times if time is not None and time <= now), default=_LONG_AGO)

    return min(ordinary, key=lambda backup: (last(backup), backup.id.created_at))


def by_schedule(
    listing: Catalog, storages: Sequence[Storage], tries: dict[str, datetime], now: datetime, *, again: bool = False
) -> Backup:
    """The newest backup where no drill has tried it yet, else the one whose turn it is.

    `again`: what a drill before has failed with is tried once more. Raises `NoSuchBackup`.
    """
    ordinary = _ordinary(listing)
    if again:
        failed = next((backup for name in reversed(tries) for backup in ordinary if str(backup.id) == name), None)
        if failed is not None:
            return failed
    return ordinary[0] if _is_untried(ordinary[0], tries) else whose_turn(listing, storages, tries, now)


def _ordinary(listing: Catalog) -> list[Backup]:
    """Newest first, without those that are known to be damaged."""
    found = [backup for backup in listing.backups if not backup.id.safety and not backup.damaged]
    if not found:
        raise NoSuchBackup(f"no backup of instance {listing.instance} is there to be drilled")
    return found


def _is_untried(backup: Backup, tries: dict[str, datetime]) -> bool:
    return not backup.proven and str(backup.id) not in tries
