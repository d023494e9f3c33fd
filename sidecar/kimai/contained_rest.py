"""Stop and start of Kimai's container around a restore: stopped for sure, and well again before anybody is told so."""

import logging
import time

from sidecar.errors import KimaiBackupError, Unreachable
from sidecar.kimai.console import UPGRADE_DEADLINE
from sidecar.kimai.docker import Engine
from sidecar.kimai.project import Container

log = logging.getLogger(__name__)

HEALTHY_DEADLINE = 600.0
"""Seconds from a start until it is healthy: its entrypoint waits for the database, migrates, warms the cache."""

RESTARTS = 3
"""How often the engine may start it again before it counts as broken: it would go on like that."""

POLL = 1.0


class ContainedRest:
    """One stop and start of the app's container."""

    def __init__(self, engine: Engine, app: Container, *, is_wanted: bool) -> None:
        self.is_wanted = is_wanted
        self._engine = engine
        self._app = app
        self._is_stopped = not app.is_running

    def stop(self) -> None:
        """Stop it, unless it is: asked each time, as a stop may fail, and somebody start it. Raises `Unreachable`."""
        seen = self._engine.inspect(self._app.id)
        if seen.status == "paused":
            # It would go on in the midst of what it did, on another database.
            raise Unreachable(
                f"Kimai's container {self._app.name} is paused", mend=stop_by_hand(self._app, seen.status)
            )
        if seen.is_running or seen.status == "restarting":
            # Before the call: one that fails or is cut short may have stopped it all the same.
            self._is_stopped = True
            self._engine.stop(self._app.id)
            log.info("Kimai's container %s is stopped", self._app.name)

    def start(self, *, migrating: bool = False) -> None:
        """Start it, and wait until it is healthy, where its image can tell. Raises `Unreachable`."""
        deadline = UPGRADE_DEADLINE if migrating else HEALTHY_DEADLINE
        self.is_wanted = True
        self._engine.start(self._app.id)
        self._is_stopped = False
        log.info("Kimai's container %s is started", self._app.name)
        ends = time.monotonic() + deadline
        while True:
            seen = self._engine.inspect(self._app.id)
            if seen.is_running and seen.health in (None, "healthy"):
                return
            if not seen.is_running and seen.status != "restarting":
                raise self._unwell(f"is {seen.status}")
            if seen.restarts >= RESTARTS:
                raise self._unwell(f"has ended {seen.restarts} times")
            if time.monotonic() > ends:
                raise self._unwell(f"is {seen.health or seen.status} after {deadline:g} seconds")
            time.sleep(POLL)

    def end(self) -> None:
        """Let it run again if it did, or was meant to; what keeps it from that is said, with what to do."""
        if not self._is_stopped or not self.is_wanted:
            return
        try:
            self._engine.start(self._app.id)
        except KimaiBackupError as error:
            log.error("Kimai's container %s can't be started: %s Start it yourself.", self._app.name, error)  # noqa: TRY400
        else:
            log.info("Kimai's container %s is started again", self._app.name)

    def _unwell(self, how: str) -> Unreachable:
        return Unreachable(
            f"Kimai's container {self._app.name} {how} after its start", mend=f"Look at: docker logs {self._app.name}"
        )


def stop_by_hand(app: Container, status: str) -> str:
    """What to do about one that neither runs nor is stopped."""
    resume = f"docker unpause {app.name} && " if status == "paused" else ""
    return f"Stop it: {resume}docker stop {app.name}; docker logs {app.name} may tell why it is so."
