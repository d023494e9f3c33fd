"""A database that is made for one drill on a scratch server, and gone afterwards, whatever happens."""

import logging
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sidecar.database.server import QueryFailed, Session, quote_name, quote_text
from sidecar.errors import ConfigurationError, KimaiBackupError, Refused, Unreachable

log = logging.getLogger(__name__)

Open = Callable[[str], Session]
"""Opens a session on a database of the scratch server."""

NEUTRAL = "information_schema"
"""A database that every server has, for what concerns no other one."""
_LONGEST_PREFIX = 40
_NAME = re.compile(r"_drill_[0-9a-f]{12}")
_NO_RIGHT = 1044
_NO_SUCH_COLLATION = {1115, 1273, 1253}


@contextmanager
def scratch_database(
    connect: Open, prefix: str, charset: str, collation: str, tell_left: Callable[[str], None] = lambda sentence: None
) -> Iterator[str]:
    """A new, empty database's name: `prefix`, `_drill_` and a number. It is dropped at the end.

    Where that fails `tell_left` hears of it, as the log does: what lies there is all that Kimai knows.

    As long as it is in use a lock of that name is held at the server, by which `sweep` tells it from one whose drill
    was killed. Raises `ConfigurationError` where the user may not make it, `Refused` where the server can't.
    """
    name = f"{prefix[:_LONGEST_PREFIX]}_drill_{secrets.token_hex(6)}"
    keeper = connect(NEUTRAL)
    try:
        keeper.query(f"SELECT GET_LOCK({quote_text(name)}, 0)")
        _make(keeper, name, charset, collation)
        try:
            yield name
        finally:
            if sentence := _drop(connect, name):
                tell_left(sentence)
    finally:
        keeper.close()


def sweep(connect: Open, prefix: str) -> list[str]:
    """Drop what killed drills with this prefix left, and name it. One that is in use is left alone."""
    session = connect(NEUTRAL)
    try:
        like = quote_text(prefix[:_LONGEST_PREFIX].replace("_", r"\_") + r"\_drill\_%")
        found = session.texts(f"SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE {like}")  # noqa: S608
        names = [name for (name,) in found if name and _NAME.fullmatch(name[len(prefix[:_LONGEST_PREFIX]) :])]
        left = [name for name in names if session.value(f"SELECT IS_FREE_LOCK({quote_text(name)})") == "1"]
    finally:
        session.close()
    for name in left:
        log.warning("dropping %s, which a drill that was killed had left", name)
        _drop(connect, name)
    return left


def _make(session: Session, name: str, charset: str, collation: str) -> None:
    create = f"CREATE DATABASE {quote_name(name)}"
    try:
        try:
            session.query(f"{create} CHARACTER SET {charset} COLLATE {collation}")
        except QueryFailed as error:
            if error.code not in _NO_SUCH_COLLATION:
                raise
            # A server of the other flavour: its tables name their own.
            log.warning("the scratch server has no collation %s: %s has its default", collation, name)
            session.query(f"{create} CHARACTER SET utf8mb4")
    except QueryFailed as error:
        mend = error.mend or "Look at the server of DRILL_DATABASE_URL."
        raise Refused(f"the scratch server makes no database: {error.what}", mend=mend) from error
    except Unreachable as error:
        cause = error.__cause__
        if cause is None or not cause.args or cause.args[0] != _NO_RIGHT:
            raise
        pattern = re.sub(r"([_%])", r"\\\1", re.sub(r"[0-9a-f]{12}$", "", name)) + "%"
        raise ConfigurationError(
            f"the user of DRILL_DATABASE_URL may not make the database {name}",
            mend=f"As that server's administrator: GRANT ALL PRIVILEGES ON {quote_name(pattern)}.* TO that user.",
        ) from error


def _drop(connect: Open, name: str) -> str | None:
    """By a session of its own: the one before may have been lost. Returns that it is left, and why, where it is."""
    try:
        session = connect(NEUTRAL)
        try:
            session.without_read_deadline()
            session.query("SET SESSION lock_wait_timeout=60")
            session.query(f"DROP DATABASE IF EXISTS {quote_name(name)}")
        finally:
            session.close()
    except KimaiBackupError as error:
        sentence = f"the scratch database {name} is left, for the next drill to drop: {error}"
        log.warning("%s", sentence)
        return sentence
    return None
