"""Runs: what a command did and how it ended, as it is remembered for health, page, metrics and notices."""

import secrets
from datetime import datetime
from typing import Literal

import msgspec

from sidecar.errors import Exit

Command = Literal["backup", "verify", "drill", "prune", "restore"]
Trigger = Literal["hand", "schedule", "missed", "retry"]
"""Why a run began: somebody asked, its hour came, its hour had passed while nothing ran, the one before failed."""

KILLED = 137
"""The exit code that stands for a run that was killed and so could not tell its own: 128 and SIGKILL, as shells say."""

KEEP_RUNS = 1000
"""How many runs are remembered: two years of nights, and some by hand; and the few older ones that others hang on."""


def new_id(now: datetime) -> str:
    """An ID for a run, which sorts by the time it began (UTC)."""
    return f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


class Phase(msgspec.Struct, frozen=True):
    """A part of a run: how long it took in seconds, and how much it had to do in its unit."""

    name: str
    seconds: float
    amount: int = 0
    unit: Literal["bytes", "items"] = "bytes"


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """A run that has begun and not ended."""

    id: str
    command: Command
    trigger: Trigger
    started_at: datetime


class Run(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A run that has ended. Times are UTC, sizes bytes; `summary` is one sentence, an error's own where it failed.

    `backup` is the ID that was made, or that alone was verified or drilled; `targets` took it, `failed` tells of each
    other target why not; `lacks` names what was missing, unreadable, changed or left undone, `shrank` what the backup
    before it had and this one has not, `unpruned` why nobody knows that, so that nothing was pruned. `retries` counts
    the calls to targets that were made again. A verify says whether it was `keyed`, and how many encrypted copies it
    left `unopened`. `told` are the notices that were sent of it.
    """

    id: str
    command: Command
    trigger: Trigger = "hand"
    started_at: datetime
    finished_at: datetime
    exit_code: int
    summary: str
    phases: list[Phase] = []
    retries: int = 0
    backup: str | None = None
    kimai_version: str | None = None
    size: int = 0
    tables: int = 0
    rows: int = 0
    files: int = 0
    targets: list[str] = []
    failed: dict[str, str] = {}
    lacks: list[str] = []
    shrank: str | None = None
    unpruned: str | None = None
    sent: int = 0
    pruned: int = 0
    keyed: bool = False
    unopened: int = 0
    told: list[str] = []

    @property
    def seconds(self) -> float:
        """How long it took; never negative, whatever the clock did meanwhile."""
        return max(0.0, (self.finished_at - self.started_at).total_seconds())

    @property
    def is_good(self) -> bool:
        """All that it was to do is done."""
        return self.exit_code == Exit.DONE

    @property
    def is_stored(self) -> bool:
        """It did what it was to do on every target, though it may have had to do without something (exit 3)."""
        return self.is_good or (self.exit_code == Exit.PARTIAL and not self.failed)


def unrecorded(run_id: str, command: Command, trigger: Trigger, began: datetime, now: datetime, code: int) -> Run:
    """The record of a run that left none: it ended before it began, or could not write one. A signal is below 0."""
    code = code if code >= 0 else 128 - code
    see = "a setting is wrong: see the log, or `kimai-backup config`" if code == Exit.CONFIGURATION else "see the log"
    return Run(
        id=run_id,
        command=command,
        trigger=trigger,
        started_at=began,
        finished_at=max(now, began),
        exit_code=code,
        summary=f"{command} ended with exit code {code} and left no record; {see}",
    )
