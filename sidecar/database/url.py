"""What a DATABASE_URL says: read as Doctrine reads it, so that Kimai and its backup mean the same one."""

import re
from dataclasses import dataclass, field
from typing import NoReturn
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from sidecar.errors import ConfigurationError

DEFAULT_PORT = 3306
SCHEMES = frozenset({"mysql", "mysql2", "pdo-mysql", "mysqli", "mariadb"})

_FORM = "mysql://user:password@host:3306/database"
_PLACEHOLDER = re.compile(r"%env\(|%kernel\.", re.IGNORECASE)
_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+._-]*)://(?P<authority>[^/?#]*)"
    r"(?:/(?P<path>[^?#]*))?(?:\?(?P<query>[^#]*))?(?:#.*)?",
    re.DOTALL,
)
_HOST_AND_PORT = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]{0,5}))?")
_HOST = re.compile(r"\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(?:%[A-Za-z0-9._-]+)?\]|[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """Where the database is and who may read it; percent-decoded, an IPv6 host without its brackets."""

    host: str
    user: str
    database: str
    password: str = field(default="", repr=False)
    port: int = DEFAULT_PORT
    unix_socket: str | None = None
    charset: str | None = None
    server_version: str | None = None

    @property
    def redacted(self) -> str:
        """The URL for people to read; a password shows as ***."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        password = ":***" if self.password else ""
        user = f"{quote(self.user, safe='')}{password}@" if self.user or password else ""
        socket = f"?unix_socket={quote(self.unix_socket)}" if self.unix_socket else ""
        return f"mysql://{user}{host}:{self.port}/{quote(self.database, safe='')}{socket}"


def parse(url: str) -> DatabaseUrl:
    """Read a database URL. Raises `ConfigurationError` with the reason, never with the URL.

    Like Doctrine's parser: `+` is no space except in the query, and `host`, `port`, `user`, `password` and
    `dbname` in the query win over those before it. Other parameters in the query are ignored.
    """
    url = url.strip()
    match = _URL.fullmatch(url)
    if match is not None:
        # First, as Kimai's own default for SQLite holds a placeholder as well.
        _check_scheme(match["scheme"])
    if _PLACEHOLDER.search(url):
        _refuse("holds a placeholder (%env(…)% or %kernel.…%), which only Symfony can fill in", "Write the value.")
    if url[:1] in {"'", '"'}:
        _refuse("begins with a quotation mark", "Remove the quotation marks around it.")
    if match is None:
        _refuse("is not a URL", f"Write it as {_FORM}.")
    # A raw / in the password ends the host early: its rest would pass for a database's name, and be shown.
    if "@" in (match["path"] or ""):
        _refuse(
            "has an @ behind the host",
            "Percent-encode user, password and database name (/ is %2F, @ is %40).",
        )
    userinfo, _, address = match["authority"].rpartition("@")
    user, _, password = userinfo.partition(":")
    query = dict(parse_qsl(match["query"] or "", keep_blank_values=True))
    socket = query.get("unix_socket") or None
    host, port = _host_and_port(address, query, has_socket=socket is not None)
    return DatabaseUrl(
        host=host,
        port=port,
        user=_text(query["user"] if "user" in query else _decoded(user, "user"), "user"),
        password=query["password"] if "password" in query else _decoded(password, "password"),
        database=_database(match["path"] or "", query),
        unix_socket=socket,
        charset=query.get("charset") or None,
        server_version=query.get("serverVersion") or None,
    )


def _check_scheme(scheme: str) -> None:
    # Doctrine takes pdo-mysql for pdo_mysql; `mysql+driver` is how SQLAlchemy's users write it.
    if scheme.lower().partition("+")[0].replace("_", "-") not in SCHEMES:
        _refuse(f"is a {scheme}:// URL; Kimai runs on MySQL and MariaDB alone", f"Write it as {_FORM}.")


def _host_and_port(address: str, query: dict[str, str], *, has_socket: bool) -> tuple[str, int]:
    match = _HOST_AND_PORT.fullmatch(address)
    if match is None:
        _refuse(
            "has no readable host and port",
            "The port is a number; percent-encode the password (: is %3A, / is %2F, # is %23, ? is %3F).",
        )
    host = query.get("host") or _decoded(match["host"], "host")
    if not host and has_socket:
        host = "localhost"
    if not host:
        _refuse("names no host", f"Write it as {_FORM}.")
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    if not _HOST.fullmatch(host):
        _refuse("has a host that can't be one", "Percent-encode user and password (/ is %2F, # is %23, ? is %3F).")
    port = query.get("port") or match["port"] or str(DEFAULT_PORT)
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        _refuse("has a port that isn't one", "Give a number from 1 to 65535, or none for 3306.")
    return host.strip("[]"), int(port)


def _database(path: str, query: dict[str, str]) -> str:
    name = query["dbname"] if query.get("dbname") else _decoded(path, "database name")
    if not name:
        _refuse("names no database", f"Write it as {_FORM}.")
    return _text(name, "database name")


def _decoded(text: str, what: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        _refuse(f"has a {what} that isn't UTF-8", "Percent-encode it as UTF-8; a % itself is %25.")


def _text(text: str, what: str) -> str:
    if "\0" in text:
        _refuse(f"has a NUL in its {what}", "Remove %00.")
    return text


def _refuse(reason: str, mend: str) -> NoReturn:
    raise ConfigurationError(f"database URL {reason}", mend=mend)
