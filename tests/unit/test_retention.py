"""Retention: tables that a person can check (tests/golden/retention), and what holds whatever is there."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.manifest import TIME_FORMAT, BackupId
from sidecar.retention import Candidate, Decision, Policy, plan

GOLDEN = Path(__file__).parent.parent / "golden" / "retention"
NOW = datetime(2026, 11, 22, 1, 10, tzinfo=UTC)
DAY = timedelta(days=1)


# Tables.


def table_of(path: Path) -> str:
    """The table at the path, with decisions and reasons written anew by `plan`."""
    written = []
    candidates: dict[str, Candidate] = {}
    now, zone, policy = NOW, ZoneInfo("UTC"), Policy()
    for line in path.read_text().splitlines():
        words = line.split("|")[0].split()
        if line.startswith("now "):
            now = datetime.strptime(words[1], TIME_FORMAT).replace(tzinfo=UTC)
        elif line.startswith("zone "):
            zone = ZoneInfo(words[1])
        elif line.startswith("policy "):
            policy = Policy(**{name: int(count) for name, count in (word.split("=") for word in words[1:])})
        elif words and words[0][0].isdigit():
            candidates[" ".join(words)] = candidate_of(words)
            continue
        written.append(line)
    texts = {candidate.id: text for text, candidate in candidates.items()}
    rows = [row_of(texts[decision.id], decision) for decision in plan(candidates.values(), policy, now, zone)]
    return "\n".join([*written, *rows]) + "\n"


def candidate_of(words: list[str]) -> Candidate:
    moment, *flags = words
    assert set(flags) <= {"proven", "damaged", "safety"}
    created_at = datetime.strptime(moment, TIME_FORMAT).replace(tzinfo=UTC)
    return Candidate(BackupId("prod", "2.66.0", created_at, "safety" in flags), "proven" in flags, "damaged" in flags)


def row_of(text: str, decision: Decision) -> str:
    return f"{text:32} | {'keep' if decision.keep else 'delete':6} | {'; '.join(decision.reasons)}"


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.txt")), ids=lambda path: path.stem)
def test_every_table_comes_out_as_it_stands_there(path: Path) -> None:
    assert table_of(path) == path.read_text()


def test_of_nothing_nothing_is_decided() -> None:
    assert plan([], Policy(), NOW) == []


def test_the_tables_are_all_there() -> None:
    assert len(list(GOLDEN.glob("*.txt"))) == 11


# What must hold whatever is there.

# Few and close, so that ages, days and moments often coincide.
moments = st.integers(-30, 6).map(lambda steps: NOW + steps * timedelta(hours=8))
any_moments = st.datetimes(timezones=st.just(UTC))
clocks = st.one_of(st.just(NOW), st.just(NOW + 7 * DAY), moments, any_moments)
zones = st.sampled_from([UTC, ZoneInfo("Europe/Vienna"), ZoneInfo("Pacific/Kiritimati"), ZoneInfo("America/Adak")])
counts = st.integers(0, 3)
policies = st.builds(Policy, st.sampled_from([0, 1, 1, 2, 2, 3, 5, 8, 10**9]), counts, counts, counts, counts, counts)


def candidates_at(times: st.SearchStrategy[datetime]) -> st.SearchStrategy[list[Candidate]]:
    whole_seconds = times.map(lambda moment: moment.replace(microsecond=0))
    ids = st.builds(BackupId, st.just("prod"), st.sampled_from(["2.65.0", "2.66.0"]), whole_seconds, st.booleans())
    return st.lists(
        st.builds(Candidate, ids, st.booleans(), st.booleans()), min_size=3, max_size=25, unique_by=lambda one: one.id
    )


near = candidates_at(moments)
shelves = st.one_of(near, near, near, candidates_at(any_moments))


def kept_of(decisions: list[Decision]) -> set[BackupId]:
    return {decision.id for decision in decisions if decision.keep}


def newest_first(candidates: list[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda one: (one.id.created_at, one.id), reverse=True)


@given(shelves, policies, clocks, zones)
def test_each_backup_gets_one_decision_with_a_reason_newest_first(
    candidates: list[Candidate], policy: Policy, now: datetime, zone: ZoneInfo
) -> None:
    decisions = plan(candidates, policy, now, zone)
    assert [decision.id for decision in decisions] == [one.id for one in newest_first(candidates)]
    assert all(decision.reasons and all(decision.reasons) for decision in decisions)


@given(shelves, policies, clocks, zones)
def test_it_never_empties_whatever_policy_and_clock_say(
    candidates: list[Candidate], policy: Policy, now: datetime, zone: ZoneInfo
) -> None:
    assert bool(kept_of(plan(candidates, policy, now, zone))) == bool(candidates)


@given(shelves, policies, clocks, zones)
def test_the_newest_sound_ones_are_never_deleted(
    candidates: list[Candidate], policy: Policy, now: datetime, zone: ZoneInfo
) -> None:
    kept = kept_of(plan(candidates, policy, now, zone))
    sound = [one.id for one in newest_first(candidates) if not one.damaged]
    ordinary = [backup_id for backup_id in sound if not backup_id.safety]
    assert kept.issuperset(sound[: policy.min_keep])
    assert kept.issuperset(ordinary[: policy.min_keep])


@given(shelves, policies, clocks, zones)
def test_dates_in_the_future_take_no_place_among_the_newest(
    candidates: list[Candidate], policy: Policy, now: datetime, zone: ZoneInfo
) -> None:
    kept = kept_of(plan(candidates, policy, now, zone))
    past = [one for one in newest_first(candidates) if not one.damaged and one.id.created_at <= now]
    assert kept.issuperset(one.id for one in past[: policy.min_keep])
    assert kept.issuperset(one.id for one in candidates if one.id.created_at > now)


@given(shelves, policies, clocks, zones)
def test_the_newest_proven_is_never_deleted(
    candidates: list[Candidate], policy: Policy, now: datetime, zone: ZoneInfo
) -> None:
    kept = kept_of(plan(candidates, policy, now, zone))
    proven = [one.id for one in newest_first(candidates) if one.proven and not one.damaged]
    assert kept.issuperset(proven[:1])


@given(shelves, policies, clocks, zones)
def test_a_safety_backup_under_seven_days_is_never_deleted(
    candidates: list[Candidate], policy: Policy, now: datetime, zone: ZoneInfo
) -> None:
    kept = kept_of(plan(candidates, policy, now, zone))
    assert kept.issuperset(one.id for one in candidates if one.id.safety and now - one.id.created_at < 7 * DAY)


@given(shelves, policies, clocks, st.integers(0, 400))
def test_a_longer_age_never_keeps_less(candidates: list[Candidate], policy: Policy, now: datetime, more: int) -> None:
    shorter = kept_of(plan(candidates, policy, now))
    for longer in (0, policy.days + more if policy.days else 0):
        assert kept_of(plan(candidates, policy._replace(days=longer), now)) >= shorter


@given(shelves, policies, clocks, st.sampled_from(["min_keep", "daily", "weekly", "monthly", "yearly"]), counts)
def test_a_higher_count_never_keeps_less(
    candidates: list[Candidate], policy: Policy, now: datetime, name: str, more: int
) -> None:
    higher = policy._replace(**{name: getattr(policy, name) + more})
    assert kept_of(plan(candidates, higher, now)) >= kept_of(plan(candidates, policy, now))


@given(shelves, policies, clocks, zones, st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(
    candidates: list[Candidate], policy: Policy, now: datetime, zone: ZoneInfo, shuffler: random.Random
) -> None:
    shuffled = candidates.copy()
    shuffler.shuffle(shuffled)
    assert plan(shuffled, policy, now, zone) == plan(candidates, policy, now, zone)


@given(candidates_at(moments), policies)
def test_a_clock_before_every_backup_deletes_nothing(candidates: list[Candidate], policy: Policy) -> None:
    assert kept_of(plan(candidates, policy, datetime(1970, 1, 1, tzinfo=UTC))) == {one.id for one in candidates}


@given(candidates_at(moments), policies, st.integers(0, 400))
def test_pruning_again_right_away_deletes_nothing_more(candidates: list[Candidate], policy: Policy, later: int) -> None:
    now = NOW + later * DAY
    kept = kept_of(plan(candidates, policy, now))
    assert kept_of(plan([one for one in candidates if one.id in kept], policy, now)) == kept


@given(candidates_at(moments), clocks)
def test_with_age_alone_what_goes_is_older_than_the_age(candidates: list[Candidate], now: datetime) -> None:
    policy = Policy(days=5, min_keep=2)
    deleted = [decision.id for decision in plan(candidates, policy, now) if not decision.keep]
    assert all(now - backup_id.created_at > 5 * DAY for backup_id in deleted)
    spared = len(candidates) - len(deleted)
    young = sum(now - one.id.created_at <= (7 if one.id.safety else 5) * DAY for one in candidates)
    # The newest two of all and of the ordinary ones, the newest proven of both: no rule spares more.
    assert spared <= young + 6


def test_the_first_and_the_last_day_of_the_calendar_are_days_too() -> None:
    first, last = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    candidates = [Candidate(BackupId("prod", "2.66.0", moment)) for moment in (first, last)]
    policy = Policy(days=1, daily=2)
    for zone in (ZoneInfo("America/Adak"), ZoneInfo("Pacific/Kiritimati")):
        assert kept_of(plan(candidates, policy, last, zone)) == {one.id for one in candidates}
