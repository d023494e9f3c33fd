"""What Kimai's console is asked and how its answers are read, lying exit codes included."""

import logging
import re
from typing import Literal, NamedTuple, Protocol

from sidecar.errors import Unreachable

log = logging.getLogger(__name__)

OUTPUT_LIMIT = 1 << 20
"""Bytes that a console keeps of stdout and of stderr, each."""

VERSION_DEADLINE = 60.0
QUERY_DEADLINE = 120.0
RELOAD_DEADLINE = 600.0
"""Seconds. A cold cache on a small machine makes any command slow; a reload always warms the cache."""

QUOTED_LIMIT = 400
"""Characters of what Kimai printed that an error repeats."""

UPGRADE_DEADLINE = 3600.0
"""Seconds that all migrations may take together: each may write a large table anew."""

Migrations = Literal["up-to-date", "older database", "newer database"]

_VERSION = r"\d+(?:\.\d+){1,2}(?:-[0-9A-Za-z]+(?:\.[0-9A-Za-z]+)*)?"
_BARE_VERSION = re.compile(_VERSION)
# Only a line that begins with the name: a PHP warning may name another version in front of it.
_NAMED_VERSION = re.compile(rf"^[ \t]*Kimai\b.*?(?<![\w.])({_VERSION})", re.MULTILINE)
_ERROR_START = re.compile(r"\[(?:ERROR|CRITICAL)\]|In \S+\.php line \d+:|PHP Fatal error")
# What PHP prints of a connection may hold its password: in a URL, or as an argument in a stack trace.
_SECRETS = (
    (re.compile(r"://\S*@"), "://***@"),
    (re.compile(r"((?:->|::)(?:__construct|connect)|mysqli_connect)\((?!\))[^\n]*"), r"\1(***"),
    (re.compile(r"(?i)(password|secret|token)=\S+"), r"\1=***"),
)


class Outcome(NamedTuple):
    """How a command of the console ended; what it printed is cut at `OUTPUT_LIMIT`, and always text."""

    exit_code: int
    stdout: str
    stderr: str


class Console(Protocol):
    """Kimai's `bin/console`, wherever it runs."""

    def run(self, *arguments: str, deadline: float) -> Outcome:
        """Run one command to its end and give what it said; an exit code other than 0 is no error here.

        `deadline` in seconds: after it the command and all that it started is killed, and `Unreachable`
        raised, as it is where the command can't be started. Raises `ConfigurationError` where there is no
        console at all.
        """


def read_version(
    console: Console, version_file: str | None = None, *, deadline: float = VERSION_DEADLINE
) -> tuple[str, str]:
    """Kimai's version and how it was learnt: `console`, `console, long form` or `version.txt`.

    `version_file` is the text of Kimai's `version.txt`, where there is one; it serves when the console
    does not. No version proves anything about the database. Raises `Unreachable`, saying what was printed.
    """
    try:
        return _ask_version(console, deadline)
    except Unreachable as error:
        version = None if version_file is None else _bare_version(version_file.removeprefix("\ufeff"))
        if version is None:
            raise
        log.warning("Kimai's version is taken from version.txt, its console does not tell: %s", error.what)
        return version, "version.txt"


def _ask_version(console: Console, deadline: float) -> tuple[str, str]:
    short = console.run("kimai:version", "--short", deadline=deadline)
    if short.exit_code == 0 and (version := _bare_version(short.stdout)):
        return version, "console"
    long = console.run("kimai:version", deadline=deadline)
    if long.exit_code == 0 and (match := _NAMED_VERSION.search(long.stdout)):
        return match[1], "console, long form"
    raise _failure("kimai:version", long)


def reload(console: Console, *, deadline: float = RELOAD_DEADLINE) -> None:
    """Let Kimai check its configuration and build its cache anew; this needs no database.

    Empty the cache first (`staging.empty_cache`): with a stale one the first reload may fail over a plugin
    that went away. Raises `Unreachable` with what Kimai printed.
    """
    outcome = console.run("kimai:reload", deadline=deadline)
    if outcome.exit_code != 0 or "[ERROR]" in _both(outcome):
        raise _failure("kimai:reload", outcome)


def migrations(console: Console, *, deadline: float = QUERY_DEADLINE) -> Migrations:
    """Whether the database fits the code. Raises `Unreachable` with what Kimai printed where it can't tell.

    Told from what is printed, too: for a database newer than the code Kimai prints an error and exits with 0.
    """
    command = "doctrine:migrations:up-to-date"
    outcome = console.run(command, deadline=deadline)
    said = _both(outcome)
    if outcome.exit_code in (0, 2) and "[ERROR]" in said and "migration" in said:
        return "newer database"
    if outcome.exit_code == 1 and "Out-of-date!" in said:
        return "older database"
    if outcome.exit_code == 0 and "Up-to-date!" in said:
        return "up-to-date"
    raise _failure(command, outcome)


def upgrade(console: Console, *, deadline: float = UPGRADE_DEADLINE) -> str:
    """Let Kimai migrate the database as its documentation says, and give the command that did.

    That is `kimai:update`, which some versions have under the name `kimai:install` alone. An exit code of 0 proves
    nothing: ask `migrations` afterwards. Raises `Unreachable` with what Kimai printed.
    """
    command = "kimai:update"
    outcome = console.run(command, "-n", deadline=deadline)
    if outcome.exit_code != 0 and f'Command "{command}" is not defined' in " ".join(_both(outcome).split()):
        command = "kimai:install"
        outcome = console.run(command, "-n", deadline=deadline)
    if outcome.exit_code != 0:
        raise _failure(command, outcome)
    return command


def list_users(console: Console, *, deadline: float = QUERY_DEADLINE) -> None:
    """Let Kimai read its users: the one command that fails unless the database answers and fits the code.

    Raises `Unreachable` with what Kimai printed. The list itself, people's names, is not kept.
    """
    outcome = console.run("kimai:user:list", deadline=deadline)
    if outcome.exit_code != 0:
        raise _failure("kimai:user:list", outcome)


def _bare_version(text: str) -> str | None:
    """The last line that is a version and nothing else: PHP's own warnings come before it."""
    found = [line.strip() for line in text.splitlines() if _BARE_VERSION.fullmatch(line.strip())]
    return found[-1] if found else None


def _both(outcome: Outcome) -> str:
    return f"{outcome.stdout}\n{outcome.stderr}"


def _failure(command: str, outcome: Outcome) -> Unreachable:
    return Unreachable(
        f"bin/console {command} ended with exit code {outcome.exit_code} and said: {quote(outcome)}",
        mend="Run that command by hand in Kimai's folder, and mend what it says first.",
    )


def quote(outcome: Outcome) -> str:
    """What Kimai printed, as one short line without secrets: from the error on where one is marked.

    Kimai's own commands print errors on stdout, Doctrine and PHP on stderr.
    """
    for text in (outcome.stderr, outcome.stdout):
        if match := _ERROR_START.search(text):
            return _shorten(text[match.start() :])
    return _shorten(_both(outcome)) or "nothing"


def _shorten(text: str) -> str:
    if len(text) > 10 * QUOTED_LIMIT:
        # A word cut in two could be a URL that no longer shows where its password ends.
        text = text[: 10 * QUOTED_LIMIT].rpartition(" ")[0]
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= QUOTED_LIMIT else f"{line[:QUOTED_LIMIT]}…"
