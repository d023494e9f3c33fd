"""The note of a restore under way: what it makes and how far it is, enough to end it either way after a kill."""

import shlex
from typing import Literal

import msgspec

from sidecar.manifest import Database
from sidecar.wish import Part, Wish

Phase = Literal["begun", "under way", "in place", "rolling back", "settled"]
"""How far a restore is. One into an empty database knows `begun`, `under way` and `settled` alone.

`begun`: nothing was touched, and Kimai may be stopped; over an instance in use the safety backup is being made. `under
way`: what is there is being replaced.
`in place`: the new one is wholly there, compared, and Kimai is to show that it works. `rolling back`: the safety backup
is being put back. `settled`: the restore counts as done.
"""


class Replacing(msgspec.Struct, kw_only=True):
    """What a restore into a database in use was asked for, to be resumed; and what to go back to.

    `reference` names the backup, whatever instance it is of: an ID, or the path of a zip. `safety` is the ID of the
    safety backup, once it is there and was found good. `events`: those that are to be enabled at the end. `stays`: what
    can't be taken away again, a sentence each. `about_to_drop`: a rollback was about to drop so many tables.
    """

    reference: str
    wish: Wish
    safety: str | None = None
    events: list[str] = []
    stays: list[str] = []
    about_to_drop: int = 0


class RestoreNote(msgspec.Struct, kw_only=True):
    """What a restore under way makes: enough for the next one to take it back after a kill.

    `objects` are kind and name of what is, or is about to be, made in the database; `expected` is what it shall hold,
    where the backup says so. `was_running`: Kimai's container ran before, and is to run again. `upgrading`: Kimai
    migrates what was loaded, so that everything in the database is the restore's. `replacing`: the database was in use.
    `only`, `tables` and `files`: what alone is restored, where that isn't all. `places` tells the name of each table by
    the one that it goes by until it is whole; once `placing`, one that is not there under that has its own (`placed`).
    """

    backup: str
    database: str
    run_id: str
    root: str
    was_running: bool = False
    upgrading: bool = False
    phase: Phase = "begun"
    objects: list[list[str]] = []
    expected: Database | None = None
    replacing: Replacing | None = None
    only: Part | None = None
    tables: list[str] = []
    files: list[str] = []
    places: dict[str, str] = {}
    placing: bool = False

    @property
    def is_settled(self) -> bool:
        """Whether the restore counts, so that nothing may take it back."""
        return self.phase == "settled"

    @property
    def is_between(self) -> bool:
        """Whether what is there is neither wholly the old instance nor shown to be the new one."""
        return self.phase not in ("begun", "settled")

    @property
    def safety(self) -> str:
        """The ID of the safety backup, which is there in every phase but `begun`."""
        if self.replacing is None or self.replacing.safety is None:
            raise AssertionError(f"a restore that is {self.phase} has no safety backup")
        return self.replacing.safety

    def saved_as(self, safety: str) -> None:
        """The safety backup is there: what is in use may be replaced."""
        if self.replacing is not None:
            self.replacing.safety = safety

    @property
    def what(self) -> str:
        """What became of it, in a sentence."""
        if self.phase == "begun":
            return f"a restore of {self.backup} was cut short before it had touched anything, and Kimai may be stopped"
        return f"a restore of {self.backup} was cut short: Kimai's database and files may be half restored"

    @property
    def again(self) -> str:
        """The arguments of the command that began it."""
        tables = [word for name in self.tables for word in ("--tables", name)]
        files = [word for path in self.files for word in ("--files", path)]
        only = ["--only", self.only] if self.only else []
        return shlex.join(["restore", self.backup, *only, *tables, *files])

    @property
    def mend(self) -> str:
        """What an admin has to do about it."""
        if self.replacing is None and self.phase == "begun":
            return f"Run `kimai-backup {self.again}` again, or `kimai-backup restore --rollback` to leave all as it is."
        if self.replacing is None:
            return f"Run `kimai-backup {self.again}` again: it takes back what that one made."
        if self.phase == "begun":
            return (
                "`kimai-backup restore --resume` begins it anew, `kimai-backup restore --rollback` leaves all as it is."
            )
        return (
            "`kimai-backup restore --resume` brings it to its end, `kimai-backup restore --rollback` puts the safety "
            f"backup {self.replacing.safety} back."
        )
