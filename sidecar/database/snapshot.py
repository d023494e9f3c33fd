"""Several sessions that see the database at one and the same moment."""

import logging
import queue
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from sidecar.database.rights import may, privileges
from sidecar.database.server import QueryFailed, Session, quote_name
from sidecar.errors import KimaiBackupError

log = logging.getLogger(__name__)

Connect = Callable[[], Session]

_LOCK_WAIT = 1205
_ATTEMPTS = 10
_PAUSE = 0.05
"""Seconds between attempts to lock all tables at once."""


class Snapshot:
    """Sessions inside one consistent snapshot, each lent to one borrower at a time, and as many threads for them."""

    def __init__(self, sessions: list[Session]) -> None:
        self.sessions = sessions
        self.executor = ThreadPoolExecutor(len(sessions), thread_name_prefix="snapshot")
        self._free: queue.SimpleQueue[Session | None] = queue.SimpleQueue()
        for session in sessions:
            self._free.put(session)

    @contextmanager
    def borrow(self) -> Iterator[Session]:
        """A session for one statement or stream. Waits for a free one, until the snapshot is closed."""
        session = self._free.get()
        if session is None:
            raise KimaiBackupError("the snapshot was closed")
        try:
            yield session
        finally:
            self._free.put(session)

    def close(self) -> None:
        """End the snapshot; statements under way are cut off."""
        for session in self.sessions:
            session.close()
        for _ in self.sessions:  # a thread that waits for a session that will not come back
            self._free.put(None)
        self.executor.shutdown(cancel_futures=True)


@contextmanager
def take(connect: Connect, connections: int) -> Iterator[Snapshot]:
    """A snapshot over at most `connections` sessions, over one where the server doesn't let them share it."""
    sessions = [connect()]
    try:
        sessions += _companions(connect, sessions[0], connections)
        if len(sessions) == 1 or not _share(connect, sessions):
            for session in sessions[1:]:
                session.close()
            del sessions[1:]
            begin(sessions[0])
    except BaseException:
        for session in sessions:
            session.close()
        raise
    snapshot = Snapshot(sessions)
    try:
        yield snapshot
    finally:
        snapshot.close()


def begin(session: Session) -> None:
    """Start a snapshot in one session."""
    session.query("START TRANSACTION WITH CONSISTENT SNAPSHOT")
    if session.warning_count:
        raise KimaiBackupError(f"the server gives no consistent snapshot: {'; '.join(session.warnings())}")


def why_alone(session: Session) -> str | None:
    """Why several sessions can't share a snapshot on this server; None where they can."""
    if session.variables.get("wsrep_on", "OFF") == "ON":
        return "the server is a Galera cluster's node"
    if not may(privileges(session), "LOCK TABLES"):
        return f"the user lacks LOCK TABLES on {session.database}"
    return None


def _companions(connect: Connect, first: Session, connections: int) -> list[Session]:
    if connections == 1:
        return []
    reason = why_alone(first)
    if reason is not None:
        log.warning("one connection instead of %d: %s", connections, reason)
        return []
    others: list[Session] = []
    for _ in range(connections - 1):
        try:
            others.append(connect())
        except KimaiBackupError as error:
            log.warning("%d connections instead of %d: %s", 1 + len(others), connections, error)
            break
    return others


def _share(connect: Connect, sessions: list[Session]) -> bool:
    """Start all snapshots while a short lock keeps every table still. False where the lock can't be had."""
    try:
        locker = connect()
    except KimaiBackupError as error:
        log.warning("one connection instead of %d: %s", len(sessions), error)
        return False
    try:
        if len({session.identity for session in (*sessions, locker)}) > 1:
            log.warning("one connection instead of %d: the address leads to different servers", len(sessions))
            return False
        if tables := base_tables(locker):
            _lock(locker, "LOCK TABLES " + ", ".join(f"{quote_name(name)} READ" for name in tables))
        for session in sessions:
            begin(session)
    except QueryFailed as error:
        log.warning("one connection instead of %d: the tables can't be locked: %s", len(sessions), error.what)
        return False
    else:
        return True
    finally:
        locker.close()


def base_tables(session: Session) -> list[str]:
    """The names of all that LOCK TABLES can lock."""
    found = session.texts(
        "SELECT TABLE_NAME FROM information_schema.TABLES "
        "WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY TABLE_NAME"
    )
    return [name or "" for (name,) in found]


def _lock(locker: Session, statement: str) -> None:
    """Lock all tables. While the server waits for one, it already holds others back, and may fail a writer that holds
    the one and wants another (a deadlock): so first ask for moments when there is nothing to wait for.
    """
    for _ in range(_ATTEMPTS if locker.flavour == "mariadb" else 0):
        try:
            locker.query(f"{statement} NOWAIT")
        except QueryFailed as error:
            if error.code != _LOCK_WAIT:
                raise
            time.sleep(_PAUSE)
        else:
            return
    locker.query(statement)
