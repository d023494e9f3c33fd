"""Patience with a target: how often it is asked, for how long, and what ends the waiting."""

import logging
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sidecar.errors import Interrupted, ObjectNotFound, StorageAway, StorageFailed
from sidecar.storage.retrying import RetryingStorage
from tests.support.memory_storage import MemoryStorage


class Failing(MemoryStorage):
    """A target whose `stat` fails so many times, then answers."""

    def __init__(self, times: int, error: type[StorageFailed] = StorageAway) -> None:
        super().__init__("s3")
        self.put("key", b"x")
        self.asked = 0
        self._times = times
        self._error = error

    def stat(self, key: str) -> object:  # type: ignore[override]
        self.asked += 1
        if self.asked <= self._times:
            raise self._error(f"no answer, {self.asked}")
        return super().stat(key)


def patient(storage: MemoryStorage, deadline: float = 300) -> tuple[RetryingStorage, list[float]]:
    """With waits that take no time, and a list of them."""
    slept: list[float] = []
    return RetryingStorage(storage, deadline, sleep=slept.append), slept


def test_what_passes_is_tried_again_and_each_time_told(caplog: pytest.LogCaptureFixture) -> None:
    storage, slept = patient(failing := Failing(4))
    assert storage.stat("key").size == 1
    assert failing.asked == 5
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(lines) == len(slept) == 4
    assert all(
        f"no answer, {n}" in line and "s3: trying to look at key again" in line for n, line in enumerate(lines, 1)
    )


def test_waits_grow_and_bear_jitter() -> None:
    runs = []
    for _ in range(3):
        storage, slept = patient(Failing(9))
        storage.stat("key")
        runs.append(slept)
        for number, wait in enumerate(slept):
            longest = min(30, 0.5 * 2**number)
            assert longest / 2 <= wait <= longest
    assert runs[0] != runs[1] != runs[2]


@pytest.mark.parametrize("error", [StorageFailed, ObjectNotFound])
def test_what_stands_is_raised_at_once(error: type[StorageFailed]) -> None:
    storage, slept = patient(failing := Failing(1, error))
    with pytest.raises(error):
        storage.stat("key")
    assert (failing.asked, slept) == (1, [])


def test_a_deadline_of_none_tries_once() -> None:
    storage, slept = patient(failing := Failing(1), 0)
    with pytest.raises(StorageAway):
        storage.stat("key")
    assert (failing.asked, slept) == (1, [])


def test_the_deadline_ends_it_with_the_last_reason() -> None:
    failing = Failing(1000)
    began = time.monotonic()
    with pytest.raises(StorageAway, match=r"no answer, [2-9]"):
        RetryingStorage(failing, 1.0).stat("key")
    assert 0.9 <= time.monotonic() - began < 3
    assert failing.asked >= 2


def test_a_target_that_was_given_up_is_not_waited_for_until_it_answers() -> None:
    failing = Failing(1000)
    storage = RetryingStorage(failing, 0.3)
    with pytest.raises(StorageAway):
        storage.stat("key")
    asked, began = failing.asked, time.monotonic()
    with pytest.raises(StorageAway):
        storage.stat("key")
    assert failing.asked == asked + 1
    assert time.monotonic() - began < 0.2
    failing._times = 0
    storage.stat("key")
    failing.asked, failing._times = 0, 1
    assert storage.stat("key").size == 1


def test_once_a_call_was_interrupted_each_other_has_one_try() -> None:
    def interrupt(seconds: float) -> None:
        raise Interrupted("interrupted by SIGTERM")

    failing = Failing(3)
    storage = RetryingStorage(failing, 300, sleep=interrupt)
    with pytest.raises(Interrupted):
        storage.stat("key")
    # One that answers meanwhile does not bring the patience back.
    storage.delete("key")
    for asked in (2, 3):
        with pytest.raises(StorageAway):
            storage.stat("key")
        assert failing.asked == asked


WAITS = """
import signal, sys
from sidecar.errors import StorageAway
from sidecar.storage.retrying import RetryingStorage
class Target:
    name = "s3"
    def delete(self, key):
        print("asked", flush=True)
        raise StorageAway("no answer")
def stop(*_):
    raise SystemExit(130)
signal.signal(signal.SIGTERM, stop)
RetryingStorage(Target(), 600, sleep=lambda seconds: __import__("time").sleep(60)).delete("key")
"""


def test_a_sigterm_ends_a_wait_at_once(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WAITS], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "asked\n"
        time.sleep(0.3)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 130
        assert time.monotonic() - began < 3
