"""What of an S3 bucket would surprise whoever keeps backups in it: its clock, versions, rules that delete, locks."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from sidecar.errors import Exit

_FROZEN = {"GLACIER", "DEEP_ARCHIVE"}
_SKEW = 300
"""Seconds; Amazon's store refuses signatures from 900 on."""


class Note(NamedTuple):
    """What it is about, what was seen, and the mend; without one where nothing is to be mended.

    `exit_code` is other than 0 where no backup can be made with it.
    """

    what: str
    seen: str
    mend: str = ""
    exit_code: Exit = Exit.DONE


def clock(date: str | None, now: datetime) -> Iterator[Note]:
    """How far the store's clock, as its answers tell it, is from ours."""
    if date is None:
        return
    try:
        skew = abs((parsedate_to_datetime(date) - now).total_seconds())
    except (ValueError, TypeError):
        return
    if skew > _SKEW:
        yield Note(
            "clock of s3", f"is {skew:.0f} s away from ours", "Set both by NTP: far apart, every request is refused."
        )
    else:
        yield Note("clock of s3", "as ours", "")


def versions(found: Mapping[str, Any] | None, rules: Mapping[str, Any] | None) -> Iterator[Note]:
    """Whether what was overwritten or deleted can be had back, and whether it stays for ever."""
    if found is None:
        yield Note("versions in s3", "the key may not ask, or the store doesn't tell", "")
        return
    if found.get("Status") != "Enabled":
        yield Note(
            "versions in s3",
            "are off: whoever has the key can destroy every backup there",
            "Turn on the bucket's versioning, with a lifecycle rule that ends old versions; or use object lock.",
        )
        return
    ends = any("NoncurrentVersionExpiration" in rule for rule in _enabled(rules))
    if ends or rules is None:
        yield Note("versions in s3", "are on", "")
    else:
        yield Note(
            "versions in s3",
            "are on, and no lifecycle rule ends old ones: what is pruned goes on taking room",
            "Give the bucket a lifecycle rule that ends noncurrent versions.",
        )


def lifecycle(rules: Mapping[str, Any] | None, prefix: str, days: int, *, by_calendar: bool = False) -> Iterator[Note]:
    """Rules of the bucket that delete our backups, or move them where they can't be read.

    `days` is how long age keeps them, 0: for ever; `by_calendar`: some are kept longer, by day, week, month or year.
    """
    for rule in _enabled(rules):
        scope = _prefix_of(rule)
        if prefix.startswith(scope) or scope.startswith(prefix):
            name = f"rule {rule.get('ID', 'without a name')}"
            yield from _expiring(name, rule.get("Expiration", {}), days, by_calendar=by_calendar)
            yield from _moving(name, rule.get("Transitions", ()))


def _expiring(name: str, expires: Mapping[str, Any], days: int, *, by_calendar: bool) -> Iterator[Note]:
    if not {"Days", "Date"} & expires.keys():
        return
    after = expires.get("Days")
    when = f"after {after} days" if after is not None else f"on {expires['Date']:%Y-%m-%d}"
    seen = f"{name} deletes backups {when}, and knows nothing of RETENTION_MIN_KEEP"
    if after is None or days == 0 or by_calendar or after <= days:
        yield Note(
            "lifecycle in s3",
            f"{seen}, nor of any other retention",
            "Take that rule away, or limit it to another prefix.",
        )
    else:
        yield Note("lifecycle in s3", seen)


def _moving(name: str, transitions: Iterable[Mapping[str, Any]]) -> Iterator[Note]:
    for each in transitions:
        if each.get("StorageClass") in _FROZEN:
            yield Note(
                "lifecycle in s3",
                f"{name} moves backups to {each['StorageClass']}: from then on they can't be verified"
                " or restored until the store has brought them back",
            )


def lock(found: Mapping[str, Any] | None, mode: str | None, lock_days: int, days: int) -> Iterator[Note]:
    """Whether locks can be set as asked, and whether they outlast retention."""
    bucket = (found or {}).get("ObjectLockConfiguration", {})
    if mode and found is not None and bucket.get("ObjectLockEnabled") != "Enabled":
        yield Note(
            "object lock in s3",
            "the bucket has none, so that no backup can be stored",
            "Make the bucket with object lock, or unset S3_OBJECT_LOCK_MODE and S3_OBJECT_LOCK_DAYS.",
            Exit.STORAGE,
        )
        return
    default = bucket.get("Rule", {}).get("DefaultRetention", {})
    longest = max(lock_days if mode else 0, default.get("Days", 0), default.get("Years", 0) * 365)
    if longest and 0 < days < longest:
        yield Note(
            "object lock in s3",
            f"keeps backups {longest} days, longer than retention ({days}): prune leaves them until then",
            "",
        )
    elif longest:
        yield Note("object lock in s3", f"keeps backups {longest} days", "")


def _enabled(rules: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    return [rule for rule in (rules or {}).get("Rules", []) if rule.get("Status") == "Enabled"]


def _prefix_of(rule: Mapping[str, Any]) -> str:
    chosen = rule.get("Filter", {})
    found = rule.get("Prefix") or chosen.get("Prefix") or chosen.get("And", {}).get("Prefix") or ""
    return str(found)
