"""Locks in the state folder: one holder at a time, who has put his name to it; the kernel lets go where he dies."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sidecar.errors import ConfigurationError, Locked

log = logging.getLogger(__name__)

LABEL_LIMIT = 400
"""Bytes of a lock's file that tell its holder."""


@contextmanager
def locked(path: Path, doing: str) -> Iterator[None]:
    """Hold the lock in that file. Raises `Locked`, naming the holder that is there already, `ConfigurationError`."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"BACKUP_STATE_DIR: {path} can't be written: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, LABEL_LIMIT, 0).decode(errors="replace").strip() or "another run"
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


def is_held(path: Path) -> bool:
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
        return not is_free(descriptor)
    finally:
        os.close(descriptor)


def is_free(descriptor: int) -> bool:
    """Whether nobody holds the lock of an open file."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True
