"""Signals wait while what can't be cut short goes on, and are heeded after it."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from sidecar.undisturbed import hold, tidying_undisturbed, undisturbed


@pytest.fixture
def heeded() -> Iterator[list[int]]:
    found: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: found.append(number))
    yield found
    signal.signal(signal.SIGTERM, before)


def test_a_signal_comes_after_what_it_must_not_disturb(heeded: list[int]) -> None:
    with undisturbed():
        os.kill(os.getpid(), signal.SIGTERM)
        assert heeded == []
    assert heeded == [signal.SIGTERM]


def test_a_thread_beside_does_not_let_it_in(heeded: list[int]) -> None:
    """It would take a signal that the main thread masks, and Python would run its handler in the main thread."""
    done = threading.Event()
    beside = threading.Thread(target=done.wait)
    beside.start()
    with undisturbed():
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):
            os.getpid()
        assert heeded == []
    assert heeded == [signal.SIGTERM]
    done.set()
    beside.join()


def test_what_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with undisturbed():
        os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    signal.signal(signal.SIGTERM, before)


def test_only_what_failed_holds_signals_back_and_only_until_it_is_tidied_up(heeded: list[int]) -> None:
    with tidying_undisturbed():
        os.kill(os.getpid(), signal.SIGTERM)
        assert heeded == [signal.SIGTERM], "nothing has failed yet"
        hold()
        os.kill(os.getpid(), signal.SIGTERM)
        assert heeded == [signal.SIGTERM]
    assert heeded == [signal.SIGTERM, signal.SIGTERM]
    os.kill(os.getpid(), signal.SIGTERM)
    assert len(heeded) == 3
