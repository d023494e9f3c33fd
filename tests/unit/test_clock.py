"""The machine's clock: a signal ends its wait at once, whenever it comes, and never hangs it."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from sidecar.clock import WallClock

STORM = """
import signal, time
from sidecar.clock import WallClock

clock, signals = WallClock(), 0

def stop(*_):
    global signals
    signals += 1
    clock.stop()

signal.signal(signal.SIGALRM, stop)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
ends = time.monotonic() + 2
waits = 0
while time.monotonic() < ends:
    clock.wait(0.00001)
    waits += 1
signal.setitimer(signal.ITIMER_REAL, 0)
assert clock.stopped
print(signals, waits)
"""


@pytest.mark.slow
def test_signals_in_the_middle_of_many_waits_hang_nothing() -> None:
    ended = subprocess.run([sys.executable, "-c", STORM], capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 0, ended.stderr
    signals, waits = map(int, ended.stdout.split())
    assert signals > 100
    assert waits > 100


def test_a_signal_ends_a_wait_at_once_and_a_second_one_is_harmless() -> None:
    clock = WallClock()
    before = signal.signal(signal.SIGUSR1, lambda *_: clock.stop())
    try:
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1))
        timer.start()
        began = time.monotonic()
        clock.wait(30)
        assert 0.1 < time.monotonic() - began < 10
        timer.join()
        os.kill(os.getpid(), signal.SIGUSR1)
        clock.wait(30)
        assert clock.stopped
        assert time.monotonic() - began < 10
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_it_waits_for_as_long_as_it_should_where_nobody_stops_it() -> None:
    clock = WallClock()
    began = time.monotonic()
    clock.wait(0.25)
    clock.wait(0)
    assert 0.25 <= time.monotonic() - began < 5
    assert not clock.stopped
