"""Which statements of SQL that others wrote may be sent on: those that a dump is made of, and no others."""

import re
from enum import Enum, auto
from typing import NamedTuple

from sidecar.database import lexer
from sidecar.errors import Refused

LARGEST_DEFINITION = 8 << 20
"""Bytes that any statement but an INSERT may have: reading its words costs some fifty times its size."""


class Kind(Enum):
    """What a statement does. SKIP: nothing that a restore needs, or may do; KEYS: ALTER TABLE … DISABLE or ENABLE KEYS."""

    SET = auto()
    CREATE_TABLE = auto()
    CREATE_VIEW = auto()
    CREATE_TRIGGER = auto()
    CREATE_ROUTINE = auto()
    CREATE_EVENT = auto()
    CREATE_SEQUENCE = auto()
    SEQUENCE_VALUE = auto()
    ALTER_TABLE = auto()
    ALTER_EVENT = auto()
    KEYS = auto()
    DROP = auto()
    INSERT = auto()
    REPLACE = auto()
    LOCK = auto()
    UNLOCK = auto()
    TRANSACTION = auto()
    SKIP = auto()


def admit(statement: bytes, database: str | None = None) -> Kind:
    """Tell what a statement does, if a dump may hold it; raise `Refused` for any other, whatever its spelling.

    `statement` is one that `split` gave, and is to be sent alone: never with multi-statements allowed. `database` is
    the one that is loaded into; names qualified by any other are refused, as are all where it is None. Bodies of
    views, triggers, routines and events are the instance's own code, and only kept from files.
    """
    rows = _INSERT.match(statement)
    if rows is not None and _is_plain(statement, rows.end()):
        _check_databases(statement, _text_of(rows), database)
        return Kind[rows["verb"].decode().upper()]
    if _MAY_INSERT.match(statement):
        return _admit_rows(statement, database)
    if len(statement) > LARGEST_DEFINITION:
        raise _refused(statement, f"a definition of {len(statement)} bytes is too long to be checked")
    kind = Kind.SKIP
    for reading in _readings(statement):
        kind = _admit_words(statement, reading, database)
    return kind


# --- Rows -------------------------------------------------------------------------------------------------------

_PLAIN_NAME = rb"(?:" + lexer.NAME + rb"|[\w$\x80-\xff]+)"
_INSERT = re.compile(
    rb"\s*(?P<verb>INSERT|REPLACE)\s+(?:(?:LOW_PRIORITY|DELAYED|HIGH_PRIORITY|IGNORE)\s+)*(?:INTO\s+)?"
    rb"(?P<table>%(name)s(?:\s*\.\s*%(name)s)?)\s*(?:\(\s*(?:%(name)s(?:\s*,\s*%(name)s)*)?\s*\)\s*)?VALUES?\s*(?=\()"
    % {b"name": _PLAIN_NAME},
    re.IGNORECASE,
)
_MAY_INSERT = re.compile(rb"(?:\s+|/\*(?!M?!).*?\*/|(?:#|--)[^\n]*\n)*(?:INSERT|REPLACE)\b", re.IGNORECASE | re.DOTALL)
_ROW_MARKS = lexer.all_but(lexer.SPECIAL + b"()@")
_JOINTS = (b"),\n(", b"),(")
_JOINT_SEEN_WITHIN = 64 << 10
_LITERAL = re.compile(
    rb"(?P<string>%b)|(?P<name>%b)|(?P<comment>%b|/\*(?!M?!).*?\*/)"
    % (lexer.STRING, lexer.NAME, lexer.LINE_COMMENT),
    re.DOTALL,
)
_WORD_OR_MARK = re.compile(rb"(?<![\w$@])[A-Za-z_$@\x80-\xff][\w$@\x80-\xff]*|[^\s\w(),.+'-]")
_VALUE_WORDS = re.compile(
    rb"NULL|DEFAULT|TRUE|FALSE|[XBN]|_[a-z0-9]+|CAST|CONVERT|AS|USING|JSON|UTF8MB4|BINARY|CHAR|UNHEX|FROM_BASE64"
    rb"|(?:ST_)?(?:Geom|Geometry|Point|LineString|Polygon|MultiPoint|MultiLineString|MultiPolygon)From(?:Text|WKB)",
    re.IGNORECASE,
)


def _is_plain(statement: bytes, start: int) -> bool:
    """Whether what follows VALUES is rows of literals: one level of brackets, no call, query, comment or variable."""
    rows = statement[start:]
    joint = _JOINTS[0] if rows.find(_JOINTS[0], 0, _JOINT_SEEN_WITHIN) >= 0 else _JOINTS[1]
    # With the rows joined into one, a single pair of brackets is left, and it must enclose everything.
    return rows.endswith(b")") and lexer.skeleton(rows, _ROW_MARKS, joint=joint) == b"()"


def _admit_rows(statement: bytes, database: str | None) -> Kind:
    """Look closely at an INSERT with comments, calls, or an unusual layout: every word in its rows must be known."""
    if re.search(lexer.VERSIONED, _LITERAL.sub(b"", statement)):
        raise _refused(statement, "versioned comments don't belong into rows")
    bare = _LITERAL.sub(lambda found: found[0] if found["name"] else b"''" if found["string"] else b" ", statement)
    head = _INSERT.match(bare)
    if head is None:
        raise _refused(statement, "only INSERT … VALUES belongs into a dump")
    _check_databases(statement, _text_of(head), database)
    for word in set(_WORD_OR_MARK.findall(bare, head.end())):
        if not _VALUE_WORDS.fullmatch(word):
            raise _refused(statement, f"{word[:40].decode('utf-8', 'replace')} doesn't belong into rows of values")
    return Kind[head["verb"].decode().upper()]


def _text_of(head: re.Match[bytes]) -> bytes:
    return b" ".join(token for token, _ in _tokens(head["table"]))


# --- Words ------------------------------------------------------------------------------------------------------

_TOKEN = re.compile(
    rb"(?P<blank>\s+|%b)|/\*(?P<maria>M?)!(?P<version>[0-9]{5,6})?|(?P<block>/\*.*?\*/)|(?P<close>\*/)"
    rb"|(?P<token>%b|%b|@@?[\w$.]+|[\w$\x80-\xff]+|.)"
    % (lexer.LINE_COMMENT, lexer.STRING, lexer.NAME),
    re.DOTALL,
)
# Every server that Kimai runs on is newer: comments up to this version are always carried out. Above, MySQL and MariaDB
# differ, and what one skips it skips to the first `*/`, without a look at strings.
_ALWAYS = 50699
_MARIADB_SKIPS = range(50700, 100000)


class _Token(NamedTuple):
    text: bytes
    version: int


def _tokens(statement: bytes) -> list[_Token]:
    """The words, strings and marks, each with its comment's version: 0 always read, below 0 by MariaDB alone."""
    tokens: list[_Token] = []
    inside: int | None = None
    for match in _TOKEN.finditer(statement):
        kind = match.lastgroup
        if kind in ("version", "maria"):
            if inside is not None:
                raise _refused(statement, "a versioned comment stands inside another")
            version = int(match["version"] or 0)
            inside = (0 if version <= _ALWAYS else version) if not match["maria"] else -max(version, 1)
        elif kind == "close" and inside is not None:
            inside = None
        elif kind == "close":
            tokens += [_Token(b"*", 0), _Token(b"/", 0)]
        elif inside and len(match[0]) > 1 and re.search(rb"\*/|/\*", match[0]):
            raise _refused(statement, "servers disagree where its versioned comment ends")
        elif kind == "token":
            tokens.append(_Token(match[0], inside or 0))
    if inside is not None or any(text in (b"'", b'"', b"`") for text, _ in tokens):
        raise _refused(statement, "a string, name or comment in it has no end")
    if any(first.text == b"/" and second.text == b"*" for first, second in zip(tokens, tokens[1:], strict=False)):
        raise _refused(statement, "a comment in it has no end")
    return tokens


def _readings(statement: bytes) -> list[list[bytes]]:
    """What the statement says to each server there is, from the oldest to the newest; silence is left out."""
    tokens = _tokens(statement)
    versions = sorted({version for _, version in tokens if version}, key=abs)
    known: list[list[bytes]] = []
    for newest in range(len(versions) + 1):
        older = set(versions[:newest])
        mysql = {version for version in older if version > 0}
        mariadb = {version for version in older if version not in _MARIADB_SKIPS}
        for read in (mysql, mariadb):
            words = [text for text, version in tokens if not version or version in read]
            if words and words not in known:
                known.append(words)
    return known


# --- Definitions ------------------------------------------------------------------------------------------------
# Patterns are matched against words joined by single spaces, names as they are, strings as ''.

_NAME = rb"(?:`[^`]*`|[\w$\x80-\xff]+)"
_TABLE = rb"%b(?: \. %b)?" % (_NAME, _NAME)
_USER = rb"(?:%b|'')(?: (?:@ (?:%b|'')|@[\w$.]+))?" % (_NAME, _NAME)
_OWNER = rb"(?:DEFINER = (?:CURRENT_(?:USER|ROLE)(?: \( \))?|%b) )?" % _USER
_CREATE = rb"CREATE (?:OR REPLACE )?"
_MISSING = rb"(?:IF NOT EXISTS )?"


def _pattern(text: bytes) -> re.Pattern[bytes]:
    return re.compile(text, re.IGNORECASE)


# What comes first is matched first; a pattern without \Z has the instance's own code after it.
_HEADS = [
    (Kind.CREATE_TABLE, _pattern(rb"CREATE (?:OR REPLACE )?(?:TEMPORARY )?TABLE %b%b \((?! LIKE\b)" % (_MISSING, _TABLE))),
    (
        Kind.CREATE_VIEW,
        _pattern(
            rb"%b(?:ALGORITHM = \w+ )?%b(?:SQL SECURITY \w+ )?VIEW %b%b (?:\( %b(?: , %b)* \) )?AS "
            % (_CREATE, _OWNER, _MISSING, _TABLE, _NAME, _NAME)
        ),
    ),
    (
        Kind.CREATE_TRIGGER,
        _pattern(
            rb"%b%bTRIGGER %b%b (?:BEFORE|AFTER) (?:INSERT|UPDATE|DELETE) ON %b FOR EACH ROW "
            % (_CREATE, _OWNER, _MISSING, _TABLE, _TABLE)
        ),
    ),
    (
        Kind.CREATE_ROUTINE,
        _pattern(rb"%b%b(?:AGGREGATE )?(?:PROCEDURE|FUNCTION) %b%b \(" % (_CREATE, _OWNER, _MISSING, _TABLE)),
    ),
    (Kind.CREATE_ROUTINE, _pattern(rb"%b%bPACKAGE (?:BODY )?%b%b " % (_CREATE, _OWNER, _MISSING, _TABLE))),
    (Kind.CREATE_EVENT, _pattern(rb"%b%bEVENT %b%b ON SCHEDULE " % (_CREATE, _OWNER, _MISSING, _TABLE))),
    (
        Kind.CREATE_SEQUENCE,
        _pattern(rb"%bSEQUENCE %b%b(?: (?!ENGINE\b)[A-Za-z]+| = | - |[0-9]+| )*(?:ENGINE = \w+)?\Z" % (_CREATE, _MISSING, _TABLE)),
    ),
    (Kind.SEQUENCE_VALUE, _pattern(rb"(?:DO|SELECT) SETVAL \( %b(?: , (?:- )?[0-9]+)+ \)\Z" % _TABLE)),
    (
        Kind.DROP,
        _pattern(
            rb"DROP (?:(?:TEMPORARY )?TABLES?|VIEW|SEQUENCE|TRIGGER|PROCEDURE|FUNCTION|PACKAGE(?: BODY)?|EVENT) "
            rb"(?:IF EXISTS )?%b(?: , %b)*(?: RESTRICT| CASCADE)?\Z" % (_TABLE, _TABLE)
        ),
    ),
    (Kind.KEYS, _pattern(rb"ALTER TABLE %b (?:DISABLE|ENABLE) KEYS\Z" % _TABLE)),
    (Kind.ALTER_TABLE, _pattern(rb"ALTER TABLE %b (?=ADD|MODIFY|AUTO_INCREMENT)" % _TABLE)),
    (Kind.ALTER_EVENT, _pattern(rb"ALTER %bEVENT %b (?:ENABLE|DISABLE)\Z" % (_OWNER, _TABLE))),
    (
        Kind.LOCK,
        _pattern(
            rb"LOCK TABLES? %(one)b(?: , %(one)b)*\Z"
            % {b"one": rb"%b (?:AS %b )?(?:READ(?: LOCAL)?|WRITE)" % (_TABLE, _NAME)}
        ),
    ),
    (Kind.UNLOCK, _pattern(rb"UNLOCK TABLES?\Z")),
    (Kind.TRANSACTION, _pattern(rb"(?:START TRANSACTION(?: WITH CONSISTENT SNAPSHOT)?|BEGIN(?: WORK)?|COMMIT(?: WORK)?)\Z")),
    (Kind.SKIP, _pattern(rb"ANALYZE TABLE %b UPDATE HISTOGRAM ON .*\Z" % _TABLE)),
    # mysqldump writes it around triggers and routines made under another default charset.
    (Kind.SKIP, _pattern(rb"ALTER DATABASE %b (?:DEFAULT )?CHARACTER SET =? ?\w+(?: COLLATE =? ?\w+)?\Z" % _NAME)),
    # Percona's mysqldump asks for RocksDB's bulk load.
    (Kind.SKIP, _pattern(rb"(?:SELECT COUNT \( \* \) INTO|SET|PREPARE s FROM) @rocksdb_\w+.*\Z")),
]
_ROCKSDB = re.compile(rb"/\*!50717 (?:EXECUTE|DEALLOCATE PREPARE) s \*/\Z")

_FILES = _pattern(
    rb"\b(?:INTO (?:OUTFILE|DUMPFILE)|LOAD (?:DATA|XML)|SONAME|(?:LOAD_FILE|SYS_(?:EXEC|EVAL|GET|SET))`? \()"
)
_QUALIFIED = _pattern(rb"(%b) \. %b" % (_NAME, _NAME))
_REFERENCED = _pattern(rb"\bREFERENCES (%b \. )" % _NAME)
_QUOTED_NAME = re.compile(rb"`[^`]*`")
_NO_TABLE = _pattern(rb"\b(SELECT|TABLE|UNION|(?:DATA|INDEX) DIRECTORY|CONNECTION|SECONDARY_ENGINE)\b")
_ENGINE = _pattern(rb"\bENGINE (?:= )?(\S+)")
_ENGINES = {b"INNODB", b"MYISAM", b"ARIA", b"MEMORY", b"ARCHIVE", b"CSV", b"ROCKSDB"}
_ALTERATION = _pattern(
    rb"(?:ADD (?:CONSTRAINT (?:%b )?)?(?:PRIMARY KEY|UNIQUE|KEY|INDEX|FULLTEXT|SPATIAL|FOREIGN KEY|CHECK)\b"
    rb"|MODIFY (?:COLUMN )?%b [a-z]|AUTO_INCREMENT (?:= )?[0-9]+\Z)" % (_NAME, _NAME)
)
_INSTEAD = {
    b"USE": "Dump again without --databases, so that the SQL names no database.",
    b"CREATE DATABASE": "Dump again without --databases, so that the SQL names no database.",
    b"CREATE SCHEMA": "Dump again without --databases, so that the SQL names no database.",
}


def _admit_words(statement: bytes, words: list[bytes], database: str | None) -> Kind:
    """Judge one reading of a statement."""
    if words[0].upper() == b"SET" and not words[1:2][0:1] == [b"@rocksdb"]:
        found = _admit_set(statement, words)
        if found is not None:
            return found
    text = b" ".join(_canonical(word) for word in words)
    if _FILES.search(text):
        raise _refused(statement, "it reads or writes the server's files, or loads a library")
    for kind, pattern in _HEADS:
        head = pattern.match(text)
        if head is not None:
            _check_databases(statement, head[0], database)
            if kind in (Kind.CREATE_TABLE, Kind.ALTER_TABLE, Kind.CREATE_SEQUENCE):
                _check_table(statement, text, database)
            if kind is Kind.ALTER_TABLE:
                _check_alterations(statement, text[head.end() :])
            return kind
    if _ROCKSDB.match(statement):
        return Kind.SKIP
    mend = _INSTEAD.get(b" ".join(words[:2]).upper(), _INSTEAD.get(words[0].upper(), ""))
    raise _refused(statement, "no dump is made of that", mend)
