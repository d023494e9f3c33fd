"""What an admin wants of a restore: all of a backup or a part of it, and what may pass that is refused else."""

from dataclasses import dataclass
from typing import Literal

Part = Literal["database", "files"]


@dataclass(frozen=True)
class Allowed:
    """What an admin lets pass: a version that nobody knows, one that differs, and a database that Kimai migrates."""

    unknown_version: bool = False
    version_mismatch: bool = False
    upgrade: bool = False


RULE = Allowed()
"""The documented rule: into the backup's own version alone."""


@dataclass(frozen=True)
class Wish:
    """What is to be restored, all of it without `only`, and what is let pass for it."""

    only: Part | None = None
    allowed: Allowed = RULE
