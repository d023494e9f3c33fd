"""INSERTs that others wrote: rows of literals and nothing else, told at the speed of a disk."""

import re

from sidecar.database import lexer

_NAME = rb"(?:" + lexer.NAME + rb"|[\w$\x80-\xff]+)"
HEAD = re.compile(
    rb"\s*(?P<verb>INSERT|REPLACE)\s+(?:(?:LOW_PRIORITY|DELAYED|HIGH_PRIORITY|IGNORE)\s+)*(?:INTO\s+)?"
    rb"(?P<table>%(name)b(?:\s*\.\s*%(name)b)?)\s*(?:\(\s*(?:%(name)b(?:\s*,\s*%(name)b)*)?\s*\)\s*)?"
    rb"VALUES?\s*(?=\()" % {b"name": _NAME},
    re.IGNORECASE,
)
"""An INSERT up to its first row, where no comment stands in that; `read_head` also looks at the rows."""
# Hints count as strange: SET_VAR among them can change how a statement is carried out.
_COMMENT = rb"/\*(?!M?!|\+)[^*]*+\*++(?:[^/*][^*]*+\*++)*+/|" + lexer.LINE_COMMENT
_BEGINS = re.compile(rb"\s*(?:INSERT|REPLACE)\b", re.IGNORECASE)
_MARKS = lexer.all_but(lexer.SPECIAL + b"()@")
_COMMON_JOINTS = (b"),\n(", b"),(")
_JOINT = re.compile(rb"\),\s{0,8}\(")
_JOINT_SEEN_WITHIN = 64 << 10
_LITERAL = re.compile(
    rb"(?P<string>%b)|(?P<name>%b)|(?P<comment>%b)|(?P<strange>['\"`]|/\*)" % (lexer.STRING, lexer.NAME, _COMMENT),
    re.DOTALL,
)
_WORD_OR_MARK = re.compile(rb"(?<![\w$@])[A-Za-z_$@\x80-\xff][\w$@\x80-\xff]*|[^\s\w(),.+'-]")
_ALLOWED = re.compile(
    rb"NULL|DEFAULT|TRUE|FALSE|[XBN]|_[a-z0-9]+|CAST|CONVERT|AS|USING|JSON|UTF8MB4|BINARY|CHAR|UNHEX|FROM_BASE64"
    rb"|(?:ST_)?(?:Geom|Geometry|Point|LineString|Polygon|MultiPoint|MultiLineString|MultiPolygon)From(?:Text|WKB)",
    re.IGNORECASE,
)


def read_head(statement: bytes) -> re.Match[bytes] | None:
    """Match an INSERT or REPLACE up to its first row, with the groups `verb` and `table`; None for other statements.

    Raises `Refused` for an INSERT whose rows hold anything but literals and the few calls that write a value.
    """
    head = HEAD.match(statement)
    if head is not None and _is_plain(statement[head.end() :]):
        return head
    return _read_closely(statement) if _BEGINS.match(statement) else None


def _is_plain(rows: bytes) -> bool:
    """Whether the rows hold one level of brackets, and no call, query, comment, name or variable."""
    if not rows.endswith(b")"):
        return False
    seen = None if _COMMON_JOINTS[0] in rows[:_JOINT_SEEN_WITHIN] else _JOINT.search(rows, 0, _JOINT_SEEN_WITHIN)
    for joint in dict.fromkeys((seen[0], *_COMMON_JOINTS) if seen else _COMMON_JOINTS):
        # With all rows joined into one a single pair of brackets is left. It encloses everything, as the text
        # begins and ends with it.
        if lexer.skeleton(rows, _MARKS, joint=joint) == b"()":
            return True
    return False


def _read_closely(statement: bytes) -> re.Match[bytes]:
    """Read an INSERT with comments, calls or an unusual layout: every word among its rows must be a known one."""

    def reduce(found: re.Match[bytes]) -> bytes:
        if found.lastgroup == "strange":
            raise lexer.refused(statement, "versioned comments, hints and open ends don't belong into an INSERT")
        return found[0] if found.lastgroup == "name" else b"''" if found.lastgroup == "string" else b" "

    bare = _LITERAL.sub(reduce, statement)
    head = HEAD.match(bare)
    if head is None or b"--" in bare:
        raise lexer.refused(statement, "only INSERT … VALUES belongs into a dump")
    for word in set(_WORD_OR_MARK.findall(bare, head.end())):
        if not _ALLOWED.fullmatch(word):
            raise lexer.refused(statement, f"{word[:40].decode('utf-8', 'replace')} doesn't belong into rows of values")
    return head
