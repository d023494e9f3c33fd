"""Cuts SQL text that others wrote into statements, as a stream, the way the native clients do."""

import re
from collections.abc import Iterable, Iterator

from sidecar.database import lexer
from sidecar.errors import Damaged, Refused

_WINDOW = 256 << 10
_FEW = 16
_LONGEST_DELIMITER = 15
# Enough to tell the sandbox line, a DELIMITER command, or any delimiter from a statement's first words.
_LOOKAHEAD = 64

_CODE, _SINGLE, _DOUBLE, _NAME, _LINE, _BLOCK = b"", b"'", b'"', b"`", b"\n", b"*/"
_STRING_BODY = {
    _SINGLE: re.compile(lexer.SINGLE_BODY, re.DOTALL),
    _DOUBLE: re.compile(lexer.DOUBLE_BODY, re.DOTALL),
}
_BLANK = re.compile(rb"[" + lexer.BLANKS + rb"]*+")
_LINE_COMMENT = re.compile(rb"#|--(?=[\x00-\x20\x7f]|\Z)")
_VERSIONED = re.compile(lexer.VERSIONED)
_SANDBOX = re.compile(rb"/\*M?!999999\\-[^*]{0,40}+\*/")
_COMMAND = re.compile(rb"delimiter(?=[ \t\r\n]|\Z)", re.IGNORECASE)
_SET = re.compile(rb"(?:/\*M?![0-9]*\s*)?SET\b", re.IGNORECASE)
_NO_ESCAPES = re.compile(rb"sql_mode\b.*?\bNO_BACKSLASH_ESCAPES\b", re.IGNORECASE | re.DOTALL)
_ANSI_QUOTES = re.compile(
    rb"sql_mode\b.*?\b(?:ANSI(?:_QUOTES)?|ORACLE|MSSQL|POSTGRESQL|DB2|MAXDB)\b", re.IGNORECASE | re.DOTALL
)
_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def split(chunks: Iterable[bytes], *, largest: int) -> Iterator[bytes]:
    """Give each statement of an SQL file, without its delimiter, trimmed; comments and blanks before it are dropped.

    `chunks` may be of any size and cut anywhere. Comments inside a statement stay; versioned ones (`/*!40101 … */`)
    count as statements. `DELIMITER` lines are obeyed. No more than one statement and one chunk are held.
    Raises `Damaged` where the text ends inside a statement, string or comment, and `Refused` for a statement over
    `largest` bytes, for UTF-16, for the sql_mode NO_BACKSLASH_ESCAPES, and for a backslash in double quotes once
    ANSI_QUOTES has been set, as servers then read on where others stop.
    """
    splitter = _Splitter(largest)
    for chunk in chunks:
        splitter.buffer += chunk
        yield from splitter.statements()
    splitter.final = True
    yield from splitter.statements()
    splitter.check_end()


class _Splitter:
    """Text not yet given on, and how far it has been read: nothing before `position` is looked at again."""

    def __init__(self, largest: int) -> None:
        self.largest = largest
        self.buffer = bytearray()
        self.final = False
        self._fresh = True
        self._inside = False
        self._start = 0
        self._position = 0
        self._look_closely_until = 0
        self._state = _CODE
        self._versioned = False
        self._ansi_quotes = False
        self._use_delimiter(b";")

    def statements(self) -> Iterator[bytes]:
        """Give what is whole, drop it from the buffer, and check the size of what is not."""
        while (self._inside or self._begin()) and self._advance():
            yield self._take()
        self._check_size(self._position)
        if self._start:
            del self.buffer[: self._start]
            self._position = max(0, self._position - self._start)
            self._look_closely_until -= self._start
            self._start = 0

    def check_end(self) -> None:
        """Raise `Damaged` if the text ended inside something."""
        if self._inside:
            raise Damaged(
                f"the SQL is cut short: it ends inside the statement {self._head()}",
                mend="Take another copy of the dump.",
            )

    def _begin(self) -> bool:
        """Drop what stands before a statement; False where more text is needed, or none is left."""
        if self._fresh and not self._skip_mark():
            return False
        while True:
            blank = _BLANK.match(self.buffer, self._start)
            self._start = blank.end() if blank else self._start
            left = len(self.buffer) - self._start
            if not left or (left < _LOOKAHEAD and not self.final):
                return False
            if self.buffer.startswith(self._delimiter, self._start):
                self._start += len(self._delimiter)
                continue
            dropped = self._drop_line() or self._drop_block()
            if dropped is None:
                self._inside = True
                self._position = self._look_closely_until = self._start
                return True
            if dropped > len(self.buffer):
                return False
            self._start = dropped

    def _skip_mark(self) -> bool:
        if len(self.buffer) < len(_UTF8_MARK) and not self.final:
            return False
        if self.buffer.startswith(_UTF16_MARKS):
            raise Refused(
                "the SQL is UTF-16, as PowerShell's `>` writes it",
                mend="Dump again with --result-file=FILE instead of `> FILE`.",
            )
        self._fresh = False
        self._start = len(_UTF8_MARK) if self.buffer.startswith(_UTF8_MARK) else 0
        return True

    def _drop_line(self) -> int | None:
        """Where the comment or DELIMITER line that begins here ends; past the buffer's end if it doesn't yet."""
        command = _COMMAND.match(self.buffer, self._start)
        if command is None and _LINE_COMMENT.match(self.buffer, self._start) is None:
            return None
        end = self.buffer.find(b"\n", max(self._start, self._position))
        if end < 0:
            self._position = len(self.buffer)
            if not self.final:
                return len(self.buffer) + 1
            end = len(self.buffer)
        if command is not None:
            self._use_delimiter(bytes(self.buffer[command.end() : end]).strip())
        return end

    def _drop_block(self) -> int | None:
        """The same for a plain comment, and for MariaDB's sandbox line, which is a command to its client."""
        sandbox = _SANDBOX.match(self.buffer, self._start)
        if sandbox is not None:
            return sandbox.end()
        if not self.buffer.startswith(b"/*", self._start) or _VERSIONED.match(self.buffer, self._start):
            return None
        end = self.buffer.find(b"*/", max(self._start + 2, self._position - 1))
        if end >= 0:
            return end + 2
        if self.final:
            raise Damaged("the SQL is cut short: it ends inside a comment", mend="Take another copy of the dump.")
        self._position = len(self.buffer)
        return len(self.buffer) + 1

    def _use_delimiter(self, delimiter: bytes) -> None:
        if not delimiter or len(delimiter) > _LONGEST_DELIMITER or re.search(rb"[\s\\'\"`#]|--|/\*|\*/", delimiter):
            raise Refused(
                f"DELIMITER is followed by {delimiter[:40]!r}", mend="Use one like ;; or $$, as dump tools do."
            )
        self._delimiter = delimiter
        marks = rb"['\"`#]|--(?=[\x00-\x20\x7f]|\Z)|/\*"
        self._marks = re.compile(re.escape(delimiter) + rb"|" + marks)
        self._marks_versioned = re.compile(rb"\*/|" + marks)

    def _advance(self) -> bool:
        """Read on to the statement's delimiter; False if it isn't in the buffer yet."""
        more: bool | None = True
        while more:
            if self._state != _CODE:
                more = self._leave()
            elif self._may_leap and not self._versioned and self._position >= self._look_closely_until:
                more = self._leap()
            else:
                more = self._step()
        return more is None

    @property
    def _may_leap(self) -> bool:
        return self._delimiter == b";" and not self._ansi_quotes

    def _leap(self) -> bool | None:
        """Read a window at once: to the next `;` at a line's end, or to where it may be cut."""
        start = self._position
        limit = min(start + _WINDOW, len(self.buffer))
        end = self._find_line_end(start, limit)
        found = end >= 0
        with memoryview(self.buffer) as view:
            window = bytes(view[start : end if found else limit])
        if not found:
            window = window.rstrip(lexer.NEVER_CUT_BEHIND)
            end = start + len(window)
        left = lexer.skeleton(window)
        if left.startswith(_SINGLE):
            self._state = _SINGLE
            # The `;` that was found may itself be escaped.
            self._position = end + (len(window) - len(window.rstrip(b"\\"))) % 2
        elif left or not window:
            self._look_closely_until = limit if not window else end + 1
            return start < limit
        else:
            self._position = end
            return None if found else True
        return True

    def _find_line_end(self, start: int, limit: int) -> int:
        """Find `;` at a line's end: by the single byte, which is ten times faster, while there are few of them."""
        end = start - 1
        for _ in range(_FEW):
            end = self.buffer.find(b";", end + 1, limit)
            if end < 0 or self.buffer.startswith(b";\n", end, limit):
                return end
        return self.buffer.find(b";\n", end, limit)

    def _step(self) -> bool | None:
        """Read to the next mark outside of strings, names and comments."""
        marks = self._marks_versioned if self._versioned else self._marks
        mark = marks.search(self.buffer, self._position)
        # What begins this close to the end may be the half of a longer mark.
        known = len(self.buffer) - (0 if self.final else max(4, len(self._delimiter)) - 1)
        if mark is None or mark.start() >= known:
            self._position = max(self._position, known)
            return False
        found, self._position = mark[0], mark.end()
        if found == self._delimiter and not self._versioned:
            self._position = mark.start()
            return None
        if found == b"*/":
            self._versioned = False
        elif found == b"/*":
            self._open_block(mark.start())
        else:
            self._state = found if found in (_SINGLE, _DOUBLE, _NAME) else _LINE
        return True

    def _open_block(self, start: int) -> None:
        versioned = _VERSIONED.match(self.buffer, start)
        if versioned is None:
            self._state = _BLOCK
            return
        if self._versioned:
            raise self._refused(
                "a versioned comment stands inside another", "Servers read that differently: take it out of the dump."
            )
        self._versioned = True
        self._position = versioned.end()

    def _leave(self) -> bool:
        """Read to the end of the string, name or comment that `position` stands in."""
        body = _STRING_BODY.get(self._state)
        if body is not None:
            match = body.match(self.buffer, self._position)
            end = match.end() if match else self._position
            if self._ansi_quotes and self._state == _DOUBLE and b"\\" in self.buffer[self._position : end + 1]:
                raise self._refused("a name in double quotes holds a backslash", "Dump again without ANSI_QUOTES.")
            self._position = end
            if not self.buffer.startswith(self._state, self._position):
                return False
            self._position += 1
        else:
            end = self.buffer.find(self._state, self._position)
            if end < 0:
                self._position = max(self._position, len(self.buffer) - len(self._state) + 1)
                return False
            self._position = end + len(self._state)
        self._state = _CODE
        return True

    def _take(self) -> bytes:
        self._check_size(self._position)
        with memoryview(self.buffer) as view:
            statement = bytes(view[self._start : self._position]).rstrip(lexer.BLANKS)
        self._start = self._position = self._position + len(self._delimiter)
        self._inside = False
        if _SET.match(statement):
            self._follow_mode(statement)
        return statement

    def _follow_mode(self, statement: bytes) -> None:
        if _NO_ESCAPES.search(statement):
            raise Refused(
                "the SQL sets sql_mode to NO_BACKSLASH_ESCAPES, under which strings end elsewhere",
                mend="Dump again without that mode.",
            )
        # Not unset again: what a later `SET sql_mode=@saved` restores isn't known here.
        self._ansi_quotes = self._ansi_quotes or _ANSI_QUOTES.search(statement) is not None

    def _check_size(self, end: int) -> None:
        if end - self._start > self.largest:
            raise self._refused(
                f"a statement has {end - self._start} bytes or more, {self.largest} are allowed",
                "Raise the server's max_allowed_packet, or dump with smaller statements.",
            )

    def _refused(self, what: str, mend: str) -> Refused:
        return Refused(f"{what}: {self._head()}", mend=mend)

    def _head(self) -> str:
        return lexer.beginning(bytes(self.buffer[self._start : self._start + 100]))
