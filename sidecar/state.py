"""The state folder: what lies in it, who may work alone, and the journal of a restore that was not ended."""

import hashlib
import os
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path

import msgspec

from sidecar.damaged import DamagedArchives
from sidecar.durable import write_whole
from sidecar.errors import ConfigurationError, Refused, StorageFailed
from sidecar.locks import LABEL_LIMIT, is_free, is_held, locked
from sidecar.restore_note import RestoreNote

_HOLDER = re.compile(r"\(process (?P<process>[0-9]+) on (?P<machine>\S+), since")
_POLL = 0.1


class State:
    """The folder of one machine's state; made where it is missing, as it holds nothing that can't be made anew."""

    def __init__(self, folder: Path, instance: str, root: Path) -> None:
        self._folder = folder
        # Two instances' names may mean one Kimai: who works on its folder must be alone as well.
        self._target = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:12]
        self._locks = (f"{instance}.lock", f"{self._target}.lock")
        self._instance = instance
        self._daemon_lock = f"{instance}.daemon.lock"
        self._reports = f"{instance}.restores"
        self.once_locked: Callable[[], None] = lambda: None

    @property
    def folder(self) -> Path:
        """The folder, made if need be. Raises `ConfigurationError` where it can't be."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"BACKUP_STATE_DIR {self._folder} can't be made: {error.strerror}",
                mend="Make the folder, or set BACKUP_STATE_DIR to one that this user may write to.",
            ) from error
        return self._folder

    def check_writable(self) -> Path:
        """Write a file that is gone at once, and tell the folder. Raises `ConfigurationError` where that fails."""
        folder = self.folder
        try:
            with tempfile.TemporaryFile(dir=folder) as probe:
                probe.write(b"probe")
        except OSError as error:
            raise ConfigurationError(
                f"BACKUP_STATE_DIR {folder} can't be written to: {error.strerror}",
                mend="Let this user write there, or set BACKUP_STATE_DIR to a folder of its own.",
            ) from error
        return folder

    @contextmanager
    def lock(self, doing: str, *, of_kimai: bool = True) -> Iterator[None]:
        """Hold the instance's lock, and its Kimai's for who works on that. Raises `Locked`, naming another holder.

        The kernel lets go of them when the process ends, however it ends. `once_locked` is called when they are held.
        """
        with ExitStack() as held:
            for name in self._locks if of_kimai else self._locks[:1]:
                held.enter_context(locked(self.folder / name, doing))
            self.once_locked()
            yield

    @contextmanager
    def lock_of(self, instance: str, doing: str) -> Iterator[None]:
        """Hold another instance's lock as well; of one's own it is held already. Raises `Locked`."""
        with locked(self.folder / f"{instance}.lock", doing) if instance != self._instance else nullcontext():
            yield

    @contextmanager
    def only_daemon(self) -> Iterator[None]:
        """Be the one daemon of this instance. Raises `Locked`, naming the other one."""
        with locked(self.folder / self._daemon_lock, "run"):
            yield

    def end_run(self, deadline: float) -> str | None:
        """Ask the run that holds the lock on this machine to end, and wait for it; who it was, None without one.

        `deadline` in seconds. For a container that ends: whatever else runs in it is killed with it.
        """
        path = self.folder / self._locks[0]
        if not path.exists():
            return None
        with path.open("r+b") as file:
            if is_free(file.fileno()):
                return None
            label = os.pread(file.fileno(), LABEL_LIMIT, 0).decode(errors="replace")
            match = _HOLDER.search(label)
            if match is None or match["machine"] != os.uname().nodename:
                return None
            with suppress(ProcessLookupError):
                os.kill(int(match["process"]), signal.SIGTERM)
            ends = time.monotonic() + deadline
            while not is_free(file.fileno()) and time.monotonic() < ends:
                time.sleep(_POLL)
        return label

    def refuse_while_restoring(self) -> None:
        """Raise `Refused` where a restore was killed: what is there is neither the old instance nor the new one."""
        note = self.restore_note()
        if note is not None and not note.is_settled:
            raise Refused(note.what, mend=note.mend)

    def refuse_cut_short(self) -> None:
        """`refuse_while_restoring`, for who holds no lock: a restore that is under way right now is none.

        Makes nothing, as who only looks may have no right to. Raises `ConfigurationError` where that can't be seen.
        """
        note = self.restore_note()
        if note is not None and not note.is_settled and not is_held(self._folder / self._locks[1]):
            self.refuse_while_restoring()

    def restore_note(self) -> RestoreNote | None:
        """What a restore that was killed had made; None where none was."""
        try:
            content = self.journal.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigurationError(
                f"{self.journal} can't be read, so nobody knows whether a restore was cut short: {error.strerror}",
                mend="Let this user read BACKUP_STATE_DIR.",
            ) from error
        try:
            return msgspec.json.decode(content, type=RestoreNote)
        except msgspec.DecodeError as error:
            raise ConfigurationError(
                f"{self.journal}, the journal of a restore, can't be read: {error}",
                mend="Look at the database and Kimai's folder yourself, then remove that file.",
            ) from error

    def write_restore_note(self, note: RestoreNote) -> None:
        """Put the note down so that it outlives a power cut, before what it tells of is done."""
        path = self.folder / self.journal.name
        try:
            write_whole(path, msgspec.json.encode(note))
        except OSError as error:
            raise StorageFailed(
                f"{path}, the journal of the restore, can't be written: {error.strerror}",
                mend="Make room in BACKUP_STATE_DIR, and let this user write there.",
            ) from error

    def clear_restore_note(self, run_id: str | None = None) -> None:
        """The restore has ended, one way or the other; with `run_id` only a note of that one goes."""
        if run_id is not None:
            found = self.restore_note()
            if found is None or found.run_id != run_id:
                return
        self.journal.unlink(missing_ok=True)

    @property
    def damaged(self) -> DamagedArchives:
        """What is known to be damaged."""
        return DamagedArchives(self._folder / f"{self._instance}.damaged.json", lambda: self.folder)

    @property
    def reports(self) -> Path:
        """The folder of what restores have reported (`restore_report`); it may not be there yet."""
        return self.folder / self._reports

    @property
    def manifests(self) -> Path:
        """The folder for the whole manifest of the last encrypted backup (`before`)."""
        return self._folder / f"{self._instance}.manifests"

    @property
    def unopened(self) -> Path:
        """The file that tells which archives without a manifest no key has opened (`republish`)."""
        return self._folder / f"{self._instance}.unopened.json"

    @property
    def journal(self) -> Path:
        """The file that the note of a restore lies in."""
        return self._folder / f"{self._target}.restore.json"

    @property
    def upload(self) -> Path:
        """The folder that a restore collects an upload in, of whatever instance: it is found again by its Kimai."""
        return self._folder / f"{self._target}.upload"
