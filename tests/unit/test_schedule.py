"""When what runs: cron's moments over both changes of the clock, and what is due by what ran before."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.runs import Run, Trigger
from sidecar.schedule import RETRIES, Cron, Decision, Past, Plan, decide, oldest_allowed, superseded
from tests.support.examples import examples

BERLIN = ZoneInfo("Europe/Berlin")
NIGHTLY = Plan("backup", Cron("10 1 * * *", UTC), by_hand_counts=True)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def moments(expression: str, begin: str, end: str, tz: ZoneInfo = BERLIN) -> list[str]:
    """Local times, as a clock on the wall shows them."""
    cron, found, now = Cron(expression, tz), [], at(begin)
    while (now := cron.after(now) or at(end)) < at(end):
        found.append(f"{now.astimezone(tz):%d %H:%M %Z}")
    return found


def run(begun: str, code: int = 0, trigger: Trigger = "schedule", run_id: str = "", **more: object) -> Run:
    start = at(begun)
    return Run(
        id=run_id or f"{start:%Y%m%dT%H%M%S}-abcdef",
        command="backup",
        trigger=trigger,
        started_at=start,
        finished_at=start + timedelta(minutes=1),
        exit_code=code,
        summary="",
        **more,  # type: ignore[arg-type]
    )


def decided(now: str, *runs: Run, plan: Plan = NIGHTLY, since: datetime = LONG_AGO, **past: object) -> Decision:
    return decide(plan, Past(runs, since, **past), at(now))  # type: ignore[arg-type]


# ── Moments ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_time_in_the_hour_that_is_left_out_comes_once_right_after_it() -> None:
    assert moments("30 2 * * *", "2026-03-28", "2026-03-31") == ["28 02:30 CET", "29 03:00 CEST", "30 02:30 CEST"]


def test_a_time_in_the_hour_that_comes_twice_comes_once() -> None:
    assert moments("30 2 * * *", "2026-10-24", "2026-10-27") == ["24 02:30 CEST", "25 02:30 CEST", "26 02:30 CET"]


def test_each_quarter_of_an_hour_comes_whatever_the_clock_shows() -> None:
    assert len(moments("*/15 * * * *", "2026-10-25", "2026-10-26")) == 95
    assert len(moments("*/15 * * * *", "2026-03-29", "2026-03-30")) == 95
    cron = Cron("*/15 * * * *", BERLIN)
    now = at("2026-10-25T00:00")
    for _ in range(20):
        following = cron.after(now)
        assert following is not None
        assert following - now == timedelta(minutes=15)
        now = following


def test_a_leap_day_comes_when_it_comes() -> None:
    assert Cron("10 1 29 2 *", BERLIN).after(at("2026-01-01")) == at("2028-02-29T00:10")
    assert len(moments("10 1 * * *", "2028-02-27T22:00", "2028-03-01T22:00")) == 3
    assert Cron("10 1 29 2 *", BERLIN).last(at("2026-01-01")) == at("2024-02-29T00:10")


@settings(deadline=None, max_examples=examples(60))
@given(
    st.sampled_from(["30 2 * * *", "0 2 * * *", "15 2,3 * * *", "59 1,2 * * 0", "*/20 * * * *", "17 * * * *"]),
    st.sampled_from(["Europe/Berlin", "America/New_York", "UTC"]),
    st.sampled_from(
        ["2026-03-08T06:00", "2026-03-29T00:00", "2026-10-25T00:00", "2026-11-01T05:00", "2028-02-29T00:00"]
    ),
    st.integers(-3 * 86400, 3 * 86400),
)
def test_wherever_one_asks_the_same_moments_are_named(expression: str, zone: str, near: str, seconds: int) -> None:
    # cronsim by itself doesn't, where it is asked in an hour that comes twice.
    tz = ZoneInfo(zone)
    now = at(near) + timedelta(seconds=seconds)
    last, following = Cron(expression, tz).around(now)
    assert last is not None
    assert following is not None
    assert last <= now < following
    straight = Cron(expression, tz)
    walked = straight.last(now - timedelta(days=1))
    assert walked is not None
    while walked <= now:
        before, walked = walked, straight.after(walked)
        assert walked is not None
    assert (before, walked) == (last, following)


# ── What is due ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_moment_is_due_when_it_comes_and_no_more_once_it_ran() -> None:
    yesterday = run("2026-11-21T01:10:00")
    assert decided("2026-11-22T01:09:59", yesterday) == (None, at("2026-11-22T01:10"), False)
    assert decided("2026-11-22T01:10:00", yesterday).trigger == "schedule"
    done = run("2026-11-22T01:10:00")
    assert decided("2026-11-22T01:10:30", yesterday, done) == (None, at("2026-11-23T01:10"), False)


def test_a_moment_that_passed_is_made_up_for_once() -> None:
    old = run("2026-11-19T01:10:00")
    assert decided("2026-11-22T09:00", old).trigger == "missed"
    made_up = run("2026-11-22T09:00:00", trigger="missed")
    assert decided("2026-11-22T09:05", old, made_up) == (None, at("2026-11-23T01:10"), False)


def test_what_came_before_the_schedule_is_not_made_up_for() -> None:
    since = at("2026-11-22T09:00")
    assert decided("2026-11-22T09:00", since=since) == (None, at("2026-11-23T01:10"), False)
    assert decided("2026-11-23T01:10", since=since).trigger == "schedule"


def test_a_backup_by_hand_counts_if_it_was_good_and_began_after_the_moment() -> None:
    assert decided("2026-11-22T09:00", run("2026-11-22T08:00", trigger="hand")).trigger is None
    assert decided("2026-11-22T09:00", run("2026-11-22T08:00", 5, "hand")).trigger == "missed"
    assert decided("2026-11-22T09:00", run("2026-11-22T01:09", trigger="hand")).trigger == "missed"
    # A verification by hand may have read one backup alone.
    verify = Plan("verify", NIGHTLY.cron)
    by_hand = run("2026-11-22T08:00", trigger="hand")
    by_hand.command = "verify"
    assert decided("2026-11-22T09:00", by_hand, plan=verify).trigger == "missed"


@pytest.mark.parametrize("code", [1, 4, 5, 6, 7, 8, 9, 10, 137])
def test_what_failed_is_tried_again_after_10_30_and_90_minutes_and_then_no_more(code: int) -> None:
    runs = [run("2026-11-22T01:10:00", code)]
    for wait in RETRIES:
        due = runs[-1].finished_at + wait
        assert decided((due - timedelta(seconds=1)).isoformat()[:19], *runs) == (None, due, True)
        assert decided(due.isoformat()[:19], *runs).trigger == "retry"
        runs.append(run(due.isoformat()[:19], code, "retry"))
    assert decided("2026-11-22T12:00", *runs) == (None, at("2026-11-23T01:10"), False)
    assert [int(wait.total_seconds()) // 60 for wait in RETRIES] == [10, 30, 90]


def test_a_retry_that_went_well_is_the_last() -> None:
    runs = [run("2026-11-22T01:10:00", 5), run("2026-11-22T01:21:00", 0, "retry")]
    assert decided("2026-11-22T03:00", *runs) == (None, at("2026-11-23T01:10"), False)


def test_what_is_stored_everywhere_or_was_asked_wrongly_is_not_tried_again() -> None:
    assert decided("2026-11-22T03:00", run("2026-11-22T01:10", 3)).trigger is None
    assert decided("2026-11-22T03:00", run("2026-11-22T01:10", 2)).trigger is None
    missed_one = run("2026-11-22T01:10", 3, failed={"s3": "away"})
    assert decided("2026-11-22T03:00", missed_one).trigger == "retry"


def test_what_a_verification_found_is_not_asked_for_again() -> None:
    found = run("2026-11-22T01:10", 7)
    found.command = "verify"
    assert decided("2026-11-22T03:00", found, plan=Plan("verify", NIGHTLY.cron)).trigger is None


def test_no_retry_comes_after_the_next_moment() -> None:
    hourly = Plan("backup", Cron("0 * * * *", UTC))
    runs = [run("2026-11-22T01:00", 5), run("2026-11-22T01:11", 5, "retry")]
    assert decided("2026-11-22T01:30", *runs, plan=hourly).at == at("2026-11-22T01:42")
    runs.append(run("2026-11-22T01:42", 5, "retry"))
    assert decided("2026-11-22T01:50", *runs, plan=hourly) == (None, at("2026-11-22T02:00"), False)


def test_a_run_that_was_cut_short_before_this_daemon_began_is_made_up_for_at_once() -> None:
    for code in (130, 137):
        cut = run("2026-11-22T01:10:00", code)
        assert decided("2026-11-22T01:11:30", cut, earlier={cut.id}).trigger == "missed"
        # In its own time somebody ended it, or memory did.
        assert decided("2026-11-22T01:11:30", cut) == (None, at("2026-11-22T01:21"), True)


def test_a_run_that_kills_the_machine_is_not_begun_for_ever() -> None:
    runs = [run(f"2026-11-22T01:1{number}:00", 137) for number in range(4)]
    earlier = {each.id for each in runs}
    assert decided("2026-11-22T01:20", *runs[:3], earlier=earlier).trigger == "missed"
    assert decided("2026-11-22T01:20", *runs, earlier=earlier).trigger is None


def test_a_record_whose_clock_was_set_back_meanwhile_is_still_of_its_moment() -> None:
    # The run was decided upon at 01:10:00 and began, by a clock set a second back, before that.
    early = run("2026-11-22T01:09:59", run_id="20261122T011000-abcdef")
    assert decided("2026-11-22T01:10:00", early).trigger is None


def test_after_a_clock_was_set_back_what_ran_for_the_next_moment_alone_counts() -> None:
    runs = [run(f"2026-11-{day}T01:10:00") for day in (19, 20, 21, 22)]
    assert superseded(NIGHTLY, runs, at("2026-11-21T23:00")) == []
    assert superseded(NIGHTLY, runs, at("2026-11-20T02:00")) == [runs[3].id]
    assert superseded(NIGHTLY, runs, at("2026-11-22T02:00")) == []
    assert decided("2026-11-22T01:10", *runs, ignored={runs[3].id}).trigger == "schedule"


# ── Jitter ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_delay_is_drawn_once_for_a_moment_and_lies_within_the_jitter() -> None:
    plan = Plan("backup", NIGHTLY.cron, timedelta(minutes=30), "a")
    nights = [f"2026-11-{day:02d}T00:00" for day in range(1, 29)]
    starts = [decided(night, plan=plan, since=at(night)).at for night in nights]
    again = [decided(f"2026-11-{day:02d}T01:10", plan=plan).at for day in range(1, 29)]
    delays = [start - at(f"2026-11-{day:02d}T01:10") for day, start in enumerate(starts, 1) if start]
    assert len(delays) == 28
    assert all(timedelta() <= delay < timedelta(minutes=30) for delay in delays)
    assert len(set(delays)) > 20
    assert [each for each, when in zip(again, starts, strict=True) if each != when] == []
    other = Plan("backup", NIGHTLY.cron, timedelta(minutes=30), "b")
    assert decided("2026-11-22T01:10", plan=other).at != decided("2026-11-22T01:10", plan=plan).at


def test_a_delay_never_reaches_the_next_moment() -> None:
    plan = Plan("backup", Cron("*/15 * * * *", UTC), timedelta(hours=2), "a")
    now = at("2026-11-22T00:00")
    moments = [now + timedelta(minutes=15 * number) for number in range(50)]
    for moment, following in pairwise(moments):
        assert moment <= plan.start_of(moment, following) < following


# ── How old a backup may be ──────────────────────────────────────────────────────────────────────────────────────


def allowed(now: str, under_way: str | None = None, plan: Plan = NIGHTLY) -> datetime | None:
    return oldest_allowed(plan, at(now), at(under_way) if under_way else None, timedelta(minutes=30))


def test_one_missed_moment_is_forgiven_and_the_one_before_it_is_not() -> None:
    assert allowed("2026-11-22T01:39:59") == at("2026-11-20T01:10")
    assert allowed("2026-11-22T01:40:00") == at("2026-11-21T01:10")
    assert allowed("2026-11-23T01:39:59") == at("2026-11-21T01:10")


def test_a_backup_under_way_puts_its_own_moment_off_but_not_the_next_one() -> None:
    assert allowed("2026-11-22T05:00", "2026-11-22T01:10:01") == at("2026-11-20T01:10")
    assert allowed("2026-11-22T05:00", "2026-11-21T01:10:01") == at("2026-11-21T01:10")
    assert allowed("2026-11-23T05:00", "2026-11-22T01:10:01") == at("2026-11-22T01:10")


def test_jitter_is_allowed_for() -> None:
    plan = Plan("backup", NIGHTLY.cron, timedelta(hours=2))
    assert allowed("2026-11-22T03:39:59", plan=plan) == at("2026-11-20T01:10")
    assert allowed("2026-11-22T03:40:00", plan=plan) == at("2026-11-21T01:10")
