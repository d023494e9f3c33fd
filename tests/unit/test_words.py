"""Sizes, ages and times as people read them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.report import words


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(seconds=-1), "in the future"),
        (timedelta(seconds=59), "less than a minute"),
        (timedelta(seconds=60), "1 minute"),
        (timedelta(minutes=119), "119 minutes"),
        (timedelta(hours=2), "2 hours"),
        (timedelta(hours=47, minutes=59), "47 hours"),
        (timedelta(hours=48), "2 days"),
        (timedelta(days=59), "59 days"),
        (timedelta(days=61), "2 months"),
        (timedelta(days=364), "11 months"),
        (timedelta(days=366), "1 year"),
        (timedelta(days=4000), "10 years"),
    ],
)
def test_an_age_is_told_in_the_one_unit_that_fits(span: timedelta, text: str) -> None:
    assert words.age(span) == text


@given(st.timedeltas(min_value=timedelta(minutes=1)))
def test_no_age_is_told_as_none(span: timedelta) -> None:
    assert int(words.age(span).split()[0].replace(",", "")) >= 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4 s"), (12.6, "13 s"), (59.7, "1 min 00 s"), (192, "3 min 12 s"), (7500, "2 h 05 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


def test_a_time_to_come_is_told_on_the_clock_of_the_zone() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    now = datetime(2026, 11, 24, 23, 30, tzinfo=UTC)  # the 25th, half past midnight, in Berlin
    assert words.soon(datetime(2026, 11, 25, 0, 10, tzinfo=UTC), now, berlin) == "today at 01:10"
    assert words.soon(datetime(2026, 11, 25, 0, 10, tzinfo=UTC), now, UTC) == "tomorrow at 00:10"
    assert words.soon(datetime(2026, 11, 29, 3, 0, tzinfo=UTC), now, berlin) == "on Sunday at 04:00"
    assert words.soon(datetime(2027, 1, 1, 3, 0, tzinfo=UTC), now, berlin) == "on 2027-01-01 at 04:00"


def test_the_ends_of_the_calendar_can_be_told_in_any_zone() -> None:
    assert words.stamp(datetime.max.replace(tzinfo=UTC), ZoneInfo("Pacific/Auckland")) == "9999-12-31 23:59"


def test_lists() -> None:
    assert [words.listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
