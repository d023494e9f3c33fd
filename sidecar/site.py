"""Which Kimai is meant, the one on this machine or the one in a container, and the adapters that reach it."""

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.errors import ConfigurationError
from sidecar.settings import Settings

if TYPE_CHECKING:
    from sidecar.kimai.bare import BareMetal
    from sidecar.kimai.contained_target import ContainedTarget
    from sidecar.kimai.docker import Engine
    from sidecar.kimai.project import Container

DOCKER_SOCKET = "/var/run/docker.sock"


class Site:
    """The Kimai of these settings. `protected`: folders that may lie within Kimai's and are not Kimai's.

    `spool`: a folder that doesn't exist yet, for what a restore collects.
    """

    def __init__(self, settings: Settings, protected: tuple[Path, ...], spool: Path) -> None:
        self._settings = settings
        self._spool = spool
        self._protected = protected

    @cached_property
    def is_contained(self) -> bool:
        """Whether Kimai runs in a container: a setting says so, or no console lies here and we are in one ourselves.

        On a host, a KIMAI_DIR without a console is a mistake, whether or not Docker runs there.
        """
        if self._settings.kimai_container or self._settings.kimai_service:
            return True
        if (self._settings.kimai_dir / "bin" / "console").exists():
            return False
        return bool(os.environ.get("DOCKER_HOST")) or self.own_id is not None

    @cached_property
    def kimai(self) -> "BareMetal | ContainedTarget":
        """The Kimai itself. Raises `ConfigurationError` where none or several may be meant, and `Unreachable`."""
        from sidecar.archive.names import escape_name

        settings = self._settings
        # Where Kimai's own URL counts, Kimai needs not be told.
        environment = {"DATABASE_URL": settings.database_url.reveal()} if settings.database_url else {}
        if not self.is_contained:
            from sidecar.kimai.bare import BareMetal

            return BareMetal(settings.kimai_dir, escape_name, self._protected, environment)
        from sidecar.kimai.contained import find_app
        from sidecar.kimai.contained_target import ContainedTarget

        return ContainedTarget(
            self._engine,
            lambda: find_app(self._engine, settings.kimai_container, settings.kimai_service, self._own),
            self._own,
            settings.kimai_dir,
            escape_name,
            self._protected,
            environment,
            self._spool,
        )

    @cached_property
    def project(self) -> str | None:
        """The compose project that this runs in; None where it runs in none. Raises `Unreachable`."""
        return self._own.project if self.is_contained and self._own else None

    @cached_property
    def database_url(self) -> str:
        """The DATABASE_URL in force: the setting, else Kimai's own. Raises `ConfigurationError`."""
        if self._settings.database_url:
            return self._settings.database_url.reveal()
        url = self.kimai.own_database_url()
        if url and self.is_contained:
            _check_reachable(url)
        if not url:
            place = "in Kimai's container" if self.is_contained else f"in {self._settings.kimai_dir}/.env"
            raise ConfigurationError(
                f"there is no DATABASE_URL, neither set nor {place}",
                mend="Set DATABASE_URL, or KIMAI_DIR to the folder that holds Kimai's .env.",
            )
        return url

    @cached_property
    def _engine(self) -> "Engine":
        from sidecar.kimai.docker import connect

        return connect(os.environ.get("DOCKER_HOST") or f"unix://{DOCKER_SOCKET}")

    @cached_property
    def _own(self) -> "Container | None":
        from sidecar.kimai.contained import find_own

        return find_own(self._engine, self.own_id)

    @cached_property
    def own_id(self) -> str | None:
        """The container that this runs in; None on a host."""
        from sidecar.kimai.project import own_id

        return own_id()


def _check_reachable(url: str) -> None:
    """Raise `ConfigurationError` where Kimai's own URL means something within its container."""
    from sidecar.database.url import parse

    found = parse(url)
    if found.unix_socket or found.host in ("localhost", "127.0.0.1", "::1"):
        raise ConfigurationError(
            f"Kimai's own DATABASE_URL, {found.redacted}, means its own container, which can't be reached from here",
            mend="Set DATABASE_URL to where kimai-backup reaches that database.",
        )
