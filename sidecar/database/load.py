"""SQL text into an empty database: rows over several sessions, indexes and keys after them, events last of all."""

import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sidecar.database.definitions import without_definer
from sidecar.database.keys import Bare, bare
from sidecar.database.loaders import Loaders, beginning, refused
from sidecar.database.server import QueryFailed, Session, quote_name, text
from sidecar.database.snapshot import Connect
from sidecar.database.split import split
from sidecar.database.statements import Kind, admit

log = logging.getLogger(__name__)

_NO_RIGHT_TO_DEFINER = {1227}
_OBJECTS = {Kind.CREATE_VIEW, Kind.CREATE_TRIGGER, Kind.CREATE_ROUTINE, Kind.CREATE_EVENT}
_MADE = {
    Kind.CREATE_VIEW: (b"VIEW",),
    Kind.CREATE_ROUTINE: (b"PROCEDURE", b"FUNCTION", b"PACKAGE BODY", b"PACKAGE"),
    Kind.CREATE_EVENT: (b"EVENT",),
}
_NOT_NEEDED = {Kind.LOCK, Kind.UNLOCK, Kind.TRANSACTION, Kind.SKIP, Kind.KEYS}
_CHECKS = re.compile(rb"unique_checks|foreign_key_checks", re.IGNORECASE)
_OWN_CHECKS = b"SET SESSION unique_checks=1, foreign_key_checks=0"
_EVENT = re.compile(rb"\bEVENT\s+(?:IF\s+NOT\s+EXISTS\s+)?(?P<name>`(?:[^`]|``)+`)", re.IGNORECASE)
_EVENT_ENABLED = re.compile(rb"(\bON\s+COMPLETION\s+(?:NOT\s+)?PRESERVE\s+)ENABLE\b", re.IGNORECASE)


@dataclass
class Loaded:
    """What a load did: how many statements, and what an admin should know."""

    statements: int = 0
    warnings: list[str] = field(default_factory=list)


class Load:
    """One load of one SQL text. `run` it, compare, then `enable_events`; where anything fails, `undo`.

    `making` is told kind and name of each object before it is made, so that a journal can name it after a kill.
    """

    def __init__(
        self,
        connect: Connect,
        connections: int,
        *,
        making: Callable[[str, str], None] = lambda kind, name: None,
        advance: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._connect = connect
        self._connections = connections
        self._making = making
        self._advance = advance
        self._main = connect()
        self._main.without_read_deadline()
        self._main.query("SET SESSION lock_wait_timeout=60")
        self._late: list[Bare] = []
        self._objects: list[tuple[Kind, bytes]] = []
        self._enable: list[bytes] = []
        self.loaded = Loaded()

    def run(self, chunks: Iterable[bytes]) -> None:
        """Send everything on. Raises `Refused` for a statement that no dump is made of, `Damaged` for one that fails."""
        with Loaders(self._connect, self._connections) as loaders:
            for statement in split(chunks, largest=self._main.packet_limit):
                self._take(loaders, statement)
            loaders.wait()
            for table in self._late:
                if table.indexes:
                    loaders.send(_alter(table, table.indexes))
            loaders.wait()
            self.loaded.warnings += loaders.warnings
        for table in self._late:
            if table.foreign_keys:
                self._execute(_alter(table, table.foreign_keys))
        for kind, statement in self._objects:
            self._create(kind, statement)

    def enable_events(self) -> None:
        """Let the events run, now that everything stands and is right."""
        for statement in self._enable:
            self._create(Kind.ALTER_EVENT, statement)

    def close(self) -> None:
        """End the load's own session."""
        self._main.close()

    def _take(self, loaders: Loaders, statement: bytes) -> None:
        kind = admit(statement, self._main.database)
        self.loaded.statements += 1
        self._advance(len(statement))
        if kind in (Kind.INSERT, Kind.REPLACE):
            loaders.send(statement)
        elif kind is Kind.CREATE_TABLE:
            self._create_table(statement)
        elif kind is Kind.SET:
            self._set(loaders, statement)
        elif kind in _OBJECTS or (kind is Kind.DROP and self._objects and _is_object(statement)):
            self._objects.append((kind, statement))
        elif kind is Kind.ALTER_EVENT:
            self._enable.append(statement)
        elif kind is Kind.ALTER_TABLE:
            self._objects.append((kind, statement))
        elif kind not in _NOT_NEEDED:
            if kind is Kind.CREATE_SEQUENCE:
                self._making("sequence", _named(statement, b"SEQUENCE"))
            self._execute(statement)

    def _set(self, loaders: Loaders, statement: bytes) -> None:
        """Every session follows the text's settings; objects made later meet them again in their order."""
        self._objects.append((Kind.SET, statement))
        for sql in (statement, _OWN_CHECKS) if _CHECKS.search(statement) else (statement,):
            self._execute(sql)
            loaders.tell_all(sql)

    def _create_table(self, statement: bytes) -> None:
        table = bare(statement)
        self._making("table", _named(statement, b"TABLE"))
        if table is None:
            self._execute(statement)
        else:
            self._execute(table.create)
            self._late.append(table)

    def _create(self, kind: Kind, statement: bytes) -> None:
        if kind in _MADE:
            word = next(word for word in _MADE[kind] if _named(statement, word))
            self._making(word.decode().lower(), _named(statement, word))
        if kind is Kind.CREATE_EVENT:
            statement = self._disabled(statement)
        try:
            self._main.query(statement)
        except QueryFailed as error:
            if error.code not in _NO_RIGHT_TO_DEFINER or without_definer(statement) == statement:
                raise refused(statement, error) from error
            self._execute(without_definer(statement))
            self.loaded.warnings.append(
                f"restored as the loading user's own, not its definer's: {beginning(statement)}"
            )

    def _disabled(self, statement: bytes) -> bytes:
        name = _EVENT.search(statement)
        disabled, count = _EVENT_ENABLED.subn(rb"\1DISABLE", statement, count=1)
        if name is not None and count:
            self._enable.append(b"ALTER EVENT " + name["name"] + b" ENABLE")
        return disabled

    def _execute(self, statement: bytes) -> None:
        try:
            self._main.query(statement)
        except QueryFailed as error:
            raise refused(statement, error) from error


def _alter(table: Bare, parts: Iterable[bytes]) -> bytes:
    return b"ALTER TABLE " + table.name + b" " + b", ".join(b"ADD " + part for part in parts)


def _named(statement: bytes, word: bytes) -> str:
    """The name after the word in a statement's head; empty where the word isn't there."""
    pattern = rb"\b" + word + rb"\s+(?:IF\s+NOT\s+EXISTS\s+)?(?:`(?P<quoted>(?:[^`]|``)+)`|(?P<plain>[\w$]+))"
    match = re.search(pattern, statement[:4000], re.IGNORECASE)
    if match is None:
        return ""
    return text((match["quoted"] or b"").replace(b"``", b"`") or match["plain"])


def _is_object(statement: bytes) -> bool:
    return re.search(rb"\b(VIEW|TRIGGER|PROCEDURE|FUNCTION|EVENT)\b", statement[:60], re.IGNORECASE) is not None
