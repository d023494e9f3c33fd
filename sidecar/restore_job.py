"""What a restore works with, and what it tells of its steps."""

import logging
import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from sidecar.archive.source import Source
from sidecar.database.compare import Difference
from sidecar.database.snapshot import Connect
from sidecar.errors import Exit, KimaiBackupError, Refused
from sidecar.kimai.target import Target
from sidecar.making import Means
from sidecar.report.progress import Progress
from sidecar.restore_note import Phase, RestoreNote
from sidecar.state import State

log = logging.getLogger(__name__)

BLOCK = 1 << 20
"""Bytes of SQL, or of a file, read from the archive at once."""


@dataclass(frozen=True)
class Job:
    """What a restore works with. `open_backup` finds, fetches and opens what the user named.

    `is_own_url`: the database's URL is Kimai's own. `kimai_url`: where its web pages are, None where nobody said.
    `reopen` takes whole IDs, of any instance, and paths; `means` are what a safety backup is made with, and
    `require_key` raises `ConfigurationError` where that could not be read back without a key.
    """

    open_backup: Callable[[str], AbstractContextManager[Source]]
    connect: Connect
    connections: int
    database_url: str
    redacted_url: str
    kimai: Target
    is_own_url: bool
    kimai_url: str | None
    reopen: Callable[[str], AbstractContextManager[Source]]
    means: Callable[[], Means]
    require_key: Callable[[], None]
    state: State
    progress: Progress


def new_note(job: Job, source: Source, *, was_running: bool) -> RestoreNote:
    """The note of a restore that begins."""
    return RestoreNote(
        backup=source.label,
        database=job.redacted_url,
        run_id=secrets.token_hex(8),
        root=str(job.kimai.root.resolve()),
        was_running=was_running,
    )


def enter(job: Job, note: RestoreNote, phase: Phase) -> None:
    """Write down how far the restore is; where that can't be written it isn't there."""
    before, note.phase = note.phase, phase
    try:
        job.state.write_restore_note(note)
    except BaseException:
        note.phase = before
        raise


def add(error: BaseException, sentence: str) -> None:
    """Let an error say this as well."""
    if isinstance(error, KimaiBackupError):
        error.mend = f"{error.mend} {sentence}".strip()
    else:
        log.error("%s", sentence)


def add_left(error: BaseException, sentence: str, code: Exit = Exit.PARTIAL) -> None:
    """Let an error say what it leaves, and end with that code where its own would say that nothing was touched."""
    add(error, sentence)
    if isinstance(error, Refused):
        error.exit_code = code if code is not Exit.REFUSED else Exit.PARTIAL


@dataclass
class Report:
    """What a restore did, or would do: its steps and what an admin should know, a sentence each.

    `checked` are those of the steps that only looked; `upgraded`: Kimai has migrated the database. `safety` is the ID
    of the backup of what was there; `brought` says what alone was brought back, empty where nothing was lost, None
    where all was. `lacks` are those of the notes that tell what is not as it was meant to be. `gone`: what was there,
    and comes back by no taking back. `on_change` is called at each sentence.
    """

    backup: str
    steps: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lacks: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    dry_run: bool = False
    checked: list[str] = field(default_factory=list)
    upgraded: bool = False
    safety: str | None = None
    brought: str | None = None
    is_rolled_back: bool = False
    on_change: Callable[[], None] = lambda: None

    @property
    def end(self) -> str:
        """What it has led to, in few words."""
        if self.is_rolled_back:
            return f"{self.backup} is rolled back"
        if self.brought == "":
            return f"nothing of {self.backup} was to be brought back"
        return f"{f'{self.brought} of ' if self.brought else ''}{self.backup} is restored"

    def step(self, text: str) -> None:
        """Say and keep what was done."""
        if not self.dry_run:
            log.info("%s", text)
        self.steps.append(text)
        self.on_change()

    def check(self, text: str) -> None:
        """Say and keep what was found in order, before anything was touched."""
        self.checked.append(text)
        self.step(text)

    @property
    def exit_code(self) -> Exit:
        """What the command ends with, unless by an error."""
        return Exit.PARTIAL if self.lacks else Exit.DONE

    def lack(self, text: str) -> None:
        """Say and keep what could not be made as it was meant to be."""
        self.lacks.append(text)
        self.note(text)

    def doubt(self, difference: Difference) -> None:
        """Say and keep that a definition differs, where another release of the server may only put it otherwise."""
        if difference.is_lost:
            self.lack(str(difference))
        else:
            self.note(difference.as_doubt)

    def note(self, text: str) -> None:
        """Say and keep what an admin should know."""
        if text not in self.notes:
            if not self.dry_run:
                log.warning("%s", text)
            self.notes.append(text)
            self.on_change()
