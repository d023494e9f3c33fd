"""What runs by itself by these settings: the schedules, since when they hold, and what the daemon saw last."""

import logging
from datetime import datetime, timedelta
from functools import cached_property

import msgspec

from sidecar.durable import write_whole
from sidecar.schedule import Cron, Plan
from sidecar.settings import Settings
from sidecar.since import Since
from sidecar.status import Look

log = logging.getLogger(__name__)

_RECENT = timedelta(minutes=15)
"""How old the daemon's look may be: it looks every ten minutes."""


class Planned:
    """The schedules of one instance."""

    def __init__(self, settings: Settings, instance: str) -> None:
        self._settings = settings
        self._instance = instance
        self._look = settings.backup_state_dir / f"{instance}.look.json"

    @cached_property
    def plans(self) -> list[Plan]:
        """In the order in which they run where several are due."""
        found, tz = self._settings, self._settings.timezone
        plans = []
        if found.backup_schedule is not None:
            jitter = timedelta(minutes=found.backup_jitter)
            # Several that share a store are not to ask it all at once.
            salt = f"{self._instance} {found.s3_bucket} {found.s3_prefix}"
            plans.append(Plan("backup", Cron(found.backup_schedule, tz), jitter, salt, by_hand_counts=True))
        if found.verify_schedule is not None:
            plans.append(Plan("verify", Cron(found.verify_schedule, tz)))
        if found.drill_schedule is not None:
            plans.append(Plan("drill", Cron(found.drill_schedule, tz)))
        return plans

    @cached_property
    def since(self) -> Since:
        """Since when schedules and targets are known."""
        return Since(self._settings.backup_state_dir / f"{self._instance}.since.json")

    def keep_look(self, look: bytes) -> None:
        """Keep what the daemon saw of the targets, for `health`."""
        try:
            write_whole(self._look, look)
        except OSError as error:
            log.warning("%s can't be written: %s", self._look, error.strerror)

    def recent_look(self, now: datetime) -> Look | None:
        """What the daemon saw of the targets, where that is some minutes old at the most."""
        try:
            found = msgspec.json.decode(self._look.read_bytes(), type=Look)
        except (OSError, msgspec.DecodeError):
            return None
        return found if timedelta() <= now - found.taken_at < _RECENT else None
