"""Log lines: for people on a terminal, as JSON elsewhere, and never with a secret in them."""

import json
import logging
import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Literal, TextIO
from urllib.parse import quote, quote_plus

from sidecar.errors import KimaiBackupError

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "text"]

# A shorter secret is hidden only where it stands alone: the password `kimai` would blot out every ID.
_SHORT = 8
_LONGEST_LINE = 2000
"""Characters of a line that is kept with its run."""
_quote_all = partial(quote, safe="")
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), 127, *range(128, 160))}


class Redactor:
    """Knows the secrets, in every spelling that a library may print, and takes them out of text."""

    def __init__(self) -> None:
        self._spellings: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def hide(self, secrets: Iterable[str]) -> None:
        """Add secrets; a secret of several lines (a key file) is hidden line by line as well."""
        for secret in secrets:
            lines = [line for line in secret.split("\n") if len(line) >= _SHORT]
            for text in {secret, secret.strip(), *lines}:
                encoded = [encode(text, errors="replace") for encode in (_quote_all, quote, quote_plus)]
                self._spellings.update((text, repr(text)[1:-1], json.dumps(text)[1:-1], *encoded))
        # The longest first: what is left of a secret behind one that begins like it would be shown.
        longest_first = sorted(self._spellings - {""}, key=lambda text: (-len(text), text))
        self._pattern = re.compile("|".join(map(_pattern, longest_first))) if longest_first else None

    def redact(self, text: str) -> str:
        """The text with *** in the place of each secret."""
        return self._pattern.sub("***", text) if self._pattern else text


_redactor = Redactor()


def configure(
    level: Level,
    format: Format,  # noqa: A002 -- the setting's own name
    stream: TextIO | None = None,
    run_id: str | None = None,
    secrets: Iterable[str] = (),
) -> None:
    """Send the log to the stream (default: whatever stderr is at the time); a second call replaces the first.

    `auto` is text on a terminal, JSON elsewhere. Libraries speak from warnings upward and no traceback shows,
    unless at debug. Each of the secrets becomes ***.
    """
    hide(secrets)
    handler = _Handler(stream)
    is_text = handler.stream.isatty() if format == "auto" else format == "text"
    handler.setFormatter(_Formatter(is_text=is_text, run_id=run_id, with_traceback=level == "debug"))
    root = logging.getLogger()
    root.handlers[:] = [*(other for other in root.handlers if not isinstance(other, _Handler)), handler]
    number = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(number if level == "debug" else max(number, logging.WARNING))
    logging.getLogger("sidecar").setLevel(number)


def hide(secrets: Iterable[str]) -> None:
    """Keep further secrets out of the log, for those learnt on the way (Kimai's own DATABASE_URL)."""
    _redactor.hide(secrets)


def redact(text: str) -> str:
    """The text without the secrets that `configure` and `hide` were told of."""
    return _redactor.redact(text)


def is_json(format: str) -> bool:  # noqa: A002 -- the setting's own name
    """Whether LOG_FORMAT means JSON here; what is none of its values counts as `auto`, as it is still to be told."""
    return format == "json" or (format != "text" and not sys.stderr.isatty())


def json_line(error: str) -> str:
    """An error as a line of the log, where the log may not have begun; with the run's ID where it has."""
    record = logging.LogRecord("sidecar", logging.ERROR, "", 0, error, None, None)
    begun = (each.formatter for each in logging.getLogger().handlers if isinstance(each, _Handler))
    run_id = next((each.run_id for each in begun if isinstance(each, _Formatter)), None)
    return _Formatter(is_text=False, run_id=run_id, with_traceback=False).format(record)


@contextmanager
def tail(lines: int) -> Iterator[deque[str]]:
    """The last so many lines of the log while the block runs, as people read them, without secrets."""
    kept: deque[str] = deque(maxlen=lines)
    handler = _Tail(kept)
    handler.setFormatter(_Formatter(is_text=True, run_id=None, with_traceback=False))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield kept
    finally:
        root.removeHandler(handler)


class _Tail(logging.Handler):
    def __init__(self, kept: deque[str]) -> None:
        super().__init__()
        self._kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        self._kept.append(self.format(record)[:_LONGEST_LINE])


class _Handler(logging.StreamHandler[TextIO]):
    """Asks for stderr at each line: a progress bar puts its own there, so that lines run above the bar."""

    def __init__(self, stream: TextIO | None) -> None:
        logging.Handler.__init__(self)
        self._fixed = stream

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return self._fixed or sys.stderr

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """What a signal's handler raised while a line was written is no fault of logging, and ends the run."""
        error = sys.exc_info()[1]
        if isinstance(error, KimaiBackupError):
            raise error
        super().handleError(record)


class _Formatter(logging.Formatter):
    def __init__(self, *, is_text: bool, run_id: str | None, with_traceback: bool) -> None:
        super().__init__()
        self._is_text, self.run_id, self._with_traceback = is_text, run_id, with_traceback

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
        level = record.levelname.lower()
        # Redacted before it becomes JSON, whose escapes would make a secret look different.
        message, error = redact(record.getMessage()), redact(self._error(record))
        if self._is_text:
            text = f"{message}\n{error}" if error else message
            run = f"[{self.run_id}] " if self.run_id else ""
            return f"{at} {level:<7} {run}{text.translate(_CONTROL)}"
        line = {"time": at, "level": level, "logger": record.name, "message": message}
        further = {"run_id": self.run_id, "error": error}
        # What a line says in figures as well; names and numbers, and texts that were redacted where they came from.
        fields = getattr(record, "fields", {})
        return json.dumps(line | {key: value for key, value in further.items() if value} | fields)

    def _error(self, record: logging.LogRecord) -> str:
        if not record.exc_info or record.exc_info[1] is None:
            return ""
        error = record.exc_info[1]
        return self.formatException(record.exc_info) if self._with_traceback else f"{type(error).__name__}: {error}"


def _pattern(spelling: str) -> str:
    # Percent codes are written in either case.
    text = re.sub(r"%[0-9A-F]{2}", lambda code: f"(?i:{code[0]})", re.escape(spelling))
    return rf"(?<![\w-]){text}(?![\w-])" if len(spelling) < _SHORT else text
