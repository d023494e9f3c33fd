"""Which backups to keep and why: a pure function of what is there, the policy and the clock."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from typing import NamedTuple

from sidecar.manifest import BackupId

DAY = 86400
SAFETY_DAYS = 7


class Policy(NamedTuple):
    """How long to keep: by age in days (0: age deletes nothing, so nothing is deleted), or by other counts.

    A backup stays if one rule wants it. `daily` and the like keep the newest backup of each of the last so
    many days (ISO weeks, months, years) that have one.
    """

    days: int = 60
    min_keep: int = 3
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0


class Candidate(NamedTuple):
    """A backup as its target's names tell of it; `damaged` if a drill of it did not match, or it is known to be cut."""

    id: BackupId
    proven: bool = False
    damaged: bool = False


class Decision(NamedTuple):
    """What becomes of one backup, and every reason for it.

    `counted` is one that is kept as the newest, or newest proven: were it damaged, another would take its place.
    """

    id: BackupId
    keep: bool
    reasons: tuple[str, ...]
    counted: bool = False


@dataclass(slots=True)
class _Case:
    """One candidate, with its age in seconds and the reasons to keep it that were found so far."""

    candidate: Candidate
    age: float
    reasons: tuple[str, ...] = ()
    counted: bool = False

    def keep(self, reason: str, *, counted: bool = False) -> None:
        self.reasons = (*self.reasons, reason)
        self.counted = self.counted or counted

    @property
    def is_sound(self) -> bool:
        return not self.candidate.damaged

    @property
    def is_ordinary(self) -> bool:
        return not self.candidate.id.safety


def plan(candidates: Iterable[Candidate], policy: Policy, now: datetime, tz: tzinfo = UTC) -> list[Decision]:
    """Decide on each backup, newest first. `now` bears a zone; days, weeks, months, years are those of `tz`.

    Whatever policy and clock say, it keeps the newest proven backup, the newest `min_keep` (at least one)
    that aren't damaged, safety backups up to 7 days old, and what is dated after `now`: one clock was wrong.
    """
    cases = [
        _Case(candidate, (now - candidate.id.created_at).total_seconds())
        for candidate in sorted(candidates, key=_newest_last, reverse=True)
    ]
    # A date in the future may be wrong, so it must not take the place of a backup that is known to be new.
    past = [case for case in cases if case.age >= 0]
    _keep_by_age(cases, policy)
    _keep_the_newest(past, policy)
    _keep_by_calendar(past, policy, tz)
    return [_decide(case, policy) for case in cases]


def _newest_last(candidate: Candidate) -> tuple[datetime, Candidate]:
    return candidate.id.created_at, candidate


def _keep_by_age(cases: Sequence[_Case], policy: Policy) -> None:
    for case in cases:
        if case.age < 0:
            case.keep("dated in the future: was a clock wrong?")
        elif policy.days <= 0:
            case.keep("age deletes nothing (0 days)")
        elif case.age <= policy.days * DAY:
            case.keep(f"{_days(int(case.age // DAY))} old, kept for {policy.days}")
        if not case.is_ordinary and 0 <= case.age <= SAFETY_DAYS * DAY:
            case.keep(f"safety backup, kept for {SAFETY_DAYS} days")


def _keep_the_newest(past: Sequence[_Case], policy: Policy) -> None:
    """Twice: of all, and of those that aren't safety backups: a day of restores must not push these out."""
    least = max(1, policy.min_keep)
    sound = [case for case in past if case.is_sound]
    ordinary = [case for case in sound if case.is_ordinary]
    # If nothing sound is there, then the newest of the damaged is better than nothing.
    for case in _without_repeats(sound[:least] + ordinary[:least]) or past[:1]:
        if case.is_sound:
            case.keep(f"among the newest {least}", counted=True)
        else:
            case.keep("the newest, as all up to now are damaged")
    proven = [case for case in sound if case.candidate.proven]
    proven_ordinary = [case for case in ordinary if case.candidate.proven]
    for case in _without_repeats(proven[:1] + proven_ordinary[:1]):
        case.keep("the newest proven", counted=True)


def _without_repeats(cases: Iterable[_Case]) -> list[_Case]:
    return list({id(case): case for case in cases}.values())


def _keep_by_calendar(past: Sequence[_Case], policy: Policy, tz: tzinfo) -> None:
    """Keep the newest of each of the last so many buckets, for which no damaged or safety backup stands."""
    counts = [getattr(policy, name) for name, _, _ in _BUCKETS]
    if not any(counts):
        return
    dated = [(case, _local(case.candidate.id.created_at, tz)) for case in past if case.is_sound and case.is_ordinary]
    for count, (_, unit, name_of) in zip(counts, _BUCKETS, strict=True):
        seen: set[str] = set()
        for case, local in dated:
            if len(seen) >= count:
                break
            bucket = name_of(local)
            if bucket not in seen:
                seen.add(bucket)
                case.keep(f"the newest of the {unit} {bucket}")


def _local(moment: datetime, tz: tzinfo) -> date:
    try:
        return moment.astimezone(tz).date()
    except OverflowError:  # the first and the last day that the calendar knows
        return moment.date()


def _name_of_week(local: date) -> str:
    year, week, _ = local.isocalendar()
    return f"{year:04}-W{week:02}"


def _name_of_month(local: date) -> str:
    return f"{local.year:04}-{local.month:02}"


def _name_of_year(local: date) -> str:
    return f"{local.year:04}"


_BUCKETS: tuple[tuple[str, str, Callable[[date], str]], ...] = (
    ("daily", "day", date.isoformat),
    ("weekly", "week", _name_of_week),
    ("monthly", "month", _name_of_month),
    ("yearly", "year", _name_of_year),
)


def _decide(case: _Case, policy: Policy) -> Decision:
    if case.reasons:
        return Decision(case.candidate.id, keep=True, reasons=case.reasons, counted=case.counted)
    days = int(case.age // DAY)
    reason = f"older than {_days(policy.days)} ({days}), and no other rule keeps it"
    return Decision(case.candidate.id, keep=False, reasons=(reason,))


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"
