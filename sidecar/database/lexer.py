"""How MySQL and MariaDB read SQL text: strings, names and comments, and a quick way past all of them."""

import re

BLANKS = b" \t\r\n\v\f"

# Possessive throughout: a string of 60 MB costs neither a stack nor a second look.
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
    between open and close. Each `joint`, which may hold no special byte, is taken out first, in strings as well.
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
