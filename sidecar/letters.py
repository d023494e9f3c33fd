"""Letters: the text of what is told of a run, as plain words within bounds, and never with a secret."""

from collections.abc import Callable, Sequence
from datetime import tzinfo
from typing import Literal, NamedTuple

from sidecar.notices import Notice, local
from sidecar.runs import Run

Tone = Literal["success", "warning", "failure"]

TITLE = 200
BODY = 4000
"""Characters: services cut, or refuse, what is longer."""
LINES = 20
"""How many of the log's last lines are told."""
_HEAD = 2500
"""Characters of what stands before them, which must leave them room."""
_LINE = 300
_CONTROL = dict.fromkeys((*range(10), *range(11, 32), *range(127, 160)), " ")


class Letter(NamedTuple):
    """What is sent of a run."""

    title: str
    body: str
    tone: Tone


def letter(
    instance: str,
    notices: Sequence[Notice],
    run: Run,
    lines: Sequence[str],
    tz: tzinfo,
    redact: Callable[[str], str],
) -> Letter:
    """All notices of a run in one letter: whoever is called at night is called once.

    `redact` takes secrets out. It comes before anything is cut, as half a secret looks like none.
    """
    when = f" ({local(run.started_at, tz)})"
    title = _plain(redact(f"{instance}: {'; '.join(notice.title for notice in notices)}")).replace("\n", " ")
    head = [notice.text for notice in notices if notice.text] + [run.summary, _figures(run, tz)]
    body = _within(BODY, _plain(redact("\n\n".join(part for part in head if part))), lines, redact)
    kinds = {notice.kind for notice in notices}
    tone: Tone = "failure" if "failure" in kinds else "success" if kinds <= {"success", "recovery"} else "warning"
    return Letter(_cut(title, TITLE - len(when)) + when, body, tone)


def short(run: Run, lines: Sequence[str], redact: Callable[[str], str]) -> str:
    """How a run ended, for the body of a heartbeat."""
    return _within(BODY, _plain(redact(run.summary)), lines, redact)


def _figures(run: Run, tz: tzinfo) -> str:
    retried = f", {run.retries} calls to targets made again" if run.retries else ""
    return f"Run {run.id} by {run.trigger}, begun {local(run.started_at, tz)}, took {run.seconds:.0f} s{retried}."


def _within(limit: int, head: str, lines: Sequence[str], redact: Callable[[str], str]) -> str:
    """The head, and as many of the last lines as there is room for: the newest say most."""
    text = _cut(head, _HEAD)
    kept: list[str] = []
    heading = "\n\nThe log's last lines:\n"
    room = limit - len(text) - len(heading)
    for line in reversed(list(lines)[-LINES:]):
        line = _cut(_plain(redact(line)), _LINE)
        if len(line) + 1 > room:
            break
        room -= len(line) + 1
        kept.insert(0, line)
    return text + heading + "\n".join(kept) if kept else text


def _plain(text: str) -> str:
    # Surrogates stand for a file's name that is no text; no service takes them.
    return text.translate(_CONTROL).encode(errors="replace").decode()


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
