"""Several sessions that send INSERTs side by side, each in its own order, stopping at the first error."""

import logging
import queue
import threading
from typing import Self

from sidecar.database.server import QueryFailed, Session, text
from sidecar.database.snapshot import Connect
from sidecar.errors import Damaged

log = logging.getLogger(__name__)

_QUEUED = 3
"""Statements that wait for each session: about a megabyte each."""
_SEEN_EVERY = 0.5
"""Seconds after which a full or empty queue looks whether the load has failed."""
_WARNINGS_KEPT = 20


class Loaders:
    """Threads with a session each. `send` gives a statement to the idlest, `tell_all` gives it to all in their order."""

    def __init__(self, connect: Connect, connections: int) -> None:
        self.warnings: list[str] = []
        self._failure: BaseException | None = None
        self._stopped = threading.Event()
        self._sessions: list[Session] = []
        try:
            for _ in range(connections):
                self._sessions.append(connect())
        except BaseException:
            self._close()
            raise
        self._queues: list[queue.Queue[bytes | None]] = [queue.Queue(_QUEUED) for _ in self._sessions]
        self._threads = [
            threading.Thread(target=self._work, args=pair, name="loader", daemon=True)
            for pair in zip(self._sessions, self._queues, strict=True)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._close()
        for thread in self._threads:
            thread.join()

    def send(self, statement: bytes) -> None:
        """Give a statement to the session with the least to do. Raises what any session has failed with."""
        self._put(min(self._queues, key=lambda waiting: waiting.qsize()), statement)

    def tell_all(self, statement: bytes) -> None:
        """Give a statement to every session, after all that it got before."""
        for waiting in self._queues:
            self._put(waiting, statement)

    def finish(self) -> None:
        """Wait until every statement has been carried out. Raises what any session has failed with."""
        for waiting in self._queues:
            self._put(waiting, None)
        for thread in self._threads:
            thread.join()
        self._check()

    def _put(self, waiting: "queue.Queue[bytes | None]", statement: bytes | None) -> None:
        while True:
            self._check()
            try:
                waiting.put(statement, timeout=_SEEN_EVERY)
            except queue.Full:
                continue
            return

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _work(self, session: Session, waiting: "queue.Queue[bytes | None]") -> None:
        while not self._stopped.is_set():
            try:
                statement = waiting.get(timeout=_SEEN_EVERY)
            except queue.Empty:
                continue
            if statement is None or self._failure is not None:
                return
            try:
                self._execute(session, statement)
            except BaseException as error:  # noqa: BLE001 - handed to the thread that sends
                self._failure = error
                return

    def _execute(self, session: Session, statement: bytes) -> None:
        try:
            session.query(statement)
        except QueryFailed as error:
            beginning = " ".join(text(statement[:120]).split())
            raise Damaged(f"the server refuses rows of the dump: {error.what}: {beginning}") from error
        if session.warning_count and len(self.warnings) < _WARNINGS_KEPT:
            self.warnings += session.warnings()[: _WARNINGS_KEPT - len(self.warnings)]

    def _close(self) -> None:
        for session in self._sessions:
            session.close()
