"""Since when a schedule holds and a target is known, kept in the state folder: what came before is nobody's fault."""

import logging
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from sidecar.durable import write_whole

log = logging.getLogger(__name__)


class Planned(msgspec.Struct, kw_only=True):
    """A schedule as it was last seen; `ignored` are IDs of runs that count for nothing (`schedule.superseded`)."""

    expression: str
    since: datetime
    ignored: list[str] = []


class _Known(msgspec.Struct, kw_only=True):
    schedules: dict[str, Planned] = {}
    targets: dict[str, datetime] = {}


class Since:
    """The note in `path`, which only the daemon writes.

    One that can't be read or written is said once, and then holds for as long as this lives.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: _Known | None = None
        self._complained = False
        # The daemon asks, and the thread that serves its page.
        self._lock = threading.Lock()

    def plan(self, command: str, expression: str, now: datetime, first: datetime) -> Planned:
        """The note of a schedule, which begins now where it is another one than before; `first`, where none was."""
        with self._lock:
            known = self._read()
            found = known.schedules.get(command)
            if found is None or found.expression != expression or found.since > now:
                since = min(now, first) if found is None else now
                ignored = found.ignored if found else []
                found = known.schedules[command] = Planned(expression=expression, since=since, ignored=ignored)
                self._write(known)
            return found

    def known_plan(self, command: str) -> datetime | None:
        """Since when a command is planned by the daemon, whatever the schedule."""
        with self._lock:
            found = self._read().schedules.get(command)
            return found.since if found else None

    def known_target(self, name: str) -> datetime | None:
        """When the daemon first saw a target."""
        with self._lock:
            return self._read().targets.get(name)

    def made(self, now: datetime) -> datetime:
        """Since when the state folder is in use, where no daemon has run: a file beside the note, made once, tells."""
        path = self._path.with_suffix(".began")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not path.exists():
                path.touch(0o600)
            return min(now, datetime.fromtimestamp(path.stat().st_mtime, UTC))
        except OSError as error:
            self._complain("written", error)
            return now

    def ignore(self, command: str, run_ids: list[str]) -> None:
        """Remember that these runs count for nothing."""
        with self._lock:
            known = self._read()
            if command in known.schedules:
                known.schedules[command].ignored = run_ids
                self._write(known)

    def saw(self, targets: Iterable[str], now: datetime) -> None:
        """Remember when each target was first seen."""
        with self._lock:
            known = self._read()
            new = [name for name in targets if name not in known.targets or known.targets[name] > now]
            if new:
                known.targets.update(dict.fromkeys(new, now))
                self._write(known)

    def _read(self) -> _Known:
        if self._known is None:
            self._known = _Known()
            try:
                self._known = msgspec.json.decode(self._path.read_bytes(), type=_Known)
            except FileNotFoundError:
                pass
            except (OSError, msgspec.DecodeError) as error:
                self._complain("read", error)
        return self._known

    def _write(self, known: _Known) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(self._path, msgspec.json.encode(known))
        except OSError as error:
            self._complain("written", error)

    def _complain(self, doing: str, error: Exception) -> None:
        if not self._complained:
            log.warning("%s, since when schedules hold, can't be %s: %s", self._path, doing, error)
        self._complained = True
