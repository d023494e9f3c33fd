"""The daemon under a clock that is wound: outages, machines asleep, clocks set back, runs that fail or vanish."""

import logging
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.daemon import Daemon
from sidecar.report.web.glance import glance
from sidecar.runs import Started
from sidecar.schedule import Cron
from sidecar.since import Since
from sidecar.status import Kept, Shelf
from tests.support.examples import examples
from tests.support.nights import NO_RECORD, Nights, utc

BERLIN = ZoneInfo("Europe/Berlin")
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    """A daemon that was never started, at noon."""
    return Nights(tmp_path, BERLIN, utc("2026-11-20T11:00"))


def make(folder: Path, now: str, **more: Any) -> Nights:
    return Nights(folder, BERLIN, utc(now), **more)


# ── Nights as they should be ─────────────────────────────────────────────────────────────────────────────────────


def test_every_night_of_a_leap_year_has_one_run(tmp_path: Path) -> None:
    nights = make(tmp_path, "2027-12-31T12:00", schedule="30 2 * * *", pace=86400.0, on_disk=False)
    nights.run(DAY * 366)
    days = Counter(at.astimezone(BERLIN).date() for _, at, _ in nights.started)
    assert set(days.values()) == {1}
    assert len(days) == 366
    assert datetime(2028, 2, 29).date() in days  # noqa: DTZ001
    assert [run for run in nights.runs() if not run.endswith("02:30 schedule")] == [
        "03-26 03:00 schedule",
    ]
    assert nights.told == []


def test_a_season_of_nights_is_remembered_on_disk(tmp_path: Path) -> None:
    nights = make(tmp_path, "2027-12-31T12:00", pace=86400.0)
    nights.run(DAY * 90)
    assert len(nights.runs()) == 90
    assert [run.exit_code for run in nights.history.runs()] == [0] * 90


def test_a_first_start_waits_for_its_hour(nights: Nights) -> None:
    nights.run(HOUR * 12)
    assert nights.runs() == []
    nights.run(HOUR * 12)
    assert nights.runs() == ["11-21 01:10 schedule"]


def test_what_is_next_is_said_in_local_time(nights: Nights, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    nights.run(timedelta(minutes=1))
    assert "backup runs next at 2026-11-21 01:10 CET (10 1 * * *)" in caplog.text
    [following] = nights.standing.status(nights.clock.now()).nexts
    assert (following.command, following.at, following.is_retry) == ("backup", utc("2026-11-21T00:10"), False)


def test_without_a_schedule_it_says_so_and_looks_after_the_targets(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nights = make(tmp_path, "2026-11-20T11:00", schedule=None, pace=30.0)
    nights.run(DAY)
    assert "nothing runs by itself" in caplog.text
    assert nights.started == []
    assert 140 <= nights.looks <= 145


def test_verify_waits_for_backup(tmp_path: Path) -> None:
    nights = make(tmp_path, "2026-11-20T11:00", verify="10 1 * * *", takes=600.0)
    nights.run(DAY)
    assert nights.runs() == ["11-21 01:10 schedule"]
    assert [line[:11] for line in nights.runs("verify")] == ["11-21 01:20"]


def test_jitter_moves_the_start_and_a_restart_does_not_draw_it_anew(tmp_path: Path) -> None:
    first = make(tmp_path / "a", "2026-11-20T11:00", jitter=timedelta(hours=2))
    first.run(DAY)
    second = make(tmp_path / "b", "2026-11-20T11:00", jitter=timedelta(hours=2))
    for _ in range(24):
        second.run(HOUR)
    assert first.runs() == second.runs()
    [line] = first.runs()
    assert "01:10" < line[6:11] < "03:10"


# ── Missed ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_three_days_down_are_made_up_for_once(nights: Nights) -> None:
    nights.run(DAY)
    nights.down(DAY * 3)
    nights.run(DAY)
    assert nights.runs() == ["11-21 01:10 schedule", "11-24 12:00 missed", "11-25 01:10 schedule"]


def test_a_machine_that_slept_through_the_night_makes_up_for_it_on_waking(nights: Nights) -> None:
    nights.clock.at(HOUR.total_seconds(), lambda: nights.clock.jump(HOUR * 20))
    nights.run(HOUR * 3)
    assert nights.runs() == ["11-21 09:00 missed"]


def test_a_backup_by_hand_in_the_outage_counts_if_it_is_after_the_moment(nights: Nights) -> None:
    nights.run(DAY)
    nights.down(DAY - HOUR)
    nights.by_hand()
    nights.run(HOUR)
    assert nights.runs() == ["11-21 01:10 schedule"]


def test_a_run_by_hand_is_waited_for(nights: Nights, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    by_hand = Started(id="hand", command="restore", trigger="hand", started_at=nights.now)
    with nights.history.under_way(by_hand):
        nights.run(DAY)
        assert nights.runs() == []
    assert caplog.text.count("waits until restore has ended") == 1
    nights.run(HOUR)
    assert nights.runs() == ["11-21 12:00 missed"]


# ── Failures ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_night_with_the_database_down(nights: Nights, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    nights.outcomes = [5] * 4
    nights.run(DAY * 2)
    assert nights.runs() == [
        "11-21 01:10 schedule",
        "11-21 01:20 retry",
        "11-21 01:50 retry",
        "11-21 03:20 retry",
        "11-22 01:10 schedule",
    ]
    assert "backup runs again next at 2026-11-21 01:20 CET" in caplog.text
    assert nights.told == [], "each run tells of itself"


def scene(folder: Path, outcomes: list[int]) -> tuple[Nights, dict[str, tuple[str, list[str]]]]:
    """Three nights, of which the first is good; how page and health see it at each of some times."""
    nights = make(folder, "2026-11-20T11:00", tells=True, keeps=True)
    nights.outcomes = [0, *outcomes]
    seen: dict[str, tuple[str, list[str]]] = {}

    def see() -> None:
        found = nights.standing.status(nights.clock.now())
        seen[f"{found.now.astimezone(BERLIN):%d %H:%M}"] = (glance(found).state, list(found.problems))

    for time in ("21T01:00", "21T12:00", "22T01:30", "22T12:00", "23T01:05", "23T01:35", "23T01:45", "24T00:00"):
        nights.clock.at((local(f"2026-11-{time}") - nights.now).total_seconds(), see)
    nights.run(local("2026-11-24T00:30") - nights.now)
    return nights, seen


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


def told(nights: Nights) -> list[str]:
    return [f"{at.astimezone(BERLIN):%d %H:%M} {kind}" for at, kind in nights.notices]


def test_a_night_with_the_database_down_is_told_once_and_its_recovery_once_and_health_forgives_it(
    tmp_path: Path,
) -> None:
    nights, seen = scene(tmp_path, [5] * 4)
    assert told(nights) == ["22 01:10 failure", "23 01:10 recovery"]
    assert [run.exit_code for run in nights.history.runs()] == [0, 5, 5, 5, 5, 0]
    assert seen == {
        "21 01:00": ("No backup yet", []),
        "21 12:00": ("All is well", []),
        "22 01:30": ("The last backup failed", []),
        "22 12:00": ("The last backup failed", []),
        "23 01:05": ("The last backup failed", []),
        "23 01:35": ("All is well", []),
        "23 01:45": ("All is well", []),
        "24 00:00": ("All is well", []),
    }


def test_health_turns_red_once_the_second_night_is_missed_and_says_why(tmp_path: Path) -> None:
    nights, seen = scene(tmp_path, [5] * 7)
    # At once, and the next night again; the last try of the second night is well.
    assert told(nights) == ["22 01:10 failure", "23 01:10 failure", "23 03:20 recovery"]
    states = {time: state for time, (state, _) in seen.items()}
    assert states["23 01:35"] == "The last backup failed"
    assert states["23 01:45"] == "Something is wrong"
    assert states["24 00:00"] == "All is well"
    red = {time: problems for time, (_, problems) in seen.items() if problems}
    assert list(red) == ["23 01:45"]
    [problem] = red["23 01:45"]
    assert problem.startswith("target local: its newest whole backup is of 2026-11-21 01:10 CET, and")
    assert "there should be one since 2026-11-22 01:10 CET" in problem
    assert problem.endswith("The newest run, of 2026-11-23 01:20 CET, ended with exit code 5: as the test has it")


def test_a_restart_between_retries_goes_on_with_the_same_count(nights: Nights) -> None:
    nights.outcomes = [5] * 9
    nights.run(HOUR * 13 + timedelta(minutes=15))
    for _ in range(10):
        nights.run(HOUR)
    assert [line[6:] for line in nights.runs()] == ["01:10 schedule", "01:20 retry", "01:50 retry", "03:20 retry"]


def test_a_run_that_is_stopped_with_the_container_is_made_up_for_at_the_next_start(tmp_path: Path) -> None:
    nights = make(tmp_path, "2026-11-20T23:00", takes=3600.0)
    nights.run(HOUR * 1.5)
    assert [run.exit_code for run in nights.history.runs()] == [130]
    nights.down(HOUR)
    nights.run(HOUR * 3)
    assert nights.runs() == ["11-21 01:10 schedule", "11-21 02:30 missed"]
    assert [run.exit_code for run in nights.history.runs()] == [130, 0]


def test_a_run_that_ends_before_it_begins_is_recorded_and_told_and_tried_again(nights: Nights) -> None:
    nights.outcomes = [NO_RECORD]
    nights.run(DAY)
    first, second = nights.history.runs()
    assert (first.exit_code, first.trigger, second.exit_code, second.trigger) == (4, "schedule", 0, "retry")
    assert "exit code 4 and left no record" in first.summary
    assert nights.told == [first.id]


def test_a_machine_that_can_start_nothing_does_not_try_for_ever(nights: Nights) -> None:
    nights.cannot_start = True
    nights.run(DAY)
    assert [run.exit_code for run in nights.history.runs()] == [1] * 4


def test_a_history_that_takes_nothing_does_not_make_it_run_again_and_again(
    nights: Nights, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from sidecar.errors import StorageFailed

    def full(*_: object) -> None:
        raise StorageFailed("no space left")

    monkeypatch.setattr(nights.history, "_append", full)
    nights.outcomes = [NO_RECORD] * 9
    nights.run(DAY)
    assert len(nights.runs()) == 4
    assert "no space left" in caplog.text


def test_a_killed_run_is_found_at_the_start_and_told(nights: Nights) -> None:
    left = nights.folder / "kimai.runs" / "20261120T105900-abcdef.running"
    left.parent.mkdir()
    left.write_bytes(
        b'{"id":"20261120T105900-abcdef","command":"backup","trigger":"hand","started_at":"2026-11-20T10:59:00Z"}'
    )
    nights.run(timedelta(minutes=1))
    [killed] = nights.history.runs()
    assert (killed.exit_code, nights.told) == (137, [killed.id])


# ── Clocks ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_clock_set_back_by_three_hours_runs_nothing_twice_and_goes_on(nights: Nights) -> None:
    nights.clock.at((HOUR * 14).total_seconds(), lambda: nights.clock.jump(HOUR * -3))
    nights.run(DAY * 3)
    assert nights.runs() == ["11-21 01:10 schedule", "11-22 01:10 schedule", "11-23 01:10 schedule"]


def test_a_clock_set_back_by_two_days_leaves_out_one_night_at_the_most(nights: Nights) -> None:
    nights.run(DAY * 3)
    nights.clock.at(60, lambda: nights.clock.jump(DAY * -2))
    before = nights.clock.passed
    nights.run(DAY * 4)
    times = [passed for passed, _, _ in nights.started]
    assert max(b - a for a, b in pairwise(times)) <= 2 * 86400 + 60
    assert len([passed for passed in times if passed > before]) == 3


def test_an_hourly_schedule_goes_on_after_the_clock_is_set_back_by_three_hours(tmp_path: Path) -> None:
    nights = make(tmp_path, "2026-11-20T11:30", schedule="0 * * * *")
    nights.clock.at((HOUR * 6).total_seconds(), lambda: nights.clock.jump(HOUR * -3))
    nights.run(HOUR * 12)
    times = [passed for passed, _, _ in nights.started]
    assert max(b - a for a, b in pairwise(times)) <= 2 * 3600 + 60


def test_a_clock_that_was_years_ahead_at_the_first_start_does_not_stop_it(tmp_path: Path) -> None:
    nights = make(tmp_path, "2036-01-01T00:05")
    nights.run(HOUR)
    nights.clock.jump(utc("2026-11-20T11:00") - nights.clock.now())
    nights.run(DAY * 2)
    assert nights.runs() == ["01-01 01:10 schedule", "11-21 01:10 schedule", "11-22 01:10 schedule"]


def test_a_restart_does_not_forget_that_the_clock_was_set_back(nights: Nights) -> None:
    nights.run(DAY * 4)
    nights.clock.jump(DAY * -3)
    before = nights.clock.passed
    for _ in range(24 * 3):
        nights.run(HOUR)
    # The night after the next ran by the old clock, and counts for nothing though it is past by now.
    assert len([passed for passed, _, _ in nights.started if passed > before]) == 2


@settings(deadline=None, max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_happens_no_moment_runs_twice_and_none_is_left_for_long(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    cron = data.draw(st.sampled_from(["10 1 * * *", "30 2 * * *", "0 */6 * * *"]))
    begin = data.draw(st.sampled_from(["2026-03-27T20:00", "2026-10-23T20:00", "2028-02-27T20:00"]))
    nights = make(tmp_path_factory.mktemp("nights"), begin, schedule=cron, pace=900.0)
    nights.outcomes = data.draw(st.lists(st.sampled_from([0, 0, 0, 3, 5, 6, 9, 137, NO_RECORD]), max_size=20))
    ups: list[tuple[datetime, datetime]] = []
    for _ in range(data.draw(st.integers(1, 5))):
        began = nights.clock.now()
        nights.run(timedelta(minutes=data.draw(st.integers(1, 3000))))
        ups.append((began, nights.clock.now()))
        nights.down(timedelta(minutes=data.draw(st.integers(0, 3000))))
    schedule = Cron(cron, BERLIN)
    done = {run.id for run in nights.history.runs() if run.is_stored}
    of_moment: dict[Any, list[tuple[datetime, bool]]] = {}
    for _, at, arguments in nights.started:
        of_moment.setdefault(schedule.last(at), []).append((at, arguments[2] in done))
    for tries in of_moment.values():
        assert [good for _, good in tries[:-1]] == [False] * (len(tries) - 1), "it ran again after it had gone well"
        assert len(tries) <= 4 + len(ups)
    for began, ended in ups:
        moment = schedule.after(max(began, nights.now))
        while moment is not None and moment < ended - timedelta(minutes=1):
            assert moment in of_moment, f"nothing ran for {moment}"
            assert of_moment[moment][0][0] - moment < timedelta(minutes=5)
            moment = schedule.after(moment)


# ── Looks ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_look_that_fails_is_said_once_and_the_last_one_stays(
    nights: Nights, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Kept(id="a", created_at=utc("2026-11-20T00:10"), kimai_version="2.66.0", size=1)
    nights.shelves = [Shelf(target="local", backups=[kept])]

    def fail() -> None:
        nights.look_code = 1

    nights.clock.at(60, fail)
    nights.run(HOUR * 5)
    assert caplog.text.count("as it was last seen") == 1
    found = nights.standing.status(nights.clock.now())
    assert found.look is not None
    assert found.look.shelves == nights.shelves
    assert found.look.taken_at < nights.now + timedelta(minutes=1)


def test_targets_that_were_not_seen_for_half_an_hour_are_a_problem_until_they_are(nights: Nights) -> None:
    def fail() -> None:
        nights.look_code = 4

    nights.clock.at(60, fail)
    nights.run(timedelta(minutes=25))
    assert problems(nights) == []
    nights.clock.wait(600)
    [problem] = problems(nights)
    assert problem == (
        "the targets have not been looked at since 2026-11-20 12:00 CET: `look` ended with exit code 4; see the log"
    )
    nights.look_code = 0
    nights.run(timedelta(minutes=1))
    assert problems(nights) == []


def test_targets_that_never_answered_since_the_start_are_a_problem_with_its_reason(nights: Nights) -> None:
    nights.look_takes = 1e9
    nights.run(timedelta(minutes=29))
    assert problems(nights) == [], "it has only begun"
    nights.clock.wait(120)
    assert problems(nights) == [
        "the targets have not been looked at since the start, 2026-11-20 12:00 CET: they did not answer for 180 s;"
        " see the log"
    ]


def test_a_clock_set_forward_does_not_make_what_was_seen_old(nights: Nights) -> None:
    nights.clock.at(60, lambda: nights.clock.jump(HOUR * 5))
    nights.pace = 30.0
    nights.run(timedelta(minutes=3))
    assert problems(nights) == []


def problems(nights: Nights) -> list[str]:
    return list(nights.standing.status(nights.clock.now()).problems)


def test_a_target_that_is_away_is_said_once_and_that_it_is_back(
    nights: Nights, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    well, nights.shelves = nights.shelves, [Shelf(target="s3", problem="no answer")]

    def mend() -> None:
        nights.shelves = well

    nights.clock.at((HOUR * 3).total_seconds(), mend)
    nights.run(HOUR * 4)
    assert caplog.text.count("target s3: no answer") == 1
    assert caplog.text.count("target s3 can be listed again") == 1


def test_there_is_a_look_after_each_run_by_hand_as_well(nights: Nights) -> None:
    nights.pace = 30.0
    nights.clock.at(60, nights.by_hand)
    nights.run(timedelta(minutes=2))
    assert nights.looks == 2
    nights.clock.wait((HOUR * 14).total_seconds())
    nights.looks = 0
    nights.run(timedelta(minutes=2))
    assert len(nights.runs()) == 1
    assert nights.looks == 2


def test_a_hang_up_is_said_and_changes_nothing(nights: Nights, caplog: pytest.LogCaptureFixture) -> None:
    daemon = Daemon(nights.job())
    daemon.hang_up()
    daemon.step()
    daemon.step()
    assert caplog.text.count("SIGHUP does nothing") == 1


def test_a_target_that_came_later_counts_from_when_the_daemon_first_saw_it(nights: Nights) -> None:
    nights.run(DAY)
    nights.shelves = [*nights.shelves, Shelf(target="s3")]
    nights.run(DAY)
    known = Since(nights.folder / "kimai.since.json")
    assert known.known_target("local") == nights.now
    assert known.known_target("s3") == nights.now + DAY


def test_the_status_has_all_there_is(nights: Nights) -> None:
    nights.outcomes = [5]
    nights.clock.wait((HOUR * 12).total_seconds())
    nights.run(timedelta(minutes=75))
    found = nights.standing.status(nights.clock.now())
    assert (found.instance, found.tz, found.problems, found.running) == ("kimai", BERLIN, [], None)
    assert [run.exit_code for run in found.runs] == [5]
    [following] = found.nexts
    assert following.is_retry
    assert timedelta(minutes=10) <= following.at - utc("2026-11-21T00:10") < timedelta(minutes=10, seconds=10)
    assert found.policies.keys() == {"local"}
    assert found.now.tzinfo is UTC
