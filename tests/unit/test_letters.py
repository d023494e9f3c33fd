"""The text that is sent: within bounds, plain, and without a secret wherever it is cut."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from sidecar.letters import BODY, LINES, TITLE, letter, short
from sidecar.notices import Notice
from sidecar.report.log import Redactor
from sidecar.runs import Run

SECRET = "hunter2-hunter2"
_redactor = Redactor()
_redactor.hide([SECRET])
FAILED = Notice("failure", "backup failed (exit 5)", "backup failed (exit 5). It is tried again.")


def run(summary: str = "no answer from db:3306. Look at DATABASE_URL") -> Run:
    at = datetime(2026, 11, 22, 0, 10, tzinfo=UTC)
    return Run(
        id="r1",
        command="backup",
        trigger="schedule",
        started_at=at,
        finished_at=at + timedelta(seconds=12),
        exit_code=5,
        summary=summary,
        retries=3,
    )


def test_it_says_who_what_when_why_and_the_last_lines() -> None:
    lines = [f"line {number}" for number in range(100)]
    title, body, tone = letter("demo", [FAILED], run(), lines, ZoneInfo("Europe/Berlin"), _redactor.redact)
    assert title == "demo: backup failed (exit 5) (2026-11-22 01:10 CET)"
    assert tone == "failure"
    assert body.split("\n\n")[:3] == [
        "backup failed (exit 5). It is tried again.",
        "no answer from db:3306. Look at DATABASE_URL",
        "Run r1 by schedule, begun 2026-11-22 01:10 CET, took 12 s, 3 calls to targets made again.",
    ]
    assert body.splitlines()[-LINES:] == lines[-LINES:]
    assert "line 79" not in body


def test_several_notices_are_one_letter() -> None:
    notices = [Notice("recovery", "backup is well again", "It is."), Notice("smaller", "much smaller", "It has 3 kB.")]
    title, body, tone = letter("demo", notices, run("done"), [], UTC, _redactor.redact)
    assert title == "demo: backup is well again; much smaller (2026-11-22 00:10 UTC)"
    assert body.startswith("It is.\n\nIt has 3 kB.\n\ndone\n\n")
    assert "last lines" not in body
    assert tone == "warning"
    assert letter("demo", notices[:1], run(), [], UTC, _redactor.redact).tone == "success"


_anything = st.text(st.characters(exclude_categories=()), max_size=60)
_wide = st.builds(lambda start, times, end: (start + SECRET + end) * times, _anything, st.integers(1, 400), _anything)


@given(_wide, _wide, st.lists(_wide, max_size=30))
def test_whatever_is_said_it_is_bounded_and_holds_no_secret(title: str, summary: str, lines: list[str]) -> None:
    made = letter("demo", [Notice("partial", title, title)], run(summary), lines, UTC, _redactor.redact)
    assert len(made.title) <= TITLE
    assert len(made.body) <= BODY
    assert made.title.endswith(" (2026-11-22 00:10 UTC)")
    for text in (*made, short(run(summary), lines, _redactor.redact)):
        # Not even the beginning of one that was cut.
        assert SECRET[:9] not in text
        text.encode()
        assert not any(character < " " and character != "\n" for character in text)
    assert "\n" not in made.title
    assert "\t" not in made.body
