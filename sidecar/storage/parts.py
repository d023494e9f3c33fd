"""Objects in parts: how large each is, and several of them on their way side by side."""

import io
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

PART = 8 << 20
"""Bytes of a part, and of what is sent and fetched in one piece."""
PARTS = 10_000
"""How many parts the stores allow."""
_GRAIN = 1 << 20
_SEEN_EVERY = 0.5
_GRACE = 5.0
"""Seconds that parts under way get to end once one has failed: an upload is only given up after its last part."""


class Span(NamedTuple):
    """Part `number` (from 1): so many bytes from an offset on."""

    number: int
    offset: int
    size: int


def spans(size: int) -> list[Span]:
    """The parts of so many bytes: all of one size, which grows so that PARTS of them are enough, the last shorter."""
    step = max(PART, -(-size // PARTS // _GRAIN) * _GRAIN)
    return [Span(at // step + 1, at, min(step, size - at)) for at in range(0, size, step)]


class Slice(io.RawIOBase):
    """One part of a file as a stream of its own, for parts too large to be held in memory."""

    def __init__(self, descriptor: int, span: Span, read: Callable[[int, int, int], bytes]) -> None:
        self._descriptor = descriptor
        self._span = span
        self._read = read
        self._at = 0

    def __len__(self) -> int:
        return self._span.size

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Bytes from the part's beginning."""
        return self._at

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move within the part."""
        self._at = max(0, offset + (0, self._at, self._span.size)[whence])
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """Read into the buffer, never past the part's end."""
        wanted = min(len(buffer), max(0, self._span.size - self._at))
        data = self._read(self._descriptor, wanted, self._span.offset + self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def done_in_order(parts: list[Span], work: Callable[[Span], None], workers: int) -> Iterator[Span]:
    """Have each part worked on, several at once, and give them in their order as they are done.

    Raises what the first to fail has raised. Whoever stops asking stops the work: parts under way get a few
    seconds to end, and their threads don't keep the process from ending.
    """
    state = _State(parts, work)
    threads = [threading.Thread(target=state.run, daemon=True) for _ in range(min(workers, len(parts)))]
    for thread in threads:
        thread.start()
    try:
        for part in parts:
            state.wait_for(part)
            yield part
    finally:
        state.stop()
        ends = time.monotonic() + _GRACE
        for thread in threads:
            thread.join(max(0.0, ends - time.monotonic()))


def aside(work: Callable[[], T]) -> T:
    """Do the work in a thread of its own and wait for it.

    What a signal's handler raises is raised here, at once. Inside of botocore it would be taken for a fault of the
    line, and the request made again.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome.result()


class _State:
    def __init__(self, parts: list[Span], work: Callable[[Span], None]) -> None:
        self._left = iter(parts)
        self._work = work
        self._changed = threading.Condition()
        self._done: set[int] = set()
        self._failure: BaseException | None = None
        self._stopped = False

    def run(self) -> None:
        while True:
            with self._changed:
                part = None if self._stopped else next(self._left, None)
            if part is None:
                return
            try:
                self._work(part)
            except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
                with self._changed:
                    self._failure = self._failure or error
                    self._stopped = True
                    self._changed.notify_all()
                return
            with self._changed:
                self._done.add(part.number)
                self._changed.notify_all()

    def wait_for(self, part: Span) -> None:
        with self._changed:
            while part.number not in self._done:
                if self._failure is not None:
                    raise self._failure
                self._changed.wait(_SEEN_EVERY)
            self._done.discard(part.number)

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
