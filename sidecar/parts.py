"""From settings to the parts that a run is put together from: the only place, with `app`, that knows the adapters."""

import errno
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from sidecar import settings
from sidecar.errors import ConfigurationError, UsageError
from sidecar.report import log as logs
from sidecar.runs import Command, Started, Trigger, new_id
from sidecar.servers import Servers
from sidecar.settings import Settings
from sidecar.site import Site
from sidecar.state import State

if TYPE_CHECKING:
    from sidecar.catalog import Backup, Catalog
    from sidecar.history import History
    from sidecar.planned import Planned
    from sidecar.recorder import Recording
    from sidecar.references import Command as Referring
    from sidecar.status import Look
    from sidecar.storage.base import Storage
    from sidecar.targets import Targets
    from sidecar.telling import Teller
    from sidecar.turns import Tries

log = logging.getLogger(__name__)

DEFAULT_INSTANCE = "kimai"
_INSTANCE = re.compile(r"[a-z0-9_-]+")
_TO_TELL = (
    *("tz", "backup_instance", "backup_state_dir", "log_level", "log_format"),
    *("notify_urls", "notify_success", "notify_unproven_days", "heartbeat_url"),
)


@dataclass
class Parts:
    """What one run needs of everything. What is heavy to import is imported where it is first used."""

    settings: Settings
    instance: str
    run_id: str

    @classmethod
    def load(cls, environment: Mapping[str, str], instance: str | None = None, run_id: str | None = None) -> Self:
        """Read the settings and start the log. Raises `ConfigurationError` with every problem at once."""
        from sidecar.archive.age import check_identity, check_recipients
        from sidecar.database.url import parse

        found = settings.load(
            environment,
            check_database_url=parse,
            check_recipients=check_recipients,
            check_identity=check_identity,
        )
        run_id = run_id or new_id(datetime.now(UTC))
        logs.configure(found.log_level, found.log_format, run_id=run_id, secrets=settings.secrets(found))
        for line in settings.misspelt(environment):
            log.warning("%s", line)
        # Kimai's console runs in Kimai's folder: a relative path would mean another place there.
        found = msgspec.structs.replace(
            found,
            kimai_dir=found.kimai_dir.absolute(),
            backup_dir=found.backup_dir.absolute() if found.backup_dir else None,
            backup_state_dir=found.backup_state_dir.absolute(),
        )
        _refuse_loops(found)
        name = instance or own_instance(found)
        if not _INSTANCE.fullmatch(name):
            raise UsageError(f"--instance {name}: only a-z, 0-9, _ and - may be in it")
        return cls(found, name, run_id)

    @classmethod
    def load_to_tell(cls, environment: Mapping[str, str], instance: str | None = None) -> Self:
        """What `teller` needs, and no more: a setting that is wrong may be the very thing to tell of.

        Docker isn't asked for the project either: without its name as `instance`, BACKUP_INSTANCE or the default is.
        """
        found, problems = settings.load_some(environment, _TO_TELL)
        logs.configure(found.log_level, found.log_format, secrets=settings.secrets(found))
        for line in problems:
            log.warning("%s", line)
        return cls(found, instance or found.backup_instance or DEFAULT_INSTANCE, "")

    # ── Runs ─────────────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def history(self) -> "History":
        """What ran before, and what runs."""
        from sidecar.history import History

        return History(self.settings.backup_state_dir / f"{self.instance}.runs")

    @cached_property
    def teller(self) -> "Teller":
        """Who is told of runs."""
        from sidecar.telling import Teller

        return Teller(
            instance=self.instance,
            tz=self.settings.timezone,
            history=self.history,
            urls=self.settings.notify_urls,
            heartbeat_url=self.settings.heartbeat_url,
            on_success=self.settings.notify_success == "yes",
            unproven_days=self.settings.notify_unproven_days,
        )

    @contextmanager
    def recorded(self, command: Command, trigger: Trigger = "hand") -> "Iterator[Recording]":
        """Keep a record of what the block does."""
        from sidecar.recorder import recorded, unharmed

        started = Started(id=self.run_id, command=command, trigger=trigger, started_at=datetime.now(UTC))
        with recorded(self.history, started, self.teller.before, self.teller.after) as recording:
            recording.retries = self.targets.retries
            self.state.once_locked = lambda: unharmed(lambda: self.teller.under_way(command))
            yield recording

    # ── Targets ──────────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def targets(self) -> "Targets":
        """Where backups are kept."""
        from sidecar.targets import Targets

        return Targets(self.settings, self.instance, lambda: self.state.folder)

    @property
    def storages(self) -> "Sequence[Storage]":
        """Every target, local first. Raises `ConfigurationError` where there is none."""
        return self.targets.storages

    def catalog(self) -> "Catalog":
        """What lies on the targets."""
        from sidecar.catalog import catalog

        return catalog(self.storages, self.instance)

    def catalog_of(self, reference: str) -> "Catalog":
        """What lies on the targets of the instance whose backup that is, by its whole ID."""
        from sidecar.catalog import catalog
        from sidecar.manifest import BackupId

        named = BackupId.parse(reference)
        return catalog(self.storages, named.instance if named else self.instance)

    def find(self, command: "Referring", reference: str) -> "Backup":
        """The backup that the user of a command means."""
        from sidecar.references import find_for

        return find_for(command, self.catalog(), reference, self.settings.backup_dir)

    def look(self, *, brief: bool = False) -> "Look":
        """What lies on the targets, each asked once, with little patience or less, and what retention says of it."""
        from sidecar.look import look

        tz = self.settings.timezone
        storages = self.targets.brief if brief else self.targets.impatient
        return look(storages, self.instance, self.targets.policy_of, datetime.now(UTC), tz)

    # ── Kimai and its database ───────────────────────────────────────────────────────────────────────────────

    @cached_property
    def site(self) -> Site:
        """The Kimai that is meant."""
        return Site(self.settings, self.protected, self.state.upload)

    @cached_property
    def servers(self) -> Servers:
        """The database servers: Kimai's own, and the scratch one of drills."""
        return Servers(self.settings, lambda: self.site.database_url)

    @property
    def protected(self) -> tuple[Path, ...]:
        """Folders that may lie within Kimai's and are not Kimai's."""
        folders = (self.settings.backup_dir, self.settings.backup_state_dir)
        return tuple(folder for folder in folders if folder is not None)

    @cached_property
    def state(self) -> State:
        """The state folder."""
        return State(self.settings.backup_state_dir, self.instance, self.settings.kimai_dir)

    @cached_property
    def tries(self) -> "Tries":
        """Which drills were begun and not ended."""
        from sidecar.turns import Tries

        return Tries(self.settings.backup_state_dir / f"{self.instance}.tries.json")

    @cached_property
    def planned(self) -> "Planned":
        """What runs by itself."""
        from sidecar.planned import Planned

        return Planned(self.settings, self.instance)


def own_instance(found: Settings) -> str:
    """What the backups of the Kimai that is meant are called by, whatever `--instance` says."""
    return found.backup_instance or Site(found, (), Path()).project or DEFAULT_INSTANCE


def _refuse_loops(found: Settings) -> None:
    """A link that leads to itself is nowhere, which `Path.resolve` tells by an error that is no OSError."""
    problems = []
    for name, path in (
        ("KIMAI_DIR", found.kimai_dir),
        ("BACKUP_DIR", found.backup_dir),
        ("BACKUP_STATE_DIR", found.backup_state_dir),
    ):
        try:
            if path is not None:
                path.stat()
        except OSError as error:
            if error.errno == errno.ELOOP:
                problems.append(f"{name} {path} is, or lies below, a link that leads to itself: mend that link")
    if problems:
        raise ConfigurationError("\n".join(problems))
