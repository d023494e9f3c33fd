"""The history in the state folder: which runs there were, which one is under way, and which were killed."""

import fcntl
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from sidecar.durable import write_whole
from sidecar.errors import Exit, StorageFailed
from sidecar.runs import KEEP_RUNS, KILLED, Run, Started

log = logging.getLogger(__name__)

KEEP_LOGS = 30
_RUNNING = ".running"
_LOG = ".log"
_PATIENCE = 10.0
"""Seconds to wait for another process that is writing a record, which takes it some milliseconds."""
_POLL = 0.02


class History:
    """Records of one instance's runs, below `folder`, which is made when the first one begins.

    Every method but `runs`, `log_of` and `running` raises `StorageFailed` where the folder can't be written to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: tuple[tuple[int, int, int], list[Run]] | None = None

    # ── Writing ──────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def under_way(self, started: Started) -> Iterator[None]:
        """Say that a run is under way for as long as the block takes; killed in it, `settle` will find that out."""
        path = self._folder / f"{started.id}{_RUNNING}"
        with _faults("note what runs"):
            self._make_folder()
            descriptor = os.open(path.with_suffix(".begins"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with _faults("note what runs"):
                # The kernel lets go of it when this process ends, however it ends. It bears its name from then on.
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.pwrite(descriptor, msgspec.json.encode(started), 0)
                path.with_suffix(".begins").rename(path)
            yield
        finally:
            path.with_suffix(".begins").unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            os.close(descriptor)

    def add(self, run: Run, lines: Sequence[str] = ()) -> None:
        """Remember a run that has ended, with the last lines of its log; the newest record of a run holds."""
        with self._alone():
            self._append(run, lines)

    def settle(self) -> list[Run]:
        """Remember each run that was killed, by a signal, for want of memory or with its machine; give the new ones."""
        if not self._folder.is_dir():
            return []
        found = []
        with self._alone():
            known = {run.id for run in self.runs()}
            for path in sorted(self._folder.glob(f"*{_RUNNING}")):
                if (started := _dead(path)) is None:
                    continue
                # One that was killed after it had told how it ended is no killed one.
                if started.id not in known:
                    found.append(_killed(started))
                    self._append(found[-1], ())
                path.unlink(missing_ok=True)
        return found

    def _append(self, run: Run, lines: Sequence[str]) -> None:
        if lines:
            write_whole(self._log_path(run.id), "\n".join(lines).encode(errors="replace"))
        with self._file.open("ab") as file:
            # One write, at the end: a reader meets whole lines, but for the last one of a machine that lost its power.
            file.write(b"\n" + msgspec.json.encode(run) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._forget_the_oldest()

    def _forget_the_oldest(self) -> None:
        known = self.runs()
        if len(known) > KEEP_RUNS * 5 // 4:
            kept = _worth_keeping(known)
            write_whole(self._file, b"".join(msgspec.json.encode(run) + b"\n" for run in kept))
        logs = sorted(self._folder.glob(f"*{_LOG}"))[:-KEEP_LOGS]
        # What a killed run was writing; nobody else writes now.
        for path in (*logs, *self._folder.glob("*.part")):
            path.unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one process at a time write records. Raises `StorageFailed`."""
        with _faults("keep a record of runs"):
            self._make_folder()
            descriptor = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                ends = time.monotonic() + _PATIENCE
                while not _take(descriptor):
                    if time.monotonic() > ends:
                        raise StorageFailed(f"another process has been writing to {self._folder} for {_PATIENCE:g} s")
                    time.sleep(_POLL)
                yield
            finally:
                os.close(descriptor)

    def _make_folder(self) -> None:
        for folder in (self._folder.parent, self._folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    # ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────

    def runs(self) -> list[Run]:
        """Every run that is remembered, oldest first; a line that is none (a power cut) is passed over (debug)."""
        try:
            found = self._file.stat()
            # The daemon asks often, and the file changes once a night.
            stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
            if (read := self._read) is not None and read[0] == stamp:
                return list(read[1])
            content = self._file.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            log.warning("%s, the history of runs, can't be read: %s", self._file, error.strerror)
            return []
        runs = _decoded(content, self._file)
        self._read = (stamp, runs)
        return list(runs)

    def log_of(self, run_id: str) -> list[str]:
        """The last lines of a run's log; none of one whose log is no longer, or never was, kept."""
        try:
            return self._log_path(run_id).read_text(errors="replace").splitlines()
        except OSError:
            return []

    def running(self) -> list[Started]:
        """What is under way on this machine, oldest first."""
        found = []
        for path in sorted(self._folder.glob(f"*{_RUNNING}")):
            try:
                with path.open("rb") as file:
                    if not _take(file.fileno()):
                        found.append(msgspec.json.decode(file.read(), type=Started))
            except (OSError, msgspec.DecodeError):
                # It has ended since, or begins just now.
                continue
        return found

    @property
    def _file(self) -> Path:
        return self._folder / "runs.jsonl"

    def _log_path(self, run_id: str) -> Path:
        return self._folder / f"{run_id}{_LOG}"


_DECODER = msgspec.json.Decoder(Run)


def _decoded(content: bytes, path: Path) -> list[Run]:
    found: dict[str, Run] = {}
    for line in content.splitlines():
        try:
            if line:
                run = _DECODER.decode(line)
                # A later record of a run is the one that holds; its place is that of the first.
                found[run.id] = run
        except (msgspec.DecodeError, UnicodeDecodeError):
            log.debug("%s has a line that is no record: %.80r", path, line)
    return list(found.values())


def _worth_keeping(known: Sequence[Run]) -> list[Run]:
    """The newest of all, and what no number of hourly backups may push out.

    Of each command the newest run that did well, that did not, and that was told to end: how old the last proof is, and
    whether the newest drill failed, hangs on them. And the very first, whose time is since when anything runs here.
    """
    newest = {(run.command, run.is_good, run.exit_code == Exit.INTERRUPTED): run.id for run in known}
    always = {known[0].id, *newest.values()}
    return [run for run in known[:-KEEP_RUNS] if run.id in always] + list(known[-KEEP_RUNS:])


@contextmanager
def _faults(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageFailed(
            f"BACKUP_STATE_DIR: can't {doing}: {error.strerror}",
            mend="Make room there, and let this user write there.",
        ) from error


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _dead(path: Path) -> Started | None:
    """The run that a note tells of, where it was killed; None where it runs, or ended since the folder was listed."""
    try:
        with path.open("rb") as file:
            if not _take(file.fileno()):
                return None
            content = file.read()
            if not path.exists():
                return None
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(content, type=Started)
    except msgspec.DecodeError:
        # A full disk, or a power cut: nobody knows what it was.
        log.warning("%s tells of no run: removed", path)
        path.unlink(missing_ok=True)
        return None


def _killed(started: Started) -> Run:
    return Run(
        id=started.id,
        command=started.command,
        trigger=started.trigger,
        started_at=started.started_at,
        finished_at=datetime.now(UTC),
        exit_code=KILLED,
        summary=f"{started.command} was killed: by the system for want of memory, with the machine, or by hand",
    )
