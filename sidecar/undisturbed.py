"""Holding signals back: what must not be cut short, and the taking back of what a failed run did.

By handlers, not by the thread's mask: a signal that the main thread doesn't take goes to another one, and Python runs
its handler in the main thread all the same.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class _Deferral:
    """Signals that end a run, noted from `begin` on and raised again at the `end`. Elsewhere than in the main thread
    nothing has to be held back: handlers run in that one.
    """

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}
        self._came: list[int] = []

    def begin(self) -> None:
        if self._before or threading.current_thread() is not threading.main_thread():
            return
        for number in _ENDING:
            handler = signal.getsignal(number)
            if handler not in (signal.SIG_IGN, None):
                self._before[number] = handler
                signal.signal(number, self._note)

    def end(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
        came, self._came = self._came, []
        for noted in came:
            signal.raise_signal(noted)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._came.append(number)


_tidying: list[_Deferral] = []


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let no signal that ends a run come in between; one that came is heeded afterwards."""
    deferral = _Deferral()
    deferral.begin()
    try:
        yield
    finally:
        deferral.end()


@contextmanager
def tidying_undisturbed() -> Iterator[None]:
    """Around a run whose failure calls `hold`: signals are heeded again once all is tidied up."""
    deferral = _Deferral()
    _tidying.append(deferral)
    try:
        yield
    finally:
        _tidying.remove(deferral)
        deferral.end()


def hold() -> None:
    """From here on only tidying up is left: hold signals back until `tidying_undisturbed` ends."""
    if _tidying:
        _tidying[-1].begin()
