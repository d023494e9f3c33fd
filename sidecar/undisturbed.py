"""Holding signals back: what must not be cut short, and the taking back of what a failed run did."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

_HELD = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let no signal that ends a run come in between; one that came is heeded afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def tidying_undisturbed() -> Iterator[None]:
    """Around a run whose failure calls `hold`: signals are heeded again once all is tidied up."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def hold() -> None:
    """From here on only tidying up is left: hold signals back until `tidying_undisturbed` ends."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
