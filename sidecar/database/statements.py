"""Which statements of SQL that others wrote may be sent on: those that a dump is made of, and no others."""

import re
from collections.abc import Iterable, Iterator
from enum import Enum, auto

from sidecar.database import inserts, lexer, variables

LARGEST_DEFINITION = 8 << 20
"""Bytes that any statement but an INSERT may have: reading its words costs many times its size."""


class Kind(Enum):
    """What a statement does. SKIP is not to be sent: a restore needs none of it; KEYS is DISABLE or ENABLE KEYS."""

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
    views, triggers, routines and events are the instance's own code, and only kept from the server's files.
    """
    head = inserts.read_head(statement)
    if head is not None:
        if b"." in head["table"]:
            [table] = lexer.readings(head["table"])
            _check_databases(statement, _text(table), database)
        return Kind[head["verb"].decode().upper()]
    if len(statement) > LARGEST_DEFINITION:
        raise lexer.refused(statement, f"{len(statement)} bytes are too many for anything but an INSERT")
    kind = Kind.SKIP
    for words in lexer.readings(statement):
        kind = _judge(statement, words, database)
    return kind


# Patterns are matched against words with a space between them, names as they are and strings as ''.
_NAME = rb"(?:`[^`]*`|[\w$\x80-\xff]+)"
_TABLE = rb"%b(?: \. %b)?" % (_NAME, _NAME)
_USER = rb"(?:%b|'')(?: (?:@ (?:%b|'')|@[\w$.]+))?" % (_NAME, _NAME)
_OWNER = rb"(?:DEFINER = (?:CURRENT_(?:USER|ROLE)(?: \( \))?|%b) )?" % _USER
_LOCKED = rb"%b (?:AS %b )?(?:READ(?: LOCAL)?|WRITE)" % (_TABLE, _NAME)
_PARTS = {
    b"name": _NAME,
    b"table": _TABLE,
    b"locked": _LOCKED,
    b"create": rb"CREATE (?:OR REPLACE )?",
    b"owner": _OWNER,
    b"missing": rb"(?:IF NOT EXISTS )?",
}


def _pattern(text: bytes) -> re.Pattern[bytes]:
    return re.compile(text % _PARTS, re.IGNORECASE)


# Behind a pattern without \Z stand the instance's own columns or code.
_HEADS = [
    (Kind.CREATE_TABLE, rb"%(create)b(?:TEMPORARY )?TABLE %(missing)b%(table)b \((?! LIKE\b)"),
    (
        Kind.CREATE_VIEW,
        rb"%(create)b(?:ALGORITHM = \w+ )?%(owner)b(?:SQL SECURITY \w+ )?VIEW %(missing)b%(table)b "
        rb"(?:\( %(name)b(?: , %(name)b)* \) )?AS ",
    ),
    (
        Kind.CREATE_TRIGGER,
        rb"%(create)b%(owner)bTRIGGER %(missing)b%(table)b (?:BEFORE|AFTER) (?:INSERT|UPDATE|DELETE) ON %(table)b "
        rb"FOR EACH ROW ",
    ),
    (Kind.CREATE_ROUTINE, rb"%(create)b%(owner)b(?:AGGREGATE )?(?:PROCEDURE|FUNCTION) %(missing)b%(table)b \("),
    (Kind.CREATE_ROUTINE, rb"%(create)b%(owner)bPACKAGE (?:BODY )?%(missing)b%(table)b "),
    (Kind.CREATE_EVENT, rb"%(create)b%(owner)bEVENT %(missing)b%(table)b ON SCHEDULE "),
    (Kind.CREATE_SEQUENCE, rb"%(create)bSEQUENCE %(missing)b%(table)b(?=(?: (?:\w+|=|-))*\Z)"),
    (Kind.SEQUENCE_VALUE, rb"(?:DO|SELECT) SETVAL \( %(table)b(?: , (?:- )?[0-9]+)+ \)\Z"),
    (
        Kind.DROP,
        rb"DROP (?:(?:TEMPORARY )?TABLES?|VIEW|SEQUENCE|TRIGGER|PROCEDURE|FUNCTION|PACKAGE(?: BODY)?|EVENT) "
        rb"(?:IF EXISTS )?%(table)b(?: , %(table)b)*(?: RESTRICT| CASCADE)?\Z",
    ),
    (Kind.KEYS, rb"ALTER TABLE %(table)b (?:DISABLE|ENABLE) KEYS\Z"),
    (Kind.ALTER_TABLE, rb"ALTER TABLE %(table)b (?=(?:ADD|MODIFY|AUTO_INCREMENT) )"),
    (Kind.ALTER_EVENT, rb"ALTER %(owner)bEVENT %(table)b (?:ENABLE|DISABLE)\Z"),
    (Kind.LOCK, rb"LOCK TABLES? %(locked)b(?: , %(locked)b)*\Z"),
    (Kind.UNLOCK, rb"UNLOCK TABLES?\Z"),
    (
        Kind.TRANSACTION,
        rb"(?:START TRANSACTION(?: WITH CONSISTENT SNAPSHOT)?|BEGIN(?: WORK)?|COMMIT(?: WORK)?)\Z",
    ),
    (Kind.SKIP, rb"SET @@GLOBAL\.GTID_PURGED =(?: '')+\Z"),
    (Kind.SKIP, rb"ANALYZE TABLE %(table)b UPDATE HISTOGRAM ON "),
    # mysqldump writes it around triggers and routines that were made under another default charset.
    (Kind.SKIP, rb"ALTER DATABASE %(name)b (?:DEFAULT )?CHARACTER SET (?:= )?\w+(?: COLLATE (?:= )?\w+)?\Z"),
    # Percona's mysqldump asks for RocksDB's bulk load.
    (Kind.SKIP, rb"(?:SELECT COUNT \( \* \) INTO|SET|PREPARE S FROM) @rocksdb_\w+"),
]
_PATTERNS = [(kind, _pattern(text)) for kind, text in _HEADS]
_ROCKSDB = re.compile(rb"/\*!50717 (?:EXECUTE|DEALLOCATE PREPARE) s \*/")

_QUALIFIER = _pattern(rb"(%(name)b) \. %(name)b")
_REFERENCED = _pattern(rb"\bREFERENCES (%(name)b) \. ")
_QUOTED_NAME = re.compile(rb"`[^`]*`")
_FILE_WORDS = _pattern(rb"\b(?:INTO (?:OUTFILE|DUMPFILE)|LOAD (?:DATA|XML)|SONAME)\b")
_FILE_CALLS = _pattern(rb"\b(?:LOAD_FILE|SYS_(?:EXEC|EVAL|GET|SET))`? \(")
_NOT_IN_TABLES = _pattern(rb"\b(?:SELECT|TABLE|(?:DATA|INDEX) DIRECTORY)\b")
_ENGINE = _pattern(rb"\bENGINE (?:= )?(\S+)")
_ENGINES = {b"INNODB", b"MYISAM", b"ARIA", b"MEMORY", b"ARCHIVE", b"CSV", b"ROCKSDB"}
_ALTERATION = _pattern(
    rb"(?:ADD (?:CONSTRAINT (?:%(name)b )?)?(?:PRIMARY KEY|UNIQUE|KEY|INDEX|FULLTEXT|SPATIAL|FOREIGN KEY|CHECK) "
    rb"|MODIFY (?:COLUMN )?%(name)b [A-Z]|AUTO_INCREMENT (?:= )?[0-9]+\Z)"
)
_NAMES_A_DATABASE = _pattern(rb"(?:USE|CREATE (?:DATABASE|SCHEMA)) ")
_HEAD_WORDS = 8
_WITHOUT_DATABASES = "Dump again without --databases: the SQL must not name a database."


def _judge(statement: bytes, words: list[bytes], database: str | None) -> Kind:
    """Judge one reading of a statement."""
    text = _text(words)
    if _FILE_WORDS.search(_QUOTED_NAME.sub(b"``", text)) or _FILE_CALLS.search(text):
        raise lexer.refused(statement, "it reads or writes the server's files, or loads a library")
    for kind, pattern in _PATTERNS:
        head = pattern.match(text)
        if head is not None:
            _check_databases(statement, head[0], database)
            if kind in (Kind.CREATE_TABLE, Kind.ALTER_TABLE, Kind.CREATE_SEQUENCE):
                _check_table(statement, text[head.end() - 2 :], database)
            if kind is Kind.ALTER_TABLE:
                _check_alterations(statement, words)
            return kind
    if words[0].upper() == b"SET":
        return Kind.SET if variables.check(statement, split_at_commas(words[1:])) else Kind.SKIP
    if _ROCKSDB.fullmatch(statement):
        return Kind.SKIP
    raise lexer.refused(statement, "that is no part of a dump", _mend(words, text))


def _mend(words: list[bytes], text: bytes) -> str:
    if _NAMES_A_DATABASE.match(text):
        return _WITHOUT_DATABASES
    in_quotes = any(word.startswith(b'"') for word in words[:_HEAD_WORDS])
    return "Dump again without --compatible=ansi." if in_quotes else ""


def split_at_commas(words: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Give the parts between commas that stand in no brackets."""
    part: list[bytes] = []
    depth = 0
    for word in words:
        depth += (word == b"(") - (word == b")")
        if word == b"," and depth == 0:
            yield part
            part = []
        else:
            part.append(word)
    yield part


def _check_databases(statement: bytes, text: bytes, database: str | None) -> None:
    for match in _QUALIFIER.finditer(text):
        _check_database(statement, match[1], database)


def _check_database(statement: bytes, name: bytes, database: str | None) -> None:
    plain = name.strip(b"`").replace(_BACKTICK, b"`").decode("utf-8", "backslashreplace")
    if plain != database:
        raise lexer.refused(statement, f"it names the database {plain}", _WITHOUT_DATABASES)


def _check_table(statement: bytes, text: bytes, database: str | None) -> None:
    """Check what follows a table's head: its columns, keys and options."""
    for match in _REFERENCED.finditer(text):
        _check_database(statement, match[1], database)
    bare = _QUOTED_NAME.sub(b"``", text)
    strange = _NOT_IN_TABLES.search(bare)
    if strange is not None:
        raise lexer.refused(statement, f"{strange[0].decode()} doesn't belong into a table's definition")
    for match in _ENGINE.finditer(bare):
        if match[1].upper() not in _ENGINES:
            raise lexer.refused(statement, f"the engine {match[1].decode('utf-8', 'replace')} is not known to be safe")


def _check_alterations(statement: bytes, words: list[bytes]) -> None:
    first = 5 if words[3] == b"." else 3
    for part in split_at_commas(words[first:]):
        if not _ALTERATION.match(_text(part)):
            raise lexer.refused(statement, "a dump alters a table's keys and AUTO_INCREMENT only")


_BACKTICK = b"\x01"


def _text(words: Iterable[bytes]) -> bytes:
    return b" ".join(_canonical(word) for word in words)


def _canonical(word: bytes) -> bytes:
    if word[:1] in (b"'", b'"'):
        return b"''"
    if word[:1] == b"`":
        return b"`" + word[1:-1].replace(b"``", _BACKTICK) + b"`"
    return word
