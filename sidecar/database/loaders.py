"""Several sessions that send INSERTs side by side, each in its own order, stopping at the first error."""

import contextlib
import logging
import queue
import re
import threading
from typing import Self

from sidecar.database.lexer import beginning
from sidecar.database.objects import kill
from sidecar.database.server import QueryFailed, Session
from sidecar.database.snapshot import Connect
from sidecar.errors import Damaged, KimaiBackupError

log = logging.getLogger(__name__)

_QUEUED = 3
"""Statements that wait for each session: about a megabyte each."""
_SEEN_EVERY = 0.5
"""Seconds after which a full or empty queue looks whether the load has failed."""
_WARNINGS_KEPT = 20
_PASSING = {1205, 1213}
"""Lock waits and deadlocks between the sessions: the server has undone the whole statement."""
_ATTEMPTS = 3
_ROWS = re.compile(rb"\s*(?:INSERT|REPLACE)\b", re.IGNORECASE)
"""Only there do warnings tell of values: MySQL has its say on every old sql_mode and full-text index."""


class Loaders:
    """Threads with a session each. `send` gives a statement to the idlest, `tell_all` to all, in their order."""

    def __init__(self, connect: Connect, connections: int) -> None:
        self._connect = connect
        self.warnings: list[str] = []
        self._failure: BaseException | None = None
        self._stopped = threading.Event()
        self._idle = threading.Condition()
        self._pending = 0
        self._sessions: list[Session] = []
        try:
            for _ in range(connections):
                session = connect()
                # A statement goes on at the server when its client hangs up: building an index takes what it takes.
                session.without_read_deadline()
                session.query("SET SESSION lock_wait_timeout=60")
                self._sessions.append(session)
        except BaseException:
            self._close()
            raise
        self._queues: list[queue.Queue[bytes]] = [queue.Queue(_QUEUED) for _ in self._sessions]
        self._threads = [
            threading.Thread(target=self._work, args=pair, name="loader", daemon=True)
            for pair in zip(self._sessions, self._queues, strict=True)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        numbers = [session.thread_id for session in self._sessions]
        self._stopped.set()
        for waiting in self._queues:
            with contextlib.suppress(queue.Full):  # a busy thread sees that it is to stop without being woken
                waiting.put_nowait(b"")
        self._close()
        for thread in self._threads:
            thread.join()
        if kind is not None:
            self._kill(numbers)

    def send(self, statement: bytes) -> None:
        """Give a statement to the session with the least to do. Raises what any session has failed with."""
        self._put(min(self._queues, key=lambda waiting: waiting.qsize()), statement)

    def tell_all(self, statement: bytes) -> None:
        """Give a statement to every session, after all that it got before."""
        for waiting in self._queues:
            self._put(waiting, statement)

    def wait(self) -> None:
        """Wait until every statement so far has been carried out. Raises what any session has failed with."""
        with self._idle:
            while self._pending:
                self._check()
                self._idle.wait(_SEEN_EVERY)
        self._check()

    def _put(self, waiting: "queue.Queue[bytes]", statement: bytes) -> None:
        with self._idle:
            self._pending += 1
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

    def _work(self, session: Session, waiting: "queue.Queue[bytes]") -> None:
        while not self._stopped.is_set() and self._failure is None:
            try:
                statement = waiting.get(timeout=_SEEN_EVERY)
            except queue.Empty:
                continue
            if self._stopped.is_set():
                return
            try:
                self._execute(session, statement)
            except BaseException as error:  # noqa: BLE001 - handed to the thread that sends
                self._failure = self._failure or error  # what comes after may only be the others being stopped
            with self._idle:
                self._pending -= 1
                self._idle.notify_all()

    def _execute(self, session: Session, statement: bytes) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                session.query(statement)
            except QueryFailed as error:
                if error.code not in _PASSING or attempt == _ATTEMPTS:
                    raise StatementRefused(statement, error) from error
                log.info("trying again after: %s", error.what)
            else:
                break
        if session.warning_count and _ROWS.match(statement) and len(self.warnings) < _WARNINGS_KEPT:
            self.warnings += session.warnings()[: _WARNINGS_KEPT - len(self.warnings)]

    def _kill(self, numbers: list[int]) -> None:
        """See to it that no statement of ours goes on: whoever takes back what was loaded would wait for it."""
        try:
            session = self._connect()
        except KimaiBackupError as error:
            log.warning("statements that were cut off may go on at the server: %s", error)
            return
        try:
            kill(session, numbers)
        finally:
            session.close()

    def _close(self) -> None:
        for session in self._sessions:
            session.close()


_OF_THE_DUMP = {
    *(1005, 1048, 1050, 1052, 1054, 1059, 1060, 1061, 1062, 1063, 1064, 1067, 1068, 1072, 1075, 1089),
    *(1101, 1103, 1110, 1136, 1146, 1149, 1166, 1171, 1176),
    *(1215, 1222, 1239, 1252, 1264, 1265, 1280, 1283, 1292, 1294),
    *(1300, 1304, 1308, 1320, 1324, 1331, 1351, 1353, 1359, 1362, 1363, 1364, 1366, 1367),
    *(1406, 1415, 1416, 1427, 1452, 1493, 1503, 1517, 1525, 1526, 1537, 1542, 1543, 1586),
    *(1687, 1822, 1824, 1825, 1826, 1830),
    *(3105, 3140, 3141, 3144, 3643, 3733, 3734, 3780, 3819, 3820, 3822, 4025, 4161),
}
"""Errors that speak of the text itself (syntax, names, keys, values), not of rights, room, locks or limits."""


class StatementRefused(Damaged):
    """The server does not carry out a statement of the dump; `of_the_dump`: any server of its kind would say so."""

    def __init__(self, statement: bytes, error: QueryFailed) -> None:
        super().__init__(
            f"the server refuses a statement of the dump: {error.what}: {beginning(statement)}", mend=error.mend
        )
        self.of_the_dump = error.code in _OF_THE_DUMP and not error.lacks_room
