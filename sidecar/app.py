"""From the parts to what each use case works with: the only place, with `parts`, that knows the adapters."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sidecar.parts import Parts, own_instance

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sidecar import backup, daemon, doctor, drill, health, making, restore, tidy
    from sidecar.archive.source import Source
    from sidecar.catalog import Backup, Catalog
    from sidecar.clock import Clock
    from sidecar.report.progress import Progress
    from sidecar.status import Status

_PAGE_DEADLINE = 1.0
"""Seconds that the status page gets to end: what a run needs of Docker's patience of 10 comes first."""


class App(Parts):
    """The product, put together for one run."""

    def backup_job(self, progress: "Progress") -> "backup.Job":
        """What `backup` works with."""
        from sidecar import backup

        return backup.Job(
            **vars(self.means(self.instance, progress)),
            policy_of=self.targets.policy_of,
            fetch=self.targets.fetch,
            tz=self.settings.timezone,
            keys=self.targets.keys,
        )

    def means(self, instance_name: str, progress: "Progress") -> "making.Means":
        """What any backup of the Kimai that is there is made with."""
        from sidecar import making

        return making.Means(
            instance_name=instance_name,
            instance=self.site.kimai,
            connect=self.servers.connect,
            connections=self.settings.database_connections,
            storages=self.storages,
            spool=self.targets,
            state=self.state,
            progress=progress,
            recipients=self.settings.backup_encrypt_to,
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
            keys=self.targets.keys,
        )

    def restore_job(self, progress: "Progress") -> "restore.Job":
        """What `restore` works with."""
        from sidecar import restore
        from sidecar.opening import open_backup

        fetch, folder, keys = self.targets.fetch, self.settings.backup_dir, self.targets.keys

        def opened(named: str, listing: "Callable[[], Catalog]") -> "AbstractContextManager[Source]":
            return open_backup(named, listing, lambda: self.storages, fetch, folder, keys)

        return restore.Job(
            open_backup=lambda named: opened(named, self.catalog),
            reopen=lambda named: opened(named, lambda: self.catalog_of(named)),
            # A safety backup is of the Kimai that is there, whosever backup is restored.
            means=lambda: self.means(own_instance(self.settings), progress),
            require_key=self.require_key,
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

    def require_key(self) -> None:
        """Raise `ConfigurationError` where backups are encrypted and no identity is there to open them."""
        if self.settings.backup_encrypt_to:
            self.targets.keys.require("a safety backup")

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
            tries=self.tries,
            progress=progress,
            keys=self.targets.keys,
        )

    def turn(self, *, oldest: bool, again: bool) -> "Backup":
        """The backup to be drilled where nobody named one; `again`: the drill before has failed."""
        from sidecar import turns

        listing, tries, now = self.catalog(), self.tries.read(), datetime.now(UTC)
        if oldest:
            return turns.whose_turn(listing, self.storages, tries, now)
        return turns.by_schedule(listing, self.storages, tries, now, again=again)

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
            scratch=self.servers.connect_scratch if self.settings.drill_database_url else None,
            scratch_prefix=lambda: self.servers.scratch.database,
            recipients=self.settings.backup_encrypt_to,
            keys=self.targets.keys,
            drills=self.settings.drill_schedule is not None,
        )

    # ── By itself ────────────────────────────────────────────────────────────────────────────────────────────

    def daemon_job(self, clock: "Clock") -> "daemon.Job":
        """What `run` works with."""
        from sidecar import children, daemon
        from sidecar.standing import Instance, Standing

        policies = {name: self.targets.policy_of(name) for name in self.targets.names}
        instance = Instance(self.instance, self.settings.timezone, policies)
        return daemon.Job(
            instance=self.instance,
            plans=self.planned.plans,
            history=self.history,
            since=self.planned.since,
            standing=Standing(instance, self.history, self.health_job(), clock.now()),
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

        self.targets.refuse_none()
        return health.Job(
            look=lambda: (self.planned.recent_look(datetime.now(UTC)) if recent else None) or self.look(brief=True),
            runs=self.history.runs,
            running=self.history.running,
            plan=next((plan for plan in self.planned.plans if plan.command == "backup"), None),
            since=self.planned.since,
            state=self.state,
        )
