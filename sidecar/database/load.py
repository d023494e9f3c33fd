"""SQL text into an empty database: rows over several sessions, indexes and keys after them, events last of all."""

import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from pymysql.constants import ER

from sidecar.database.created import without_definer
from sidecar.database.keys import Bare, bare
from sidecar.database.lexer import beginning
from sidecar.database.loaders import Loaders, StatementRefused
from sidecar.database.picked import Picked
from sidecar.database.server import QueryFailed, Session, quote_name, quote_text, text
from sidecar.database.snapshot import Connect
from sidecar.database.split import split
from sidecar.database.statements import Kind, admit
from sidecar.errors import Damaged, Refused

log = logging.getLogger(__name__)

_NO_DEFINER = {1227, 1449}
"""No right to restore another user's object as his, or no such user on this server."""
_OBJECTS = {Kind.CREATE_VIEW, Kind.CREATE_TRIGGER, Kind.CREATE_ROUTINE, Kind.CREATE_EVENT}
_MADE = {
    Kind.CREATE_TABLE: rb"TABLE",
    Kind.CREATE_SEQUENCE: rb"SEQUENCE",
    Kind.CREATE_VIEW: rb"VIEW",
    Kind.CREATE_ROUTINE: rb"PROCEDURE|FUNCTION|PACKAGE\s+BODY|PACKAGE",
    Kind.CREATE_EVENT: rb"EVENT",
}
_NOT_NEEDED = {Kind.LOCK, Kind.UNLOCK, Kind.TRANSACTION, Kind.SKIP, Kind.KEYS}
_CHECKS = re.compile(rb"unique_checks|foreign_key_checks|sql_notes", re.IGNORECASE)
_TOLERANT = {"innodb_strict_mode": 0, "restrict_fk_on_non_standard_key": 0, "sql_generate_invisible_primary_key": 0}
_TOLERANT |= {"sql_require_primary_key": 0}
"""What a database may hold although its server would not take it anew: off where the user may switch it off."""
_OWN_CHECKS = b"SET SESSION unique_checks=1, foreign_key_checks=0"
_EVENT_ENABLED = re.compile(rb"(\bON\s+COMPLETION\s+(?:NOT\s+)?PRESERVE\s+)ENABLE\b", re.IGNORECASE)


@dataclass
class Loaded:
    """What a load did: how many statements, and what an admin should know."""

    statements: int = 0
    warnings: list[str] = field(default_factory=list)


class Load:
    """One load of one SQL text. `run` it, compare, then `enable_events`. What was made stays, whatever fails.

    `making` is told kind and name of each object before it is made, so that a journal can name it after a kill.
    With `picked`, some tables alone are loaded: `load_rows`, compare, `place`, `finish`.
    """

    def __init__(
        self,
        connect: Connect,
        connections: int,
        *,
        making: Callable[[str, str], None] = lambda kind, name: None,
        advance: Callable[[int], None] = lambda size: None,
        picked: Picked | None = None,
    ) -> None:
        self._connect = connect
        self._picked = picked
        self._connections = connections
        self._making = making
        self._advance = advance
        self._main = connect()
        self._main.without_read_deadline()
        self._main.query("SET SESSION lock_wait_timeout=60")
        _tolerate(self._main)
        self._late: list[Bare] = []
        self._objects: list[tuple[Kind, bytes]] = []
        self._enable: list[str] = []
        self.loaded = Loaded()

    def run(self, chunks: Iterable[bytes]) -> None:
        """Send everything on. Raises `Refused` for what no dump is made of, `Damaged` for a statement that fails."""
        self.load_rows(chunks)
        self.finish()

    def load_rows(self, chunks: Iterable[bytes]) -> None:
        """Make the tables with their rows and indexes. Raises as `run` does."""
        with Loaders(self._connect, self._connections) as loaders:
            for statement in split(chunks, largest=self._main.packet_limit):
                self._take(loaders, statement)
            loaders.wait()
            for table in self._late:
                if table.indexes:
                    loaders.send(_alter(table, table.indexes))
            loaders.wait()
            self.loaded.warnings += loaders.warnings

    def place(self) -> None:
        """Give the picked tables their names, all of them at once. Raises `Refused` where one is there by now."""
        if self._picked is not None:
            try:
                self._main.query(self._picked.renames)
            except QueryFailed as error:
                if error.code != ER.TABLE_EXISTS_ERROR:
                    raise StatementRefused(self._picked.renames, error) from error
                raise Refused(f"a table came while it was restored: {error.what}", mend="Look at it.") from error
            self._late = [replace(table, name=self._picked.real(table.name)) for table in self._late]

    def finish(self) -> None:
        """Add foreign keys, and make all that isn't a table. Raises as `run` does."""
        for table in self._late:
            if table.foreign_keys:
                self._execute(_alter(table, table.foreign_keys))
        for kind, statement in self._objects:
            self._create(kind, statement)
            if kind is Kind.SET and _CHECKS.search(statement):
                self._execute(_OWN_CHECKS)
                self._execute(b"SET SESSION sql_notes=1")  # a definer that isn't there is only noted

    @property
    def events(self) -> list[str]:
        """Those that are to run, and don't yet."""
        return list(dict.fromkeys(self._enable))

    def enable_events(self) -> None:
        """Let the events run, now that everything stands and is right."""
        enable_events(self._main, self.events)

    @property
    def thread_id(self) -> int:
        """The server's number for the load's own session, whose statements may outlive it."""
        return self._main.thread_id

    def close(self) -> None:
        """End the load's own session."""
        self._main.close()

    def _take(self, loaders: Loaders, statement: bytes) -> None:
        self._advance(len(statement))
        if self._picked is not None and self._picked.passes_over(statement):
            return
        kind = admit(statement, self._main.database)
        if self._picked is not None and not self._picked.keeps(kind, statement):
            return
        self.loaded.statements += 1
        if kind in (Kind.INSERT, Kind.REPLACE):
            loaders.send(statement if self._picked is None else self._picked.insert(statement))
        elif kind is Kind.CREATE_TABLE:
            self._create_table(statement)
        elif kind is Kind.SET:
            self._set(loaders, statement)
        elif kind in _OBJECTS or (kind is Kind.DROP and self._objects and _is_object(statement)):
            self._objects.append((kind, statement))
        elif kind is Kind.ALTER_EVENT:
            self._enabling(statement)
        elif kind is Kind.ALTER_TABLE:
            self._objects.append((kind, statement))
        elif kind not in _NOT_NEEDED:
            self._announce(kind, statement)
            self._execute(statement)

    def _announce(self, kind: Kind, statement: bytes) -> None:
        if kind in _MADE:
            self._making(*_named(statement, _MADE[kind]))

    def _set(self, loaders: Loaders, statement: bytes) -> None:
        """Every session follows the text's settings; objects made later meet them again in their order."""
        self._objects.append((Kind.SET, statement))
        for sql in (statement, _OWN_CHECKS) if _CHECKS.search(statement) else (statement,):
            self._execute(sql)
            loaders.tell_all(sql)

    def _create_table(self, statement: bytes) -> None:
        table = bare(statement)
        if self._picked is not None:
            table = self._picked.create(statement, table)
        self._announce(Kind.CREATE_TABLE, statement)
        if table is None:
            self._execute(statement)
        else:
            self._execute(table.create)
            self._late.append(table)

    def _create(self, kind: Kind, statement: bytes) -> None:
        self._announce(kind, statement)
        if kind is Kind.CREATE_EVENT:
            statement = self._disabled(statement)
        try:
            self._main.query(statement)
        except QueryFailed as error:
            if error.code not in _NO_DEFINER or without_definer(statement) == statement:
                raise StatementRefused(statement, error) from error
            self._create_as_own(statement)
        else:
            if kind in _OBJECTS and self._main.warning_count:
                self._heed_warnings(statement)

    def _heed_warnings(self, statement: bytes) -> None:
        """An object of a user that isn't there is made with a warning only, and fails whoever uses it."""
        warnings = self._main.warnings()
        if any(warning.startswith("1449:") for warning in warnings) and without_definer(statement) != statement:
            kind, name = _named(statement, rb"VIEW|TRIGGER|EVENT|" + _MADE[Kind.CREATE_ROUTINE])
            self._execute(f"DROP {kind.upper()} {quote_name(name)}".encode())
            self._create_as_own(statement)

    def _create_as_own(self, statement: bytes) -> None:
        self._execute(without_definer(statement))
        self.loaded.warnings.append(f"restored as the loading user's own, not its definer's: {beginning(statement)}")

    def _disabled(self, statement: bytes) -> bytes:
        disabled, count = _EVENT_ENABLED.subn(rb"\1DISABLE", statement, count=1)
        if count:
            self._enabling(statement)
        return disabled

    def _enabling(self, statement: bytes) -> None:
        self._enable.append(_named(statement, rb"EVENT")[1])

    def _execute(self, statement: bytes) -> None:
        _execute(self._main, statement)


def enable_events(session: Session, names: Iterable[str]) -> None:
    """Let events run that a load has made, under settings and definers of their own. Raises `Damaged`."""
    for name in names:
        found = session.texts(
            "SELECT SQL_MODE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION, TIME_ZONE, DEFINER "  # noqa: S608
            f"FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE() AND EVENT_NAME = {quote_text(name)}"
        )
        for mode, client, collation, zone, definer in found:
            # An event takes on the settings and the definer of whoever alters it: they must be its own.
            user, _, host = (definer or "").rpartition("@")
            settings = (
                f"SET sql_mode={quote_text(mode or '')}, time_zone={quote_text(zone or '')}, "
                f"character_set_client={client}, collation_connection={collation}"
            )
            _execute(session, settings.encode())
            owner = f"{quote_name(user)}@{quote_name(host)}"
            _execute(session, f"ALTER DEFINER={owner} EVENT {quote_name(name)} ENABLE".encode())


def _execute(session: Session, statement: bytes) -> None:
    try:
        session.query(statement)
    except QueryFailed as error:
        raise StatementRefused(statement, error) from error


def _tolerate(session: Session) -> None:
    for name, value in _TOLERANT.items():
        if name in session.variables:
            try:
                session.query(f"SET SESSION {name}={value}")
            except QueryFailed as error:
                log.debug("%s stays %s: %s", name, session.variables[name], error.what)


def _alter(table: Bare, parts: Iterable[bytes]) -> bytes:
    return b"ALTER TABLE " + table.name + b" " + b", ".join(b"ADD " + part for part in parts)


def _named(statement: bytes, words: bytes) -> tuple[str, str]:
    """Kind and name of what a statement makes: what stands after the first of the words in its head."""
    name = rb"(?:`(?P<quoted>(?:[^`]|``)+)`|(?P<plain>[\w$]+))"
    qualifier = rb"(?:(?:`(?:[^`]|``)+`|[\w$]+)\s*\.\s*)?"
    pattern = rb"\b(?P<kind>" + words + rb")\s+(?:IF\s+NOT\s+EXISTS\s+)?" + qualifier + name
    match = re.search(pattern, without_definer(statement[:4000]), re.IGNORECASE)
    if match is None:
        raise Damaged(f"a statement of the dump names nothing: {beginning(statement)}")
    kind = " ".join(match["kind"].decode().lower().split())
    return kind, text((match["quoted"] or b"").replace(b"``", b"`") or match["plain"])


def _is_object(statement: bytes) -> bool:
    return re.search(rb"\b(VIEW|TRIGGER|PROCEDURE|FUNCTION|EVENT)\b", statement[:60], re.IGNORECASE) is not None
