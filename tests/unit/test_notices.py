"""What is told of a run: by histories, each a night after the other, with what was told of each run."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import Exit
from sidecar.notices import COMMANDS, Notice, due
from sidecar.runs import KILLED, Command, Run, Trigger

NIGHT = datetime(2026, 11, 20, 1, 10, tzinfo=UTC)


class Story:
    """Runs one after the other; each is told of, as far as the notifier is up."""

    def __init__(self, *, on_success: bool = False, unproven_days: int | None = None) -> None:
        self.runs: list[Run] = []
        self.up = True
        self.notices: list[Notice] = []
        self._options: dict[str, Any] = {"on_success": on_success, "unproven_days": unproven_days}

    def night(self, number: float, code: int = 0, *, minutes: float = 0, **facts: Any) -> list[str]:
        """A run at that night's hour, so many minutes late; gives what was told of it."""
        at = NIGHT + timedelta(days=number, minutes=minutes)
        command: Command = facts.pop("command", "backup")
        trigger: Trigger = facts.pop("trigger", "schedule")
        run = Run(
            id=f"run-{len(self.runs)}",
            command=command,
            trigger=trigger,
            started_at=at,
            finished_at=at + timedelta(seconds=30),
            exit_code=code,
            summary="as it went",
            **facts,
        )
        self.notices = due(self.runs, run, UTC, **self._options)
        kinds = [str(notice.kind) for notice in self.notices]
        run.told = kinds if self.up else []
        self.runs.append(run)
        return kinds

    def retries(self, number: float, *codes: int, **facts: Any) -> list[list[str]]:
        """The retries of a night, after 10, 30 and 90 minutes."""
        late = (10, 40, 130)
        return [
            self.night(number, code, minutes=minutes, trigger="retry", **facts)
            for minutes, code in zip(late, codes, strict=False)
        ]

    @property
    def text(self) -> str:
        return "\n".join(f"{notice.title}: {notice.text}" for notice in self.notices)


def test_a_good_run_is_nothing_to_tell_of() -> None:
    story = Story()
    assert [story.night(number) for number in range(20)] == [[]] * 20


def test_a_night_without_a_database_is_one_failure_and_one_recovery() -> None:
    story = Story()
    assert story.night(0) == []
    assert story.night(1, 5) == ["failure"]
    assert "after 10, 30 and 90 minutes" in story.text
    assert story.retries(1, 5, 5, 5) == [[], [], []]
    assert story.night(2) == ["recovery"]
    assert "failed since 2026-11-21 01:10 UTC: 4 runs" in story.text
    assert story.night(3) == []


def test_a_retry_that_works_is_the_recovery() -> None:
    story = Story()
    assert story.night(0, 5) == ["failure"]
    assert story.retries(0, 5, 0) == [[], ["recovery"]]
    assert story.night(1) == []


def test_three_nights_are_three_failures_and_one_recovery() -> None:
    story = Story()
    for number in range(3):
        assert story.night(number, 5) == ["failure"]
        assert story.retries(number, 5, 5, 5) == [[], [], []]
    story.night(3, 5)
    assert "failing since 2026-11-20 01:10 UTC, 13 runs in a row" in story.text
    assert story.night(4) == ["recovery"]
    assert "failed since 2026-11-20 01:10 UTC: 13 runs" in story.text


def test_a_retry_that_fails_otherwise_is_told_and_then_is_silent_too() -> None:
    story = Story()
    assert story.night(0, 5) == ["failure"]
    assert story.retries(0, 6, 5, 6) == [["failure"], [], []]


@pytest.mark.parametrize("facts", [{"code": 5}, {"code": 3, "failed": {"s3": "no answer"}}])
def test_where_no_run_is_remembered_a_night_is_told_once_and_not_for_each_retry(facts: dict[str, Any]) -> None:
    story = Story()
    story.night(0)
    told = []
    for minutes, trigger in ((0, "schedule"), (10, "retry"), (40, "retry"), (130, "retry")):
        told += story.night(1, minutes=minutes, trigger=trigger, **facts)
        # The disk is full.
        story.runs.pop()
    assert len(told) == 1


def test_an_hourly_schedule_tells_the_same_failure_some_times_a_day() -> None:
    story = Story()
    told = [story.night(hour / 24, 5) for hour in range(24)]
    assert told.count(["failure"]) == 3
    assert told[0] == ["failure"]


def test_by_cron_each_night_is_told_and_nothing_is_said_of_retries() -> None:
    story = Story()
    assert story.night(0, 5, trigger="hand") == ["failure"]
    assert "tried again" not in story.text
    # Somebody is at it now.
    assert story.night(0, 5, minutes=400, trigger="hand") == []
    assert story.night(1, 5, trigger="hand") == ["failure"]


@pytest.mark.parametrize(
    ("command", "code", "trigger", "is_retried"),
    [
        ("backup", 5, "schedule", True),
        ("backup", 7, "missed", True),
        ("backup", 5, "hand", False),
        ("verify", 7, "schedule", False),
        ("verify", 6, "schedule", True),
        ("backup", 2, "schedule", False),
    ],
)
def test_only_what_the_daemon_tries_again_is_said_to_be(
    command: Command, code: int, trigger: Trigger, is_retried: bool
) -> None:
    story = Story()
    story.night(0, code, command=command, trigger=trigger)
    assert ("tried again" in story.text) is is_retried


def test_a_killed_run_is_a_failure() -> None:
    story = Story()
    assert story.night(0, KILLED) == ["failure"]
    assert "backup was killed" in story.text
    assert story.retries(0, KILLED, 0) == [[], ["recovery"]]


def test_told_to_end_is_no_failure_and_makes_none_good() -> None:
    story = Story()
    assert story.night(0, 130) == []
    assert story.night(1, 5) == ["failure"]
    assert story.retries(1, 130, 5) == [[], []]
    assert story.night(2) == ["recovery"]
    assert "2 runs." in story.text
    assert story.night(3, 130) == []
    assert story.night(4) == []


def test_a_lock_that_another_run_holds_is_told_when_it_lasts() -> None:
    story = Story()
    assert story.night(0, Exit.LOCKED) == []
    assert story.retries(0, Exit.LOCKED) == [["failure"]]
    story = Story()
    assert story.night(0, Exit.LOCKED) == []
    assert story.retries(0, 0) == [[]]


def test_what_a_notifier_that_was_down_missed_is_told_by_the_next_run() -> None:
    story = Story()
    story.up = False
    assert story.night(0, 5) == ["failure"]
    story.up = True
    assert story.retries(0, 5, 5) == [["failure"], []]
    story.up = False
    assert story.night(1) == ["recovery"]
    story.up = True
    assert story.night(2) == ["recovery"]
    assert "failed since 2026-11-20 01:10 UTC: 3 runs" in story.text
    assert story.night(3) == []


def test_a_recovery_that_nobody_could_be_told_of_is_no_news_after_a_week() -> None:
    story = Story()
    assert story.night(0, 5) == ["failure"]
    story.up = False
    assert [story.night(number) for number in range(1, 9)] == [["recovery"]] * 7 + [[]]


def test_a_recovery_tells_of_the_last_failures_alone() -> None:
    story = Story()
    story.up = False
    story.night(0, 5)
    story.night(1)
    story.up = True
    assert story.night(2, 5) == ["failure"]
    assert story.night(3) == ["recovery"]
    assert "failed since 2026-11-22 01:10 UTC: one run." in story.text


def test_a_failure_that_nobody_was_told_of_needs_no_recovery() -> None:
    story = Story()
    story.up = False
    story.night(0, 5)
    assert story.night(1) == []


def test_each_command_has_a_story_of_its_own() -> None:
    story = Story()
    assert story.night(0, 5) == ["failure"]
    assert story.night(0, 7, command="verify", minutes=60) == ["failure"]
    assert story.night(1) == ["recovery"]
    assert story.night(1, 7, command="verify", minutes=600) == ["failure"]
    assert story.night(2, 0, command="verify") == ["recovery"]


@pytest.mark.parametrize("command", ["restore", "prune"])
def test_who_restores_or_prunes_sees_it(command: Command) -> None:
    assert Story(on_success=True).night(0, 6, command=command) == []


def test_success_is_told_where_it_is_wanted_and_a_recovery_is_enough() -> None:
    story = Story(on_success=True)
    assert story.night(0) == ["success"]
    assert story.night(1, 5) == ["failure"]
    assert story.night(2) == ["recovery"]
    assert story.night(3, command="verify") == ["success"]


# ── Done in part ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_lasting_lack_is_told_once_a_week() -> None:
    story = Story()
    told = [story.night(number, 3, lacks=["var/x"], minutes=-number) for number in range(16)]
    assert [number for number, kinds in enumerate(told) if kinds == ["partial"]] == [0, 7, 14]
    assert "Lacking: var/x" in "".join(notice.text for notice in due([], story.runs[0], UTC))


def test_a_new_lack_is_told_with_how_many_there_are() -> None:
    story = Story()
    assert story.night(0, 3, lacks=["a"]) == ["partial"]
    assert story.night(1, 3, lacks=["a", "b"]) == ["partial"]
    assert "Lacking since now: b. 2 lack in all." in story.text
    assert story.night(2, 3, lacks=["a"]) == []
    assert story.night(3, 3, lacks=["a", "b"]) == []


def test_a_lack_that_comes_back_is_told_again() -> None:
    story = Story()
    assert story.night(0, 3, lacks=["a"]) == ["partial"]
    assert story.night(1) == []
    assert story.night(2, 3, lacks=["a"]) == ["partial"]


def test_a_target_that_fails_is_told_each_night_and_its_recovery_too() -> None:
    story = Story()
    for number in range(2):
        assert story.night(number, 3, failed={"s3": "no answer"}) == ["partial"]
        assert "not on s3" in story.text
        assert story.retries(number, 3, 3, failed={"s3": "no answer"}) == [[], []]
    # The same lack as ever, and stored everywhere: well enough.
    assert story.night(2) == ["recovery"]


def test_a_target_that_fails_again_after_a_recovery_is_told_again() -> None:
    story = Story()
    assert story.night(0, 3, failed={"s3": "no answer"}) == ["partial"]
    assert story.night(0, minutes=60) == ["recovery"]
    assert story.night(0, 3, minutes=120, failed={"s3": "no answer"}) == ["partial"]
    assert story.night(0, 3, minutes=180, failed={"s3": "no answer"}) == []


def test_another_target_that_fails_in_the_same_night_is_told() -> None:
    story = Story()
    assert story.night(0, 3, failed={"s3": "no answer"}) == ["partial"]
    assert story.retries(0, 3, failed={"local": "full"}) == [["partial"]]
    assert story.retries(0, 3, failed={"s3": "no answer"}) == [[]]


def test_a_failure_after_a_missed_target_counts_both() -> None:
    story = Story()
    story.night(0, 3, failed={"s3": "no answer"})
    assert story.night(1, 6) == ["failure"]
    assert "2 runs in a row" in story.text
    assert story.night(2, 3, lacks=["a"]) == ["recovery", "partial"]


def test_a_backup_that_holds_less_says_so_whether_or_not_something_could_not_be_read() -> None:
    story = Story()
    shrank = "tables of the backup before are gone: kimai2_tags"
    assert story.night(0, 0, shrank=shrank) == ["shrank"]
    assert shrank in story.text
    assert "nothing was pruned" in story.text
    assert story.night(1, 3, lacks=["a"]) == ["partial"]
    assert story.night(2, 3, lacks=["a"], shrank=shrank) == ["shrank"]


# ── Smaller ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_one_that_nobody_can_compare_is_told_in_its_own_words() -> None:
    story = Story()
    why = "BACKUP_STATE_DIR does not tell what the backup before held"
    assert story.night(0, 0, unpruned=why) == ["unpruned"]
    assert why in story.text
    assert "holds less" not in story.text


def test_a_much_smaller_backup_is_told_once_until_it_is_back_or_usual() -> None:
    story = Story()
    sizes = [100, 102, 104, 49, 49, 104, 49, *[49] * 12]
    told = [story.night(number, size=size * 1_000_000) for number, size in enumerate(sizes)]
    assert [number for number, kinds in enumerate(told) if kinds == ["smaller"]] == [3, 6]


def test_two_forerunners_are_too_few_to_judge_by() -> None:
    story = Story()
    assert [story.night(number, size=size) for number, size in enumerate([1000, 1000, 10])] == [[], [], []]


def test_half_the_size_is_not_yet_much_smaller() -> None:
    story = Story()
    assert [story.night(number, size=size) for number, size in enumerate([1000, 1000, 1000, 500])] == [[]] * 4
    assert story.night(5, size=499) == ["smaller"]
    assert "has 499 B; the median of those before it is 1.0 kB" in story.text


def test_a_failed_run_has_no_size_to_judge() -> None:
    story = Story()
    for number in range(4):
        story.night(number, size=1000)
    assert story.night(4, 5) == ["failure"]
    assert story.night(5, size=1000) == ["recovery"]


# ── Unproven ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_before_any_drill_it_counts_from_the_first_run() -> None:
    story = Story(unproven_days=3)
    told = [story.night(number) for number in range(11)]
    assert [number for number, kinds in enumerate(told) if kinds == ["unproven"]] == [3, 10]
    assert "No drill has matched yet" in story.text


def test_a_drill_that_matched_counts_and_one_that_did_not_does_not() -> None:
    story = Story(unproven_days=3)
    story.night(0, command="drill")
    story.night(2, 7, command="drill")
    assert story.night(3, minutes=-60) == []
    assert story.night(4) == ["unproven"]
    assert "last drill that matched was 2026-11-20 01:10 UTC" in story.text
    story.night(4, command="drill", minutes=30)
    assert story.night(12) == ["unproven"]


def test_without_the_setting_nothing_is_said_of_proofs() -> None:
    story = Story()
    assert [story.night(number * 100) for number in range(3)] == [[], [], []]


# ── A clock that was set back ────────────────────────────────────────────────────────────────────────────────


def test_what_was_told_in_the_time_to_come_silences_no_failure() -> None:
    story = Story()
    assert story.night(100, 5) == ["failure"]
    assert story.night(0, 5) == ["failure"]
    assert story.retries(0, 5, 5) == [[], []]
    assert story.night(1) == ["recovery"]


def test_what_was_told_in_the_time_to_come_silences_no_lack_and_no_missed_target() -> None:
    story = Story()
    assert story.night(100, 3, lacks=["a"]) == ["partial"]
    assert [story.night(number, 3, lacks=["a"]) for number in range(2)] == [["partial"], []]
    story = Story()
    assert story.night(100, 3, failed={"s3": "no answer"}) == ["partial"]
    assert story.night(0, 3, failed={"s3": "no answer"}) == ["partial"]


def test_neither_a_proof_nor_a_telling_from_the_time_to_come_makes_backups_proven() -> None:
    story = Story(unproven_days=3)
    story.night(0)
    story.night(100, command="drill")
    assert story.night(4) == ["unproven"]
    assert story.night(5) == []
    story.runs[-2].finished_at += timedelta(days=100)
    assert story.night(6) == ["unproven"]


# ── Any history ──────────────────────────────────────────────────────────────────────────────────────────────


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 0, 1, 3, 4, 5, 6, 9, 130, KILLED]),
            st.sampled_from(["schedule", "retry", "hand", "missed"]),
            st.lists(st.sampled_from("abc"), unique=True),
            st.booleans(),
            st.integers(0, 1000),
            st.integers(1, 2000),
        ),
        max_size=30,
    )
)
def test_any_history(steps: Sequence[tuple[int, Trigger, list[str], bool, int, int]]) -> None:
    story = Story(on_success=True, unproven_days=5)
    at, failing_told = 0.0, False
    for code, trigger, lacks, missed, size, minutes in steps:
        at += minutes
        partly = {"lacks": lacks, "failed": {"s3": "away"} if missed else {}} if code == 3 else {}
        kinds = story.night(0, code, minutes=at, trigger=trigger, size=size if code in (0, 3) else 0, **partly)
        assert len(kinds) == len(set(kinds))
        assert not ({"failure", "recovery", "success"} <= set(kinds))
        assert (code not in (0, 3, 130)) >= ("failure" in kinds)
        assert code != 130 or kinds == []
        # A recovery is told after what was told to be ill, and each of these once.
        if "recovery" in kinds:
            assert failing_told
            failing_told = False
        failing_told = failing_told or "failure" in kinds or (missed and "partial" in kinds)
        assert all(notice.title and "\n" not in notice.title for notice in story.notices)


def test_times_are_those_of_the_clock_on_the_wall() -> None:
    runs = [
        Run(
            id=str(number),
            command="backup",
            started_at=NIGHT + timedelta(days=number),
            finished_at=NIGHT + timedelta(days=number),
            exit_code=5,
            summary="",
        )
        for number in range(2)
    ]
    [notice] = due(runs[:1], runs[1], ZoneInfo("Europe/Berlin"))
    assert "since 2026-11-20 02:10 CET, 2 runs" in notice.text


def test_the_commands_are_those_that_run_at_night() -> None:
    assert set(COMMANDS) == {"backup", "verify", "drill"}
