"""How things stand: what lies on the targets, what ran, what comes next; the one picture that page and metrics show."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo

import msgspec

from sidecar.retention import Policy
from sidecar.runs import Command, Run, Started

AHEAD = timedelta(minutes=5)
"""A backup that claims to be of a later time than now shows a wrong clock, and is no fresh one."""


class Kept(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One copy of a backup on its target; `size` in bytes, `keep` and `reasons` are what retention says of it now."""

    id: str
    created_at: datetime
    kimai_version: str
    size: int
    encrypted: bool = False
    proven: bool = False
    damaged: bool = False
    safety: bool = False
    keep: bool = True
    reasons: list[str] = []


class Shelf(msgspec.Struct, frozen=True, kw_only=True):
    """One target: its backups, newest first; or the `problem` that kept it from being listed."""

    target: str
    backups: list[Kept] = []
    strays: list[str] = []
    problem: str | None = None


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What lay on the targets when they were last looked at (UTC)."""

    taken_at: datetime
    shelves: list[Shelf]


class Next(msgspec.Struct, frozen=True, kw_only=True):
    """When a command runs next by itself: by `schedule`, a cron expression, or to make up for a run that failed."""

    command: Command
    schedule: str
    at: datetime
    is_retry: bool = False


@dataclass(frozen=True)
class Status:
    """Everything at one moment. `problems` has a line for each reason why not all is well; `runs` come oldest first.

    `policies` holds retention by target; `log` the last lines of the newest run.
    """

    instance: str
    version: str
    now: datetime
    tz: tzinfo
    problems: Sequence[str] = ()
    nexts: Sequence[Next] = ()
    running: Started | None = None
    look: Look | None = None
    runs: Sequence[Run] = ()
    log: Sequence[str] = ()
    policies: dict[str, Policy] = field(default_factory=dict)
