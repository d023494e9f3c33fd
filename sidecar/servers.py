"""The database servers of these settings: Kimai's own, and the scratch one on which drills are made."""

import ipaddress
import logging
import re
import socket
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from sidecar.errors import ConfigurationError, KimaiBackupError
from sidecar.report import log as logs
from sidecar.settings import Settings

if TYPE_CHECKING:
    from sidecar.database.server import Session
    from sidecar.database.url import DatabaseUrl

log = logging.getLogger(__name__)

SCRATCH_DEADLINE = 3600.0
"""Seconds for one statement on the scratch server: a drill that hangs there must not keep backups waiting for ever."""


class Servers:
    """`own_url` gives Kimai's DATABASE_URL, which may take a question to Docker."""

    def __init__(self, settings: Settings, own_url: Callable[[], str]) -> None:
        self._settings = settings
        self._own_url = own_url

    @cached_property
    def own(self) -> "DatabaseUrl":
        """Kimai's own, read; its password is kept out of the log from now on."""
        return _read(self._own_url())

    @cached_property
    def scratch(self) -> "DatabaseUrl":
        """The scratch server's: its database is where the names of scratch databases begin.

        Raises `ConfigurationError` where none is set.
        """
        if self._settings.drill_database_url is None:
            raise ConfigurationError(
                "a drill needs a scratch server: DRILL_DATABASE_URL is not set",
                mend="Set it to mysql://user:password@host:3306/drill, with a user who may make databases there.",
            )
        return _read(self._settings.drill_database_url.reveal())

    def connect(self) -> "Session":
        """A new session on Kimai's own database."""
        return self._connect(self.own)

    def connect_scratch(self, database: str) -> "Session":
        """A new session on a database of the scratch server, whose statements all have a deadline."""
        try:
            session = self._connect(replace(self.scratch, database=database))
        except KimaiBackupError as error:
            # Otherwise it would send the admin to Kimai's own.
            raise type(error)(error.what, mend=re.sub(r"\bDATABASE_URL", "DRILL_DATABASE_URL", error.mend)) from error
        session.longest = SCRATCH_DEADLINE
        return session

    def say_if_same(self) -> None:
        """Warn of drills on the server that Kimai works with: allowed, and slow for Kimai."""
        try:
            own, scratch = self.own, self.scratch
        except KimaiBackupError as error:
            log.debug("whether the drill's server is Kimai's own is not known: %s", error)
            return
        if _is_same_place(own, scratch):
            log.warning("DRILL_DATABASE_URL is on Kimai's own server: a drill there slows Kimai down")

    def _connect(self, url: "DatabaseUrl") -> "Session":
        from sidecar.database.server import connect

        ca_file = self._settings.database_ca_file
        return connect(url, self._settings.database_tls, str(ca_file) if ca_file else None)


def _is_same_place(one: "DatabaseUrl", other: "DatabaseUrl") -> bool:
    """As far as the URLs tell: by two names of one address as well, and all of loopback is one place."""
    if one.unix_socket or other.unix_socket:
        return one.unix_socket == other.unix_socket
    if one.port != other.port:
        return False
    return one.host == other.host or bool(_addresses(one.host) & _addresses(other.host))


def _addresses(host: str) -> set[str]:
    try:
        found = {str(address[0]).partition("%")[0] for *_, address in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError) as error:
        log.debug("%s has no address: %s", host, error)  # who connects to it tells
        return set()
    return {"loopback" if ipaddress.ip_address(each).is_loopback else each for each in found}


def _read(url: str) -> "DatabaseUrl":
    from sidecar.database.url import parse

    parsed = parse(url)
    if parsed.password:
        logs.hide([parsed.password, url])
    return parsed
