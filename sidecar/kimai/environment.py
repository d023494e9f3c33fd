"""Kimai's own settings as its `.env` files give them, and what may be said of the secret among them."""

import hashlib
import logging
import re
from collections.abc import Mapping
from typing import NamedTuple

from sidecar.errors import ConfigurationError
from sidecar.kimai.beneath import ReadSmall

log = logging.getLogger(__name__)

KIMAI_VARIABLES = (
    "DATABASE_URL",
    "APP_SECRET",
    "APP_ENV",
    "MAILER_URL",
    "MAILER_FROM",
    "TRUSTED_PROXIES",
    "TRUSTED_HOSTS",
    "ADMINMAIL",
    "ADMINPASS",
    "USER_ID",
    "GROUP_ID",
    "memory_limit",
)
"""What Kimai and the entrypoint of its image take from the environment."""

COMPILED = ".env.local.php"
"""What `composer dump-env` writes; Kimai then reads it in place of every `.env*`."""

BESIDE_SUFFIX = ".from-backup"
GENERATED_FILE = "var/data/.appsecret"
MIRROR_FILE = ".env.local"
"""Where Kimai's image keeps an APP_SECRET that it made, and where it mirrors that at each start."""

DEFAULT_APP_ENVIRONMENT = "prod"

_EXAMPLES_SECRET = "change_this_to_something_unique"  # noqa: S105 - everybody knows it
_FINGERPRINT_SALT = b"kimai-backup: fingerprint of APP_SECRET"
_NAME = r"[A-Za-z][A-Za-z0-9_]*"
_ASSIGNMENT = re.compile(rf"(?:export[ \t]+)?({_NAME})=")
_EMPTY_VALUE = re.compile(r"[ \t]*(?:#[^\n]*)?(?=\n|\Z)")
# A # begins a comment only after a space.
_VALUE_END = re.compile(r"\n|\Z|(?<=[ \t])#")
_BLANK = re.compile(r"(?:\s+|#[^\n]*)*")
_DOUBLE_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_SINGLE_QUOTED = re.compile(r"'([^']*)'")
_BARE = re.compile(r"""(?:\\["']|[^\n"'#]|(?<![ \t])#)+""")
_REFERENCE = re.compile(
    rf"(?P<slashes>\\*)\$(?!\()(?P<open>\{{)?(?P<name>{_NAME})?(?P<default>:[-=][^}}\n]*)?(?P<close>\}})?"
)


class AppSecret(NamedTuple):
    """Where the APP_SECRET in force comes from, and 16 hex digits that tell two apart and give none away.

    No fingerprint where the source is there and can't be read.
    """

    source: str
    fingerprint: str | None


def effective_environment(read: ReadSmall, app_env: str | None = None) -> dict[str, str]:
    """The variables of Kimai (`KIMAI_VARIABLES`) that its `.env` files set, later files before earlier ones.

    A variable of the real environment of Kimai's process wins over them: `app_env` is its APP_ENV, where it is known.
    Raises `ConfigurationError`, with file and line and never the value, for a file that Kimai can't read either.
    """
    values = _read_files(read, app_env)
    return {name: values[name] for name in KIMAI_VARIABLES if name in values}


def app_environment(read: ReadSmall, app_env: str | None = None) -> str:
    """Kimai's APP_ENV, `prod` where none is set or the files can't be read."""
    try:
        return app_env or _read_files(read, app_env).get("APP_ENV") or DEFAULT_APP_ENVIRONMENT
    except ConfigurationError as error:
        log.debug("APP_ENV is taken to be %s: %s", DEFAULT_APP_ENVIRONMENT, error)
        return DEFAULT_APP_ENVIRONMENT


def _read_files(read: ReadSmall, app_env: str | None) -> dict[str, str]:
    """Read what Symfony reads, in its order: each file's values win over those of the ones before it."""
    if read(COMPILED) is not None:
        log.warning("%s is there: Kimai reads it in place of .env, kimai-backup can't", COMPILED)
    values: dict[str, str] = {}
    if not _read_into(values, read, ".env"):
        _read_into(values, read, ".env.dist")
    if (app_env or values.get("APP_ENV")) != "test":
        _read_into(values, read, ".env.local")
    name = app_env or values.get("APP_ENV") or DEFAULT_APP_ENVIRONMENT
    # An APP_ENV is a word; anything else would lead out of the folder.
    if name != "local" and re.fullmatch(r"\w+", name):
        _read_into(values, read, f".env.{name}")
        _read_into(values, read, f".env.{name}.local")
    return values


def _read_into(values: dict[str, str], read: ReadSmall, path: str) -> bool:
    content = read(path)
    if content is not None:
        values.update(parse(content, path, values))
    return content is not None


def app_secret(
    read: ReadSmall, environment: Mapping[str, str], *, process: Mapping[str, str], by_image: bool = True
) -> AppSecret | None:
    """Which APP_SECRET is in force: the process's, else the image's own file, else that of the `.env` files.

    `environment` as `effective_environment` gives it; `process` is the environment of Kimai's own process, so
    far as it is known. Without the image's start (`by_image`) nothing reads its file: it comes last, as what was left
    behind by an image. None where there is no secret at all.
    """
    if secret := given_secret(process):
        return AppSecret("environment", fingerprint(secret))
    of_files = environment.get("APP_SECRET")
    if of_files and not by_image:
        return AppSecret(".env", fingerprint(of_files))
    try:
        content = read(GENERATED_FILE)
    except ConfigurationError as error:
        log.warning("%s", error)
        return AppSecret(GENERATED_FILE, None)
    if content is not None and (secret := content.decode("utf-8", "surrogateescape").strip()):
        return AppSecret(GENERATED_FILE, fingerprint(secret))
    return AppSecret(".env", fingerprint(of_files)) if of_files else None


def given_secret(process: Mapping[str, str]) -> str | None:
    """The APP_SECRET of a process's environment; the one that examples show counts as none, as for the image."""
    secret = process.get("APP_SECRET")
    return None if secret == _EXAMPLES_SECRET else secret or None


def fingerprint(secret: str) -> str:
    """16 hex digits, slow to compute on purpose: a weak secret must not be found by trying."""
    return hashlib.scrypt(
        secret.encode("utf-8", "surrogateescape"), salt=_FINGERPRINT_SALT, n=2**12, r=8, p=1, dklen=8
    ).hex()


def render(values: Mapping[str, str]) -> bytes:
    """Write variables as a text that a shell and Symfony read alike; `parse` gives the same values back."""
    lines = (f"{name}={_quoted(value)}\n" for name, value in sorted(values.items()))
    return "".join(lines).encode("utf-8", "surrogateescape")


def _quoted(value: str) -> str:
    # Nothing is special within single quotes but their end; Symfony would take a bare CR for a line's end.
    return "'" + value.replace("'", "'\"'\"'").replace("\r", "'\"\\r\"'") + "'"


def plan_env(read: ReadSmall, backup: Mapping[str, bytes], database_url: str | None) -> dict[str, str]:
    """Which `.env*` of a backup are to be laid beside their place, and under what name; the others go in place.

    `backup` holds the backup's files by path, `database_url` is the one in force. Beside goes what differs from a
    file that is there, and what would bring another DATABASE_URL into force where there is none.
    """
    beside = {}
    for path, content in sorted(backup.items()):
        existing = read(path)
        in_place = existing == content
        if existing is None:
            in_place = not _changes_database(path, content, backup, database_url)
        if not in_place:
            beside[path] = path + BESIDE_SUFFIX
    return beside


def _changes_database(path: str, content: bytes, backup: Mapping[str, bytes], database_url: str | None) -> bool:
    if path == COMPILED:
        return True
    try:
        # A file may refer to what another one sets.
        others = parse(backup[".env"], ".env", {}) if path != ".env" and ".env" in backup else {}
        values = parse(content, path, others)
    except ConfigurationError as error:
        log.warning("The backup's %s", error)
        return True
    return values.get("DATABASE_URL") not in (None, "", database_url)


def parse(content: bytes, label: str, known: Mapping[str, str]) -> dict[str, str]:
    """Read one file as Symfony's Dotenv does, without ever running a command: `$(…)` stays as it is written.

    python-dotenv has another grammar: it expands within single quotes, and `$NAME` it does not expand at all.
    `known` are variables that the file may refer to. Raises `ConfigurationError` with the label and the line.
    """
    text = content.decode("utf-8", "surrogateescape").replace("\r\n", "\n").replace("\r", "\n")
    return _Parser(text, label, known).parse()


class _Parser:
    """One pass over one file; `place` is where it stands."""

    def __init__(self, text: str, label: str, known: Mapping[str, str]) -> None:
        self._text = text.removeprefix("\ufeff")
        self._label = label
        self._known = known
        self._values: dict[str, str] = {}
        self._place = 0

    def parse(self) -> dict[str, str]:
        self._skip(_BLANK)
        while self._place < len(self._text):
            match = _ASSIGNMENT.match(self._text, self._place)
            if match is None:
                raise self._fault("no NAME=value")
            self._place = match.end()
            self._values[match[1]] = self._value(match[1])
            self._skip(_BLANK)
        return self._values

    def _value(self, name: str) -> str:
        if self._skip(_EMPTY_VALUE):
            return ""
        if self._text[self._place] in " \t":
            raise self._fault("a space before the value")
        value = ""
        while not _VALUE_END.match(self._text, self._place):
            value += self._piece(name)
        return value

    def _piece(self, name: str) -> str:
        if self._text[self._place] == "'":
            return self._take(_SINGLE_QUOTED)
        if self._text[self._place] == '"':
            raw = self._take(_DOUBLE_QUOTED)
            return self._expand(raw.replace('\\"', '"').replace("\\r", "\r").replace("\\n", "\n"), name)
        raw = re.sub(r"\\([\"'])", r"\1", self._take(_BARE)).rstrip()
        expanded = self._expand(raw, name)
        if expanded == raw and re.search(r"\s", raw) and "$(" not in raw:
            raise self._fault("a value with spaces and without quotes")
        return expanded

    def _expand(self, raw: str, name: str) -> str:
        if re.search(r"(?<!\\)\$\(", raw):
            log.warning("%s: the command in %s is not run, its text stays as it is", self._label, name)
        return _REFERENCE.sub(self._referred, raw).replace("\\\\", "\\")

    def _referred(self, match: re.Match[str]) -> str:
        if len(match["slashes"]) % 2:
            return match[0][1:]
        if not match["name"]:
            return match[0]
        if match["open"] and not match["close"]:
            raise self._fault("a ${ without its }")
        value = self._values.get(match["name"], self._known.get(match["name"], ""))
        if not value and match["default"]:
            value = match["default"][2:]
            if match["default"][1] == "=":
                self._values[match["name"]] = value
        stray = "}" if match["close"] and not match["open"] else ""
        return f"{match['slashes']}{value}{stray}"

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._place)
        if match is None:
            raise self._fault("a quote without its end")
        self._place = match.end()
        return match[match.lastindex or 0]

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        match = pattern.match(self._text, self._place)
        if match is None:
            return False
        self._place = match.end()
        return True

    def _fault(self, reason: str) -> ConfigurationError:
        line = self._text.count("\n", 0, self._place) + 1
        return ConfigurationError(
            f"{self._label}, line {line}: {reason}", mend="Write NAME='value', as Kimai's own .env.dist does."
        )
