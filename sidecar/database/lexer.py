"""How MySQL and MariaDB read SQL text: strings, names and comments, and a quick way past all of them."""

import re

from sidecar.errors import Refused

BLANKS = b" \t\r\n\v\f"

# Possessive throughout: a string of 60 MB costs neither a stack nor a second look. Within such a repetition stands no
# lookahead and no alternative: Python before 3.11.5 goes on from the wrong place after one that failed.
SINGLE_BODY = rb"[^'\\]*+(?:\\.[^'\\]*+)*+"
DOUBLE_BODY = rb'[^"\\]*+(?:\\.[^"\\]*+)*+'
STRING = rb"'" + SINGLE_BODY + rb"'|\"" + DOUBLE_BODY + rb"\""
NAME = rb"`[^`]*+(?:``[^`]*+)*+`"
LINE_COMMENT = rb"(?:#|--(?=[\x00-\x20\x7f]|\Z))[^\n]*+"
VERSIONED = rb"/\*M?!"

# What decides how other bytes are read. A cut behind any byte but these leaves escapes and marks of comments whole.
SPECIAL = b"'\"`#*;\\"
NEVER_CUT_BEHIND = SPECIAL + b"-/\r\n"

_ESCAPED_QUOTE = re.compile(rb"\\['\"\\]")
_QUOTED = re.compile(rb"'[^']*+'|\"[^\"]*+\"|`[^`]*+`")
_DENSE = 40


def all_but(kept: bytes) -> bytes:
    """Every byte except those kept: the `dropped` of `skeleton`."""
    return bytes(sorted(set(range(256)) - set(kept)))


_ORDINARY = all_but(SPECIAL)


def skeleton(text: bytes, dropped: bytes = _ORDINARY, *, joint: bytes = b"") -> bytes:
    """Give the special bytes of `text` that stand outside strings and names; `text` begins outside of both.

    b"" says that `text` ends outside too, with no comment, delimiter or backslash on the way; what begins with a
    single quote says that it ends inside a string that this quote opened; anything else says to look closely.
    A handful of passes in C, none of them per row: this is what makes splitting faster than a disk.

    Sound because each step keeps, for every byte that stays, the quotes it stands in: escaped quotes and `--` become
    `#`, which is as harmless as they are inside a string and as suspicious outside; two quotes with nothing
    between open and close. Each `joint`, which holds neither quote nor backslash, is taken out first.
    """
    bare = without_escapes(text)
    if b"--" in bare:
        bare = bare.replace(b"--", b"#")
    if joint:
        bare = bare.replace(joint, b"")
    bare = bare.translate(None, dropped).replace(b"''", b"")
    return _QUOTED.sub(b"", bare) if bare else bare


def without_escapes(text: bytes) -> bytes:
    """Put `#` for each escaped quote or backslash. `\\` before a backtick stays: in a name it escapes nothing."""
    if b"\\" not in text:
        return text
    if text.count(b"\\") * _DENSE < len(text):
        return _ESCAPED_QUOTE.sub(b"#", text)
    return text.replace(b"\\\\", b"#").replace(b"\\'", b"#").replace(b'\\"', b"#")


def beginning(statement: bytes) -> str:
    """A statement's first words for an error, on one line, without any string's content: it may be a secret."""
    head = re.split(rb"['\"]", statement[:80], maxsplit=1)[0]
    text = " ".join(head.decode("utf-8", "replace").split())
    printable = "".join(letter if letter.isprintable() else "?" for letter in text)
    return printable if len(head) == len(statement) else printable + "…"


def refused(statement: bytes, why: str, mend: str = "") -> Refused:
    """The error for a statement that may not be sent on."""
    return Refused(f"this SQL is not sent to the database: {beginning(statement)}: {why}", mend=mend)


# `--` before a byte such as 0xA0 opens a comment in some character sets and is two minus signs in others.
_TOKEN = re.compile(
    rb"(?P<blank>\s+|%b)|/\*(?P<maria>M?)!(?P<version>[0-9]{5,6})?|(?P<block>/\*.*?\*/)|(?P<close>\*/)"
    rb"|(?P<token>%b|%b)|(?P<unclosed>['\"`]|/\*|--(?=[\x80-\xff]))|(?P<word>@@?[\w$.]+|[\w$\x80-\xff]+|.)"
    % (LINE_COMMENT, STRING, NAME),
    re.DOTALL,
)
# Every server that Kimai runs on is newer: comments up to this version are always carried out. Above, MySQL and MariaDB
# differ, and what one skips it skips to the first `*/`, without a look at strings.
_ALWAYS = 50699
_MARIADB_SKIPS = range(50700, 100000)


def readings(statement: bytes) -> list[list[bytes]]:
    """The statement's words, strings and marks as each server there is reads them, the oldest first.

    Versioned comments are words to a server that carries them out and nothing to others; a reading without any word
    is left out. Raises `Refused` where it isn't certain which is which.
    """
    tokens = _tokens(statement)
    versions = sorted({version for _, version in tokens if version}, key=abs)
    found: list[list[bytes]] = []
    for newest in range(len(versions) + 1):
        older = set(versions[:newest])
        mysql = {version for version in older if version > 0}
        mariadb = {version for version in older if version not in _MARIADB_SKIPS}
        for read in (mysql, mariadb):
            words = [text for text, version in tokens if not version or version in read]
            if words and words not in found:
                found.append(words)
    return found


def _tokens(statement: bytes) -> list[tuple[bytes, int]]:
    """Each word with its comment's version: 0 always read, below 0 by MariaDB alone."""
    tokens: list[tuple[bytes, int]] = []
    inside: int | None = None
    for match in _TOKEN.finditer(statement):
        text, kind = match[0], match.lastgroup
        if kind == "unclosed":
            raise refused(statement, "a string, name or comment in it has no certain end")
        if kind in ("version", "maria"):
            if inside is not None:
                raise refused(statement, "a versioned comment stands inside another")
            inside = _version(match)
        elif kind == "close" and inside is not None:
            inside = None
        elif inside and len(text) > 1 and (b"*/" in text or b"/*" in text):
            raise refused(statement, "servers disagree where its versioned comment ends")
        elif kind in ("token", "word", "close"):
            tokens.append((text, inside or 0))
    if inside is not None:
        raise refused(statement, "a versioned comment in it has no end")
    return tokens


def _version(match: re.Match[bytes]) -> int:
    version = int(match["version"] or 0)
    if match["maria"]:
        return -max(version, 1)
    return 0 if version <= _ALWAYS else version
