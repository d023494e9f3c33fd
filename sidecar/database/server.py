"""One session on a MariaDB or MySQL server: opened, its settings made and read back, its limits and rights known."""

import contextlib
import logging
import re
import socket
from collections.abc import Generator
from typing import Any, Literal

import pymysql
import pymysql.connections
import pymysql.converters
import pymysql.cursors
from pymysql.constants import CR, ER

from sidecar.database import tls as tls_to_server
from sidecar.database.settings import PACKET_LIMIT, SETTINGS, differing_settings, wanted_settings
from sidecar.database.tls import Tls
from sidecar.database.url import DatabaseUrl
from sidecar.errors import KimaiBackupError, Unreachable

log = logging.getLogger(__name__)

CONNECT_DEADLINE = 10
"""Seconds for the TCP connection and the greeting."""
READ_DEADLINE = 300
"""Seconds that a server may stay silent within one answer: a packet of a dump takes well under one."""
Row = tuple[bytes | None, ...]

_KEEP_ALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""Seconds of silence, seconds between probes, and probes: a host that vanished is given up after two minutes."""

_SIGN_IN = {ER.ACCESS_DENIED_ERROR, ER.DBACCESS_DENIED_ERROR, ER.BAD_DB_ERROR, 1698, 1130, 1040, 1226}
_GONE = {
    CR.CR_SERVER_GONE_ERROR,
    CR.CR_SERVER_LOST,
    CR.CR_CONN_HOST_ERROR,
    CR.CR_CONNECTION_ERROR,
    0,
    1053,
    1927,
}
_CHANGED = {1412, 1054, 1146}
_MENDS = {
    ER.ACCESS_DENIED_ERROR: "Check user and password in DATABASE_URL.",
    ER.DBACCESS_DENIED_ERROR: "Check the database's name in DATABASE_URL, and the user's rights on it.",
    ER.BAD_DB_ERROR: "Check the database's name in DATABASE_URL.",
    1698: "Check user and password in DATABASE_URL.",
    1130: "The server refuses this host: grant the user access from it.",
    1419: "Restore as a user with SUPER, or have log_bin_trust_function_creators=1 set at the server.",
}
_FULL = {1021, 1114}
_NO_ROOM = re.compile(r"No space left on device|disk is full|(?:errno|error|Errcode): (?:28|135)\b", re.IGNORECASE)
_QUOTING = {1062, 1064, 1292, 1366, 1367}
"""Errors that quote values, which may hold any words."""

_ENCODERS: Any = pymysql.converters.encoders  # no decoders: every value stays the bytes it arrived as


class QueryFailed(KimaiBackupError):
    """The server answered a statement with an error; `code` is its number, `lacks_room` that its disk is full."""

    def __init__(self, what: str, *, code: int, mend: str = "") -> None:
        self.lacks_room = code in _FULL or (code not in _QUOTING and _NO_ROOM.search(what) is not None)
        room = "The server has no room left: give it more, or remove what it does not need." if self.lacks_room else ""
        super().__init__(what, mend=room or mend)
        self.code = code


class DefinitionChanged(QueryFailed):
    """A table was altered, truncated, renamed or dropped under the snapshot: the dump must start again."""


class Session:
    """One connection, every result as raw bytes, every error one of ours."""

    def __init__(self, connection: Any, url: DatabaseUrl) -> None:
        self._connection = connection
        self._url = url
        self.warning_count = 0
        self.variables: dict[str, str] = {}
        self.longest: float | None = None

    def query(self, sql: str | bytes) -> list[Row]:
        """Run a statement and read all its rows; `warning_count` tells how many warnings it gave."""
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(sql)
                self.warning_count = cursor.warning_count
                return list(cursor.fetchall())
        except (pymysql.err.Error, OSError) as error:
            raise translate(error, self._url) from error

    def stream(self, sql: str) -> Generator[Row, None, None]:
        """Run a query and give its rows as they arrive; read it to the end before the next one."""
        cursor = self._connection.cursor(pymysql.cursors.SSCursor)
        try:
            cursor.execute(sql)
            while (row := cursor.fetchone()) is not None:
                yield row
            self.warning_count = cursor.warning_count
        except (pymysql.err.Error, OSError) as error:
            failure = translate(error, self._url)
            if not isinstance(failure, QueryFailed):
                self._abandon(cursor)
            raise failure from error
        except BaseException:
            self._abandon(cursor)
            raise
        finally:
            cursor.close()

    def value(self, sql: str) -> str | None:
        """The first column of the only row, as text."""
        rows = self.query(sql)
        return text(rows[0][0]) if rows and rows[0][0] is not None else None

    def texts(self, sql: str) -> list[tuple[str | None, ...]]:
        """All rows with every value as text."""
        return [tuple(None if v is None else text(v) for v in row) for row in self.query(sql)]

    def warnings(self) -> list[str]:
        """The warnings of the statement before, one line each."""
        return [f"{row[1]}: {row[2]}" for row in self.texts("SHOW WARNINGS")]

    def without_read_deadline(self) -> None:
        """Let statements take as long as they take: DDL of a load, which goes on running if one hangs up.

        With `longest`, seconds, no longer than that: of what nobody waits for.
        """
        self._connection._read_timeout = self.longest

    def close(self) -> None:
        """Hang up; never waits, never fails. A thread that waits for an answer here is woken, and gets an error."""
        with contextlib.suppress(OSError, AttributeError, ValueError):  # the other thread may be hanging up as well
            if self._connection._sock is not None:
                # Not the method of a TLS socket, which another thread may be reading from. A plain close would wait
                # for that thread.
                socket.socket.shutdown(self._connection._sock, socket.SHUT_RDWR)
            self._connection._force_close()

    def _abandon(self, cursor: Any) -> None:
        """Hang up in the middle of a result: closing its cursor would first read all the rest of it."""
        if self._connection._result is not None:
            self._connection._result.unbuffered_active = False
        cursor.connection = None
        self.close()

    @property
    def thread_id(self) -> int:
        """The server's number for this connection, as KILL takes it."""
        return int(self._connection.thread_id())

    @property
    def flavour(self) -> Literal["mariadb", "mysql"]:
        """Which of the two families the server is of, by its own word."""
        return "mariadb" if "mariadb" in self.server_version.lower() else "mysql"

    @property
    def server_version(self) -> str:
        """The server's version string, such as `10.11.19-MariaDB-0+deb12u1`."""
        return self.variables["version"]

    @property
    def database(self) -> str:
        """The database's name."""
        return self._url.database

    @property
    def packet_limit(self) -> int:
        """Bytes that the server takes, and builds, as one value: `max_allowed_packet`."""
        return int(self.variables["max_allowed_packet"])

    @property
    def identity(self) -> tuple[str, ...]:
        """What tells one server from another behind the same address."""
        names = ("server_uuid", "server_uid", "hostname", "port", "datadir", "server_id", "version")
        return tuple(self.variables.get(name, "") for name in names)


def connect(url: DatabaseUrl, tls: Tls = "preferred", ca_file: str | None = None) -> Session:
    """Open a session with every setting that matters made and read back. Raises `Unreachable`."""
    try:
        connection: Any = pymysql.connect(
            host=url.host,
            port=url.port,
            unix_socket=url.unix_socket,
            user=url.user,
            password=url.password.encode(),  # as text PyMySQL would send it in latin1
            database=url.database,
            charset="utf8mb4",
            use_unicode=False,
            conv=dict(_ENCODERS),
            autocommit=True,
            connect_timeout=CONNECT_DEADLINE,
            read_timeout=READ_DEADLINE,
            write_timeout=READ_DEADLINE,
            ssl_disabled=True,  # what is asked for is set below
            defer_connect=True,
        )
        tls_to_server.prepare(connection, tls, ca_file)
        connection.connect()
    except (pymysql.err.Error, OSError) as error:
        refusal = tls_to_server.refusal(error, f"database {url.redacted}", url.host, tls, ca_file)
        raise refusal or translate(error, url) from error
    session = Session(connection, url)
    try:
        _keep_alive(connection._sock)
        session.query(f"SET SESSION sql_select_limit={SETTINGS['sql_select_limit']}")  # it cuts SHOW short as well
        session.variables = {name or "": value or "" for name, value in session.texts("SHOW VARIABLES")}
        _check_encrypted(session, tls, url)
        _settle(session)
    except BaseException:
        session.close()
        raise
    return session


def _keep_alive(connected: socket.socket) -> None:
    """Let the system ask after a silent peer: DDL of a load has no read deadline, yet must not wait for a dead host."""
    if connected.family in (socket.AF_INET, socket.AF_INET6):
        for name, value in _KEEP_ALIVE.items():
            if hasattr(socket, name):
                connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def translate(error: Exception, url: DatabaseUrl) -> KimaiBackupError:
    """One of our errors for one of the driver's, in one line, without any secret."""
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    said = " ".join(str(error.args[-1]).split()) if error.args else type(error).__name__
    where = f"database {url.redacted}"
    if isinstance(error, pymysql.err.MySQLError) and code in _CHANGED:
        return DefinitionChanged(f"{where} changed while it was read: {said}", code=code)
    if code in _SIGN_IN:
        return Unreachable(f"{where} refuses: {said}", mend=_MENDS.get(code, "Try again later."))
    if code in _GONE or isinstance(error, OSError):
        return Unreachable(f"{where} does not answer: {said}", mend="Check that the server runs and can be reached.")
    return QueryFailed(f"{where} answers with error {code}: {said}", code=code, mend=_MENDS.get(code, ""))


def text(value: bytes | None) -> str:
    """A name or text of the server's own; what isn't UTF-8 is shown escaped."""
    return (value or b"").decode("utf-8", "backslashreplace")


def version_number(version: str) -> str:
    """`10.11.19` of `10.11.19-MariaDB-0+deb12u1-log`: what follows says how it was built and is set up."""
    found = re.match(r"[0-9]+(?:\.[0-9]+)*", version)
    return found[0] if found else version


def series(version: str) -> list[int]:
    """The numbers that name a series of releases: 10.11, 8.4."""
    return [int(each) for each in version_number(version).split(".")[:2] if each.isdigit()]


def quote_name(name: str) -> str:
    """An identifier in backticks."""
    return "`" + name.replace("`", "``") + "`"


def quote_text(value: str) -> str:
    """A string literal for the sessions made here: backslash escapes on."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _check_encrypted(session: Session, tls: Tls, url: DatabaseUrl) -> None:
    if tls not in ("required", "verify"):
        return
    if not session.query("SHOW STATUS LIKE 'Ssl_cipher'")[0][1]:
        raise Unreachable(
            f"database {url.redacted} gave a connection without TLS, DATABASE_TLS={tls}",
            mend="Switch TLS on at the server, or set DATABASE_TLS=preferred.",
        )


def _settle(session: Session) -> None:
    """Make the settings and read them back; one that the server hasn't is left out by name, never guessed."""
    limit = min(PACKET_LIMIT, session.packet_limit)
    wanted = wanted_settings(session.flavour, session.variables, limit)
    assignments = [f"{name}={_literal(name, value)}" for name, value in wanted.items()]
    session.query("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE")
    session.query("SET SESSION " + ", SESSION ".join(assignments))
    session.query("SET SESSION optimizer_switch='mrr=off'")  # rows of a packet arrive in the key's order
    isolation = "tx_isolation" if "tx_isolation" in session.variables else "transaction_isolation"
    wanted[isolation] = "REPEATABLE-READ"
    found = session.texts("SELECT " + ", ".join(f"@@SESSION.{name}" for name in wanted))[0]
    wrong = differing_settings(wanted, found)
    if wrong:
        raise Unreachable(f"the database server does not take session settings: {'; '.join(wrong)}")


def _literal(name: str, value: str | int) -> str:
    if isinstance(value, int) or name == "system_versioning_asof":  # a time, or this word
        return str(value)
    return quote_text(value)
