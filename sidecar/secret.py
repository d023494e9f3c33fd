"""Values that never show themselves, and what may be shown of a URL that holds one."""

import re
from urllib.parse import unquote

HIDDEN = "***"

# A shorter piece of a URL's path is a word such as `ping` or `start`, no token.
_TOKEN = 8
# What topics, folders and checks of ours are called; hidden, a mend such as `kimai-backup restore` would be no help.
_OWN_NAMES = frozenset({"kimai", "kimai-backup"})
_HOST_NAME = re.compile(r"(?:[a-z0-9-]+\.)+[a-z]{2,}|[0-9]{1,3}(?:\.[0-9]{1,3}){3}|localhost")
_HOST = r"(?P<host>(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?)"
_DATABASE_URL = re.compile(
    rf"(?P<scheme>[\w+.-]+://)(?:(?P<user>[^:@/?#]*)(?P<colon>:(?P<password>.*))?@)?{_HOST}?"
    r"(?P<path>/[^?#@]*)?(?P<query>\?[^#]*)?(?:#.*)?",
    re.DOTALL,
)
_QUERY_PASSWORD = re.compile(r"(?<=[?&]password=)[^&]*")
_HTTP_URL = re.compile(rf"(?P<scheme>https?://)(?:(?P<userinfo>[^/?#]*)@)?{_HOST}(?P<rest>[/?#][!-~]*)?", re.IGNORECASE)


class Secret:
    """A value that str, repr and format show in a form for people. `reveal` gives the value itself."""

    __slots__ = ("_parts", "_shown", "_value")

    def __init__(self, value: str, shown: str = HIDDEN, parts: tuple[str, ...] = ()) -> None:
        self._value = value
        self._shown = shown
        self._parts = parts

    def reveal(self) -> str:
        """The value itself."""
        return self._value

    def spellings(self) -> tuple[str, ...]:
        """What must appear in no log: the value, unless all of it may be shown, and its parts that are secret."""
        whole = () if self._value == self._shown else (self._value,)
        return (*whole, *(part for part in self._parts if part))

    def __str__(self) -> str:
        return self._shown

    def __repr__(self) -> str:
        return f"Secret({self._shown!r})"

    def __format__(self, spec: str) -> str:
        return format(self._shown, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


def database_url(url: str) -> Secret:
    """A database URL that shows itself without its passwords; one that can't be read shows nothing."""
    match = _DATABASE_URL.fullmatch(url)
    if match is None:
        return Secret(url)
    userinfo = match["user"] + (f":{HIDDEN}@" if match["colon"] else "@") if match["user"] is not None else ""
    query = match["query"] or ""
    shown = "".join(
        (match["scheme"], userinfo, match["host"] or "", match["path"] or "", _QUERY_PASSWORD.sub(HIDDEN, query))
    )
    passwords = [match["password"] or "", *_QUERY_PASSWORD.findall(query)]
    return Secret(url, shown, tuple(spelling for text in passwords for spelling in (text, unquote(text))))


def http_url(url: str) -> Secret:
    """An http(s) URL that shows itself without user and password. Raises `ValueError` with what is allowed."""
    match = _HTTP_URL.fullmatch(url)
    if match is None:
        raise ValueError("http:// or https://, a host, and what follows it")
    userinfo = match["userinfo"]
    if userinfo is None:
        return Secret(url, url)
    password = userinfo.partition(":")[2] or userinfo
    shown = f"{match['scheme']}{HIDDEN}@{match['host']}{match['rest'] or ''}"
    return Secret(url, shown, (userinfo, password, unquote(password)))


def ping_url(url: str) -> Secret:
    """An http(s) URL whose path is a token (healthchecks): shows its host alone. Raises `ValueError`."""
    http_url(url)
    scheme, _, rest = url.partition("://")
    host = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
    return Secret(url, f"{scheme}://{host}/{HIDDEN}", _tokens(rest))


def service_url(url: str) -> Secret:
    """An apprise URL, any piece of which may be a token: shows its scheme alone. Raises `ValueError`."""
    scheme, separator, rest = url.partition("://")
    if not (separator and rest and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme)):
        raise ValueError("apprise URLs (service://…), separated by spaces or commas")
    # A password is a secret however short it is.
    password = rest.rpartition("@")[0].partition(":")[2]
    return Secret(url, f"{scheme}://{HIDDEN}", (*_tokens(rest), password, unquote(password)))


def _tokens(rest: str) -> tuple[str, ...]:
    """What may be a token of what follows `scheme://`; names that are no secret would only be missed in the log."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    host = authority.rpartition("@")[2].partition(":")[0]
    domains = re.findall(r"@([^/:@?&=#]+)", rest[len(authority) :])
    # Many a service has a token where others have their host: only what looks like one is one.
    plain = _OWN_NAMES.union(name for name in (host, *domains) if _HOST_NAME.fullmatch(name))
    pieces = [piece for piece in re.split(r"[/:@?&=#]", rest) if len(piece) >= _TOKEN and piece not in plain]
    return tuple(dict.fromkeys(spelling for piece in pieces for spelling in (piece, unquote(piece))))
