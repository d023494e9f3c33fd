"""Which session variables a dump may set, and to what."""

import re
from collections.abc import Iterable

from sidecar.database.lexer import refused

# Single bytes or UTF-8 only: in big5, cp932, gbk, gb18030 and sjis a letter's second byte may read as a backslash, and
# the server would see strings end where we don't.
_CHARSETS = rb"(?:utf8|utf8mb3|utf8mb4|ascii|binary|latin[1257]|cp125[0-7]|cp85[02]|cp866|greek|hebrew|koi8[ru])"
_FLAG = rb"[0-9]+|ON|OFF|DEFAULT"
_ONE_CHARSET = rb"'?%b'?" % _CHARSETS
_COLLATION = rb"'?%b(?:_[a-z0-9_]+)?'?" % _CHARSETS
_MODES = rb"'(?!.*NO_BACKSLASH_ESCAPES)(?:[a-z]\w*(?:, ?[a-z]\w*)*)?'"

_SETTABLE = {
    "sql_mode": _MODES,
    "time_zone": rb"'[^'\\]*'|\"[^\"\\]*\"",
    "character_set_client": _ONE_CHARSET,
    "character_set_results": _ONE_CHARSET + rb"|NULL",
    "character_set_connection": _ONE_CHARSET,
    "collation_connection": _COLLATION,
    "foreign_key_checks": _FLAG,
    "unique_checks": _FLAG,
    "check_constraint_checks": _FLAG,
    "sql_notes": _FLAG,
    "note_verbosity": _FLAG + rb"|'[a-z_, ]*'",
    "autocommit": _FLAG,
    "information_schema_stats_expiry": _FLAG,
    "system_versioning_insert_history": _FLAG,
    "system_versioning_alter_history": rb"KEEP|ERROR|DEFAULT|'(?:KEEP|ERROR)'",
    "sql_quote_show_create": _FLAG,
}
_LEFT_OUT = {"sql_log_bin"}
_ALLOWED = {name: re.compile(values, re.IGNORECASE) for name, values in _SETTABLE.items()}
_VARIABLE = re.compile(rb"@@(?:(?:SESSION|LOCAL)\.)?([a-z_]+)", re.IGNORECASE)
_OWN_VARIABLE = re.compile(rb"@[\w$]+")
_OWN_VALUE = re.compile(rb"@[\w$]+|[0-9]+|NULL", re.IGNORECASE)
_SCOPES = (b"SESSION", b"LOCAL")
_EQUALS = ([b"="], [b":", b"="])


def check(statement: bytes, assignments: Iterable[list[bytes]]) -> bool:
    """Check the assignments of a SET; False where it is one to leave out. Raises `Refused` for what no dump sets."""
    sent = {_check_one(statement, words) for words in assignments}
    if len(sent) > 1:
        raise refused(statement, "it sets what a restore must leave alone beside what it needs")
    return sent.pop()


def _check_one(statement: bytes, words: list[bytes]) -> bool:
    if words[:1] and words[0].upper() == b"NAMES":
        rest = [words[1:2], words[3:]] if [word.upper() for word in words[2:3]] == [b"COLLATE"] else [words[1:]]
        for value, pattern in zip(rest, (_ONE_CHARSET, _COLLATION), strict=False):
            if len(value) != 1 or not re.fullmatch(pattern, _single(value[0]), re.IGNORECASE):
                raise refused(statement, "the character set is none that can be read safely")
        return True
    if len(words) > 3 and words[0].upper() in _SCOPES:
        words = words[1:]
    target, equals, value = words[:1], words[1:-1], words[-1:]
    if equals not in _EQUALS or len(target) != 1:
        raise refused(statement, "it sets what no dump sets")
    if _OWN_VARIABLE.fullmatch(target[0]):
        return _check_own(statement, value[0])
    name = _name(target[0])
    if name in _LEFT_OUT:
        return False
    allowed = _ALLOWED.get(name)
    if allowed is None:
        raise refused(statement, f"it sets {name or 'a variable'}, which no dump does")
    if not _OWN_VARIABLE.fullmatch(value[0]) and not allowed.fullmatch(_single(value[0])):
        raise refused(statement, f"it sets {name} to what no dump does")
    return True


def _check_own(statement: bytes, value: bytes) -> bool:
    """A user variable may hold only what the session had: so what is set from one later is as harmless."""
    read = _VARIABLE.fullmatch(value)
    if not _OWN_VALUE.fullmatch(value) and (read is None or _name(value) not in (*_ALLOWED, *_LEFT_OUT)):
        raise refused(statement, "a dump's own variables only keep the session's settings")
    return True


def _name(word: bytes) -> str:
    match = _VARIABLE.fullmatch(word if word.startswith(b"@@") else b"@@" + word)
    return match[1].decode().lower() if match else ""


def _single(value: bytes) -> bytes:
    """A string in single quotes whichever it had; one with anything to unescape matches no pattern anyhow."""
    return b"'" + value[1:-1] + b"'" if value[:1] == b'"' and b"'" not in value else value
