"""Work beside the main thread, for so long and no longer: what hangs is left behind, a signal ends the wait."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def within(seconds: float, works: Sequence[Callable[[], T]]) -> list[T | Exception]:
    """What each work gave, or the error that it raised; `TimeoutError` where it was not done in time.

    They run side by side. What a signal's handler raises is raised here, at once, and never inside a library that
    would swallow it. The threads are daemons: one that hangs keeps no process from ending.
    """
    outcomes: list[T | Exception] = [TimeoutError(f"no answer within {seconds:g} s") for _ in works]

    def run(number: int, work: Callable[[], T]) -> None:
        try:
            outcomes[number] = work()
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            outcomes[number] = error

    ends = time.monotonic() + seconds
    threads = [threading.Thread(target=run, args=each, daemon=True) for each in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, ends - time.monotonic()))
    # A copy: one that comes late changes nothing of what is told now.
    return list(outcomes)
