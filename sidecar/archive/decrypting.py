"""An encrypted archive, decrypted into a file without a name, and given only once all of it was found right."""

import binascii
import hashlib
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self, cast

from sidecar.archive.age import HEADER_LIMIT, identities, recipient
from sidecar.archive.encrypting import GRACE, GivenUp, Output
from sidecar.errors import ConfigurationError, Damaged, NoSuchBackup, StorageFailed

if TYPE_CHECKING:
    from io import BufferedIOBase

    from sidecar.archive.age import Identity

log = logging.getLogger(__name__)

_WHICH_KEY = "Set BACKUP_IDENTITY_FILE to the file of a key that it was encrypted to (README, Encryption)."
_BLOCK = 1 << 20
_SLICE = 0.2
"""Seconds between two looks at how far a decryption has come."""
_ARMOR = b"-----BEGIN AGE ENCRYPTED FILE-----"
_END_OF_HEADER = b"\n--- "


class Keyring:
    """What opens encrypted archives: BACKUP_IDENTITY's keys, if any, and the folder that has room for what is in them.

    `identity` is its text; `folder` gives the folder, made if need be. What is made there begins with `prefix`.
    """

    def __init__(self, identity: str | None, folder: Callable[[], Path], prefix: str) -> None:
        self._identity = identity
        self._folder = folder
        self._prefix = prefix

    def __bool__(self) -> bool:
        """Whether there is a key at all."""
        return self._identity is not None

    @property
    def fingerprint(self) -> str:
        """Tells these keys from others, and gives nothing of them away: their text can't be guessed."""
        return hashlib.sha256((self._identity or "").encode()).hexdigest()[:16]

    def opens(self, recipients: Sequence[str]) -> bool:
        """Whether one of the keys opens what is encrypted to these recipients."""
        import pyrage

        try:
            pyrage.decrypt(pyrage.encrypt(b"probe", [recipient(each) for each in recipients]), self.require("a probe"))
        except pyrage.DecryptError:
            return False
        return True

    def require(self, name: str) -> "list[Identity]":
        """The keys, for the archive of this name. Raises `ConfigurationError` where there are none."""
        if self._identity is None:
            raise ConfigurationError(f"{name} is encrypted, and BACKUP_IDENTITY is not set", mend=_WHICH_KEY)
        try:
            return identities(self._identity)
        except ValueError as error:
            raise ConfigurationError(f"BACKUP_IDENTITY (value hidden): must be {error}") from None

    @contextmanager
    def opened(self, path: Path, advance: Callable[[int], None]) -> Iterator[Path]:
        """Give a local encrypted archive's plaintext as a file.

        It has no name on its disk from its beginning, so nothing is left of it, even by a run that is killed. All of it
        was decrypted and found right before any is given. `advance` is told how many more bytes there are.
        Raises `ConfigurationError` without a key, or where none fits; `Damaged` for what is cut or changed,
        `NoSuchBackup` where there is no file, `StorageFailed` where that can't be read or the folder has no room.
        """
        keys = self.require(path.name)
        folder = self._folder()
        _check_room(path, folder)
        log.info("decrypting %s into %s", path.name, folder)
        _check_header(path)
        with self._named(folder) as named, _nameless(folder) as file:
            _Decryption(path, file).run(keys, advance)
            # Readers open it by a path, and name it in errors: a link that leads nowhere once this process has ended.
            link = Path(named) / path.name.removesuffix(".age")
            link.symlink_to(f"/proc/{os.getpid()}/fd/{file.fileno()}")
            yield link

    @contextmanager
    def _named(self, folder: Path) -> Iterator[str]:
        try:
            named = tempfile.TemporaryDirectory(prefix=self._prefix, dir=folder)
        except OSError as error:
            raise _unwritable(folder, error) from error
        with named as path:
            yield path


NO_KEYS = Keyring(None, Path, "")
"""Opens nothing that is encrypted."""


@contextmanager
def _nameless(folder: Path) -> Iterator[BinaryIO]:
    try:
        file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed below
    except OSError as error:
        raise _unwritable(folder, error) from error
    with file:
        yield file


def _unwritable(folder: Path, error: OSError) -> StorageFailed:
    return StorageFailed(f"{folder} can't be written to: {error.strerror}", mend="Look at BACKUP_STATE_DIR.")


def _check_header(path: Path) -> None:
    """Raise `Damaged` for a header that doesn't end soon: pyrage's time for one grows with its square, to hours."""
    try:
        with path.open("rb") as file:
            start = file.read(2 * HEADER_LIMIT)
    except OSError as error:
        raise _unreadable(path, error) from error
    if (armored := start.lstrip()).startswith(_ARMOR):
        start = _unarmored(armored.removeprefix(_ARMOR))
    if _END_OF_HEADER not in start[:HEADER_LIMIT]:
        raise Damaged(f"{path.name} is cut short or changed: its header has no end within {HEADER_LIMIT} bytes")


def _unarmored(text: bytes) -> bytes:
    """What the lines up to the armor's end, or the first that is none, stand for; pyrage is told of it by itself."""
    found = b""
    for line in text.split(b"\n"):
        try:
            found += binascii.a2b_base64(line.strip(), strict_mode=True)
        except binascii.Error:
            break
    return found


def _check_room(path: Path, folder: Path) -> None:
    with suppress(OSError):  # Who opens it says what is wrong with it.
        size, free = path.stat().st_size, shutil.disk_usage(folder).free
        if free < size:
            raise StorageFailed(
                f"{path.name} has {size} bytes, and {folder} has room for {free} decrypted ones",
                mend="Make room there, or set BACKUP_STATE_DIR to a folder on a larger disk.",
            )


class _Decryption:
    """One archive on its way: in a thread, so that what a signal's handler raises is raised where it is waited for.

    Within pyrage it would be taken for damage.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._source = _Input(path)
        self._output = Output(self._write)
        self._count = 0
        self._failure: BaseException | None = None
        self._given_up = threading.Event()
        self._ended = threading.Event()

    def run(self, keys: "list[Identity]", advance: Callable[[int], None]) -> None:
        threading.Thread(target=self._work, args=(keys,), daemon=True).start()
        told = 0
        try:
            while not self._ended.wait(_SLICE) or told < self._count:
                now = self._count
                advance(now - told)
                told = now
        except BaseException:
            self._given_up.set()
            self._ended.wait(GRACE)
            raise
        if self._source.failure is not None:
            raise _unreadable(self._path, self._source.failure) from self._source.failure
        # A failure to write its last bytes, pyrage passes over.
        if self._output.failure is not None:
            raise _unwritten(self._path, self._output.failure) from self._output.failure
        if self._failure is not None:
            raise _not_opened(self._path, self._failure) from self._failure

    def _work(self, keys: "list[Identity]") -> None:
        import pyrage

        try:
            with self._source:
                pyrage.decrypt_io(cast("BufferedIOBase", self._source), cast("BufferedIOBase", self._output), keys)
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self._failure = error
        self._ended.set()

    def _write(self, piece: bytes) -> None:
        if self._given_up.is_set():
            raise GivenUp
        left = memoryview(piece)
        while left:
            left = left[self._file.write(left) :]
        self._count += len(piece)


class _Input:
    """A file for pyrage to read, which keeps what went wrong."""

    def __init__(self, path: Path) -> None:
        self.failure: BaseException | None = None
        self._path = path
        self._file: BinaryIO

    def __enter__(self) -> Self:
        try:
            self._file = self._path.open("rb", buffering=_BLOCK)
        except OSError as error:
            self.failure = error
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def read(self, size: int, /) -> bytes:
        try:
            return self._file.read(size)
        except BaseException as error:
            self.failure = error
            raise


def _unreadable(path: Path, failure: BaseException) -> BaseException:
    if isinstance(failure, FileNotFoundError):
        return NoSuchBackup(f"{path.name} is not there")
    if isinstance(failure, OSError):
        return StorageFailed(f"{path.name} can't be read: {failure.strerror or failure}")
    return failure


def _unwritten(path: Path, failure: BaseException) -> BaseException:
    if isinstance(failure, OSError):
        return StorageFailed(
            f"{path.name} can't be decrypted into BACKUP_STATE_DIR: {failure.strerror or failure}",
            mend="Make room there, or set BACKUP_STATE_DIR to a folder on a larger disk.",
        )
    return failure


def _not_opened(path: Path, failure: BaseException) -> BaseException:
    """What pyrage gives as a text, in our own kinds: what it can't authenticate is an OSError without a number."""
    import pyrage

    if isinstance(failure, pyrage.DecryptError) and "No matching keys" in str(failure):
        return ConfigurationError(
            f"no key in BACKUP_IDENTITY opens {path.name}: it was encrypted to others", mend=_WHICH_KEY
        )
    if isinstance(failure, OSError | pyrage.DecryptError):
        return Damaged(f"{path.name} is cut short or changed: it can't be decrypted ({failure})")
    return failure
