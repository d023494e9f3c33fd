"""From settings to objects: the only place that knows which adapters exist."""

import errno
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from sidecar import settings
from sidecar.errors import ConfigurationError, Damaged, NoSuchBackup, StorageFailed, UsageError
from sidecar.report import log as logs
from sidecar.runs import Command, Started, Trigger, new_id
from sidecar.servers import Servers
from sidecar.settings import Settings
from sidecar.site import Site
from sidecar.state import State

if TYPE_CHECKING:
    from sidecar import backup, daemon, doctor, drill, health, restore, tidy
    from sidecar.archive.source import Source
    from sidecar.catalog import Backup, Catalog
    from sidecar.clock import Clock
    from sidecar.history import History
    from sidecar.planned import Planned
    from sidecar.recorder import Recording
    from sidecar.references import Command as Referring
    from sidecar.report.progress import Progress
    from sidecar.status import Look, Status
    from sidecar.storage.base import Storage
    from sidecar.targets import Targets
    from sidecar.telling import Teller

log = logging.getLogger(__name__)

DEFAULT_INSTANCE = "kimai"
_PAGE_DEADLINE = 1.0
"""Seconds that the status page gets to end: what a run needs of Docker's patience of 10 comes first."""
_INSTANCE = re.compile(r"[a-z0-9_-]+")
_NOT_YET = {
    "backup_encrypt_to": "encryption",
}
"""Settings that change what a backup is or where it lies, and whose part this version doesn't have: refused."""


@dataclass
class App:
    """The product, put together for one run. What is heavy to import is imported where it is first used."""

    settings: Settings
    instance: str
    run_id: str

    @classmethod
    def load(cls, environment: Mapping[str, str], instance: str | None = None, run_id: str | None = None) -> "App":
        """Read the settings and start the log. Raises `ConfigurationError` with every problem at once."""
        from sidecar.database.url import parse

        found = settings.load(environment, check_database_url=parse)
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
        name = instance or found.backup_instance or Site(found, (), Path()).project or DEFAULT_INSTANCE
        if not _INSTANCE.fullmatch(name):
            raise UsageError(f"--instance {name}: only a-z, 0-9, _ and - may be in it")
        return cls(found, name, run_id)

    def refuse_what_is_not_there_yet(self) -> None:
        """A setting that would be passed over in silence must not look as if it were obeyed."""
        lacking = sorted({f"{name.upper()} ({_NOT_YET[name]})" for name in _NOT_YET if self.settings.is_set(name)})
        if lacking:
            raise ConfigurationError(
                f"this version does not have yet: {', '.join(lacking)}", mend="Unset it, or use a newer version."
            )

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
        from sidecar.recorder import recorded

        started = Started(id=self.run_id, command=command, trigger=trigger, started_at=datetime.now(UTC))
        with recorded(self.history, started, self.teller.before, self.teller.after) as recording:
            recording.retries = self.targets.retries
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
        return Site(self.settings, self.protected, self.settings.backup_state_dir / f"{self.instance}.upload")

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

    # ── Use cases ────────────────────────────────────────────────────────────────────────────────────────────

    def backup_job(self, progress: "Progress") -> "backup.Job":
        """What `backup` works with."""
        from sidecar import backup

        self.refuse_what_is_not_there_yet()
        return backup.Job(
            instance_name=self.instance,
            instance=self.site.kimai,
            connect=self.servers.connect,
            connections=self.settings.database_connections,
            storages=self.storages,
            spool=self.targets,
            state=self.state,
            policy_of=self.targets.policy_of,
            fetch=self.targets.fetch,
            tz=self.settings.timezone,
            progress=progress,
        )

    def tidy_job(self, progress: "Progress") -> "tidy.Job":
        """What `prune` works with."""
        from sidecar import tidy

        return tidy.Job(
            instance_name=self.instance,
            storages=self.storages,
            leftovers=self.targets,
            state=self.state,
            policy_of=self.targets.policy_of,
            fetch=self.targets.fetch,
            tz=self.settings.timezone,
            progress=progress,
        )

    def restore_job(self, progress: "Progress") -> "restore.Job":
        """What `restore` works with."""
        from sidecar import restore

        self.refuse_what_is_not_there_yet()
        return restore.Job(
            open_backup=self.open_backup,
            connect=self.servers.connect,
            connections=self.settings.database_connections,
            database_url=self.site.database_url,
            redacted_url=self.servers.own.redacted,
            kimai=self.site.kimai,
            is_own_url=self.settings.database_url is None,
            kimai_url=self.settings.kimai_url.reveal() if self.settings.kimai_url else None,
            state=self.state,
            progress=progress,
        )

    def drill_job(self, progress: "Progress") -> "drill.Job":
        """What `drill` works with. Raises `ConfigurationError` without a scratch server."""
        from sidecar import drill

        scratch = self.servers.scratch
        self.servers.say_if_same()
        return drill.Job(
            connect=self.servers.connect_scratch,
            prefix=scratch.database,
            connections=self.settings.database_connections,
            storages=self.storages,
            fetch=self.targets.fetch,
            state=self.state,
            progress=progress,
        )

    def doctor_job(self, *, notify: bool = False) -> "doctor.Job":
        """What `doctor` looks at; `notify`: those who are told of runs get a test."""
        from sidecar import doctor

        return doctor.Job(
            instance_name=self.instance,
            kimai=lambda: self.site.kimai,
            connect=self.servers.connect,
            connections=self.settings.database_connections,
            # None at all is the doctor's to say, among what else is wrong; and it has no patience.
            storages=self.targets.impatient,
            remarks=self.targets.remarks,
            check_state_folder=lambda: self.state.check_writable(),
            backup_dir=self.settings.backup_dir,
            notifiers=lambda: self.teller.examine(send=notify),
        )

    # ── By itself ────────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def planned(self) -> "Planned":
        """What runs by itself."""
        from sidecar.planned import Planned

        return Planned(self.settings, self.instance)

    def daemon_job(self, clock: "Clock") -> "daemon.Job":
        """What `run` works with."""
        from sidecar import children, daemon
        from sidecar.standing import Instance, Standing

        policies = {name: self.targets.policy_of(name) for name in self.targets.names}
        instance = Instance(self.instance, self.settings.timezone, policies)
        return daemon.Job(
            plans=self.planned.plans,
            history=self.history,
            since=self.planned.since,
            standing=Standing(instance, self.history, self.health_job()),
            start=children.start,
            clock=clock,
            end_run=self.end_run,
            keep_look=self.planned.keep_look,
        )

    @contextmanager
    def served(self, status: "Callable[[], Status]") -> "Iterator[None]":
        """Page, metrics and health while the block runs, by a thread of their own, where HTTP_LISTEN is set."""
        if self.settings.http_listen is None:
            yield
            return
        from sidecar.report.web.server import serve

        server = serve(status, self.settings.http_listen, in_container=self.site.own_id is not None)
        try:
            yield
        finally:
            server.stop(_PAGE_DEADLINE)

    def end_run(self, deadline: float) -> str | None:
        """End the run that would not outlive this container, within so many seconds; on a host it would."""
        return self.state.end_run(deadline) if self.site.own_id else None

    def health_job(self, *, recent: bool = False) -> "health.Job":
        """What `health` looks at; what the daemon saw of the targets a few minutes ago may do."""
        from sidecar import health

        self.refuse_what_is_not_there_yet()
        self.targets.refuse_none()
        return health.Job(
            look=lambda: (self.planned.recent_look(datetime.now(UTC)) if recent else None) or self.look(brief=True),
            runs=self.history.runs,
            running=self.history.running,
            plan=next((plan for plan in self.planned.plans if plan.command == "backup"), None),
            since=self.planned.since,
            state=self.state,
        )

    @contextmanager
    def open_backup(self, reference: str) -> "Iterator[Source]":
        """Open what the user named: the path of a zip, or a backup on the first target that holds it."""
        from sidecar.archive.source import open_source
        from sidecar.references import LATEST, find_for, passed_over

        path = Path(reference)
        if reference.endswith(".zip") and (os.path.exists(path) or os.sep in reference):  # noqa: PTH110 - never raises
            with open_source(path) as source:
                yield source
            return
        listing, folder = self.catalog(), self.settings.backup_dir
        found = find_for("restore", listing, reference, folder)
        with ExitStack() as opened:
            source = self._open_first_whole(found, opened)
            if reference == LATEST:
                source.warnings.extend(passed_over(listing, found, folder))
            yield source

    def _open_first_whole(self, found: "Backup", opened: ExitStack) -> "Source":
        """The backup from the first target, local before S3, whose copy's bytes are what its manifest says.

        Copies that are not, or can't be read, become warnings. Raises what the last one raised.
        """
        from sidecar.archive.source import open_source
        from sidecar.catalog import read_manifest

        passed: list[str] = []
        for copy in found.copies:
            storage = next(each for each in self.storages if each.name == copy.target)
            try:
                manifest = read_manifest(storage, found.id)
                archive = opened.enter_context(self.targets.fetch(storage, copy.archive_key))
                source = opened.enter_context(open_source(archive, manifest))
            except (Damaged, NoSuchBackup, StorageFailed) as error:
                if copy is found.copies[-1]:
                    raise
                passed.append(f"the copy on {copy.target} is passed over: {error}")
                log.warning("%s: %s", found.id, passed[-1])
            else:
                source.warnings.extend(passed)
                return source
        raise AssertionError  # the last copy returns or raises


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
