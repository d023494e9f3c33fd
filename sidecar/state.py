"""The state folder: the lock that lets one run at a time, and the journal of a restore that was not ended."""

import fcntl
import hashlib
import logging
import os
import re
import signal
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from sidecar.errors import ConfigurationError, Locked, Refused, StorageFailed
from sidecar.restore_note import RestoreNote

log = logging.getLogger(__name__)

_HOLDER = re.compile(r"\(process (?P<process>[0-9]+) on (?P<machine>\S+), since")
_LABEL_LIMIT = 400
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
    """For `change_damaged`: of what was looked at, target and key, only this is damaged.

    Without a key (`keyed`) only the outside of an encrypted one was looked at: what one with a key found stays.
    """

    def change(known: list[DamagedArchive]) -> list[DamagedArchive]:
        staying = [each for each in known if (each.target, each.key) not in looked_at or (each.keyed and not keyed)]
        return staying + list(damaged)

    return change


class State:
    """The folder of one machine's state; made where it is missing, as it holds nothing that can't be made anew."""

    def __init__(self, folder: Path, instance: str, root: Path) -> None:
        self._folder = folder
        # Two instances' names may mean one Kimai: who works on its folder must be alone as well.
        self._target = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:12]
        self._locks = (f"{instance}.lock", f"{self._target}.lock")
        self._damaged = f"{instance}.damaged.json"
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
                held.enter_context(_locked(self.folder / name, doing))
            self.once_locked()
            yield

    @contextmanager
    def lock_of(self, instance: str, doing: str) -> Iterator[None]:
        """Hold another instance's lock as well; of one's own it is held already. Raises `Locked`."""
        with _locked(self.folder / f"{instance}.lock", doing) if instance != self._instance else nullcontext():
            yield

    @contextmanager
    def only_daemon(self) -> Iterator[None]:
        """Be the one daemon of this instance. Raises `Locked`, naming the other one."""
        with _locked(self.folder / self._daemon_lock, "run"):
            yield

    def end_run(self, deadline: float) -> str | None:
        """Ask the run that holds the lock on this machine to end, and wait for it; who it was, None without one.

        `deadline` in seconds. For a container that ends: whatever else runs in it is killed with it.
        """
        path = self.folder / self._locks[0]
        if not path.exists():
            return None
        with path.open("r+b") as file:
            if _is_free(file.fileno()):
                return None
            label = os.pread(file.fileno(), _LABEL_LIMIT, 0).decode(errors="replace")
            match = _HOLDER.search(label)
            if match is None or match["machine"] != os.uname().nodename:
                return None
            with suppress(ProcessLookupError):
                os.kill(int(match["process"]), signal.SIGTERM)
            ends = time.monotonic() + deadline
            while not _is_free(file.fileno()) and time.monotonic() < ends:
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
        if note is not None and not note.is_settled and not _is_held(self._folder / self._locks[1]):
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
        """The restore has ended, one way or the other; with `run_id` the note goes only if that one touched nothing."""
        if run_id is not None:
            found = self.restore_note()
            if found is None or found.run_id != run_id or found.phase != "saving":
                return
        self.journal.unlink(missing_ok=True)

    def damaged_archives(self) -> list[DamagedArchive]:
        """What runs before this one have found damaged; nothing where that can't be read, as it can be found again."""
        try:
            return self._read_damaged()
        except _UNREADABLE as error:
            log.warning("%s can't be read, so damaged archives are looked at once more: %s", self._damaged, error)
            return []

    def _read_damaged(self) -> list[DamagedArchive]:
        try:
            found = (self._folder / self._damaged).read_bytes()
        except FileNotFoundError:
            return []
        return msgspec.json.decode(found, type=list[DamagedArchive])

    def change_damaged(self, change: Callable[[list[DamagedArchive]], list[DamagedArchive]]) -> None:
        """Keep in mind what `change` makes of it. A failure costs no more than another look.

        Under a lock of its own: `verify` holds no other, and a backup beside it finds damage as well.
        """
        path = self._folder / self._damaged
        ends = time.monotonic() + _MOMENT
        while True:
            try:
                with _locked(self.folder / f"{self._damaged}.lock", "remembering what is damaged"):
                    self._write_damaged(path, change)
            except (ConfigurationError, Locked) as error:
                if isinstance(error, ConfigurationError) or time.monotonic() > ends:
                    log.warning("%s is left as it is: %s", path, error)
                    return
                time.sleep(_POLL)
            else:
                return

    def _write_damaged(self, path: Path, change: Callable[[list[DamagedArchive]], list[DamagedArchive]]) -> None:
        try:
            before = self._read_damaged()
        except _UNREADABLE:
            before = []  # whoever asked before has said so
        found = change(before)
        try:
            if not found:
                path.unlink(missing_ok=True)  # also one that can't be read
            elif found != before:
                write_whole(path, msgspec.json.encode(found))
        except OSError as error:
            log.warning("%s can't be written, so damaged archives are looked at once more: %s", path, error.strerror)

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


@contextmanager
def _locked(path: Path, doing: str) -> Iterator[None]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"BACKUP_STATE_DIR: {path} can't be written: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, _LABEL_LIMIT, 0).decode(errors="replace").strip() or "another run"
            raise Locked(f"{holder} holds the lock {path}", mend="Wait until it has ended.") from error
        _label(descriptor, doing)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _label(descriptor: int, doing: str) -> None:
    started = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    try:
        os.ftruncate(descriptor, 0)
        # The machine, too: the state folder may be shared by containers, each with processes of its own.
        label = f"{doing} (process {os.getpid()} on {os.uname().nodename}, since {started})"
        os.pwrite(descriptor, label.encode(), 0)
    except OSError as error:
        # A full disk: the lock holds all the same.
        log.warning("the lock can't be labelled with its holder: %s", error.strerror)


def _is_held(path: Path) -> bool:
    """Whether somebody holds that lock; nothing is made, or written to it. Raises `ConfigurationError`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConfigurationError(
            f"{path} can't be read, so nobody knows whether a restore is under way: {error.strerror}",
            mend="Let this user read BACKUP_STATE_DIR.",
        ) from error
    try:
        return not _is_free(descriptor)
    finally:
        os.close(descriptor)


def _is_free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True


def _for_us_alone(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all, even after a power cut. Mode 0600. Raises `OSError`."""
    temporary = path.with_suffix(".part")
    try:
        with open(temporary, "wb", opener=_for_us_alone) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        # A disk that is full stays so with what could not be written whole.
        with suppress(OSError):
            temporary.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
