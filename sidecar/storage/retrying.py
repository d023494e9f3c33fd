"""Any target, with patience: what it did not answer is asked again for a while, what it refused is not."""

import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO, TypeVar

import tenacity

from sidecar.errors import Interrupted, StorageAway
from sidecar.storage.base import ObjectInfo, Source, Storage

log = logging.getLogger(__name__)

T = TypeVar("T")

_FIRST_WAIT = 0.5
_LONGEST_WAIT = 30.0


class RetryingStorage:
    """A target whose calls that fail by `StorageAway` are tried again; all else is raised at once.

    `deadline`: seconds, from the first failure of a call, in which further tries may begin (0: none do). Waits grow
    twofold, with jitter. They are slept in the thread that called: a signal whose handler raises ends them at once.
    A target that was given up is not waited for again until it has answered, so that a run whose target is down
    does not take the deadline once for every call. Nor is it once a call was interrupted: only taking back is left, and
    whoever interrupts waits for some seconds. `retries` counts the tries that were not the first.
    """

    def __init__(self, storage: Storage, deadline: float, sleep: Callable[[float], None] = time.sleep) -> None:
        self._storage = storage
        self._deadline = deadline
        self._sleep = sleep
        self._given_up = False
        self._interrupted = False
        self.retries = 0

    @property
    def name(self) -> str:
        """How users call this target."""
        return self._storage.name

    def put(self, key: str, source: Source, sha256: str | None = None) -> None:
        """Store the source under the key, all or nothing, replacing what was there."""
        self._call(f"store {key}", lambda: self._storage.put(key, source, sha256))

    def open(self, key: str) -> BinaryIO:
        """Give the object's bytes as a stream that the caller closes. Raises `ObjectNotFound`."""
        return self._call(f"read {key}", lambda: self._storage.open(key))

    def stat(self, key: str) -> ObjectInfo:
        """Tell the object's size, and whether it is locked. Raises `ObjectNotFound`."""
        return self._call(f"look at {key}", lambda: self._storage.stat(key))

    def list(self) -> Iterator[ObjectInfo]:
        """Every whole object, by key in ascending order of code points."""
        # To its end, as a page that fails must be asked for with all that came before it.
        return iter(self._call("list the backups", lambda: [*self._storage.list()]))

    def delete(self, key: str) -> None:
        """Remove the object; one that isn't there is no error."""
        self._call(f"delete {key}", lambda: self._storage.delete(key))

    def _call(self, doing: str, attempt: Callable[[], T]) -> T:
        patience = _Patience(0 if self._given_up or self._interrupted else self._deadline)
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(StorageAway),
            wait=patience.wait,
            stop=patience.is_over,
            sleep=self._sleep,
            before_sleep=lambda state: self._tell(doing, state),
            reraise=True,
        )
        try:
            found = retrying(attempt)
        except StorageAway:
            self._given_up = True
            raise
        except (Interrupted, KeyboardInterrupt, SystemExit):
            self._interrupted = True
            raise
        self._given_up = False
        return found

    def _tell(self, doing: str, state: tenacity.RetryCallState) -> None:
        self.retries += 1
        error = state.outcome.exception() if state.outcome else None
        wait = state.next_action.sleep if state.next_action else 0.0
        log.warning("%s: trying to %s again in %.1f s: %s", self.name, doing, wait, error)


class _Patience:
    """How long one call is waited for: from its first failure on, not from its beginning.

    An upload of hours that is cut off has deserved its next try as much as one of seconds.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends: float | None = None

    def wait(self, state: tenacity.RetryCallState) -> float:
        """Seconds until the next try, never beyond the end."""
        longest: float = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(state.attempt_number - 1, 10))
        wait: float = longest * random.uniform(0.5, 1)  # noqa: S311 - no secret hangs on it
        return min(wait, max(0.0, self._end() - time.monotonic()))

    def is_over(self, state: tenacity.RetryCallState) -> bool:  # noqa: ARG002 - tenacity's signature
        """Whether the last try was the last one."""
        return time.monotonic() >= self._end()

    def _end(self) -> float:
        if self._ends is None:
            self._ends = time.monotonic() + self._seconds
        return self._ends
