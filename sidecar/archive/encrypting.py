"""An archive encrypted with age while it is written: no plaintext of it lies on any disk."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, cast

from sidecar.archive.age import recipient

if TYPE_CHECKING:
    from io import BufferedIOBase

_PIECE = 1 << 18
"""Bytes that are handed over at once; the pieces of a zip may be as short as a header."""
GRACE = 10.0
"""Seconds that a thread gets to end once its work is given up: it may hang in a write."""


class Sink(Protocol):
    """What takes the encrypted bytes."""

    def write(self, piece: bytes, /) -> object:
        """Take all of them, or raise."""


@contextmanager
def encrypted(sink: Sink, recipients: Sequence[str]) -> Iterator[Callable[[bytes], None]]:
    """Give a `write` whose bytes reach the sink encrypted, all of them once the block has ended well.

    Nothing is kept in between but one piece, so no plaintext lies on any disk. What the sink raises is raised by a
    later `write`, or at the end. pyrage has no object to write to, only a function that reads to an end: that runs in a
    thread, which also keeps from it what a signal's handler raises.
    """
    import pyrage

    keys = [recipient(each) for each in recipients]
    handover, output = _Handover(), Output(sink.write)

    def work() -> None:
        try:
            pyrage.encrypt_io(cast("BufferedIOBase", handover), cast("BufferedIOBase", output), keys)
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            handover.fail(output.failure or error)
        else:
            # A failure to write its last bytes, pyrage passes over.
            handover.fail(output.failure)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield handover.write
        handover.end()
        thread.join()
        handover.raise_failure()
    except BaseException:
        handover.give_up()
        thread.join(GRACE)
        raise


class GivenUp(Exception):
    """The other side has no more use for it."""


class _Handover:
    """One piece after the other from who writes to who reads, in two threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held = bytearray()
        self._piece = memoryview(b"")
        self._ended = False
        self._given_up = False
        self._failure: BaseException | None = None

    # The writer's side.

    def write(self, piece: bytes) -> None:
        self._held += piece
        if len(self._held) >= _PIECE:
            self._hand_over()

    def end(self) -> None:
        self._hand_over()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def give_up(self) -> None:
        with self._changed:
            self._given_up = True
            self._changed.notify_all()

    def raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _hand_over(self) -> None:
        piece, self._held = bytes(self._held), bytearray()
        with self._changed:
            self._changed.wait_for(lambda: not self._piece or self._failure is not None)
            self.raise_failure()
            self._piece = memoryview(piece)
            self._changed.notify_all()

    # The reader's side: a file, as far as pyrage needs one.

    def read(self, size: int, /) -> bytes:
        if not self._piece:
            with self._changed:
                self._changed.wait_for(lambda: self._piece or self._ended or self._given_up)
                if self._given_up:
                    raise GivenUp
        found = bytes(self._piece[:size])
        with self._changed:
            self._piece = self._piece[size:]
            if not self._piece:
                self._changed.notify_all()
        return found

    def fail(self, failure: BaseException | None) -> None:
        with self._changed:
            self._failure = failure
            self._changed.notify_all()


class Output:
    """A file for pyrage to write to, which keeps what went wrong: pyrage gives that as a text, or not at all."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self.failure: BaseException | None = None

    def write(self, piece: bytes, /) -> int:
        """Pass it on."""
        try:
            if self.failure is None:
                self._write(piece)
        except BaseException as error:
            self.failure = error
            raise
        return len(piece)

    def flush(self) -> None:
        """Nothing is held here."""
