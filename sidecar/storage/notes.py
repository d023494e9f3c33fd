"""What of an S3 bucket would surprise whoever keeps backups in it: its clock, versions, rules that delete, locks."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from sidecar.errors import Exit

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


def lifecycle(rules: Mapping[str, Any] | None, prefix: str, days: int) -> Iterator[Note]:
    """Rules of the bucket that would delete our backups before their time. `days`: 0 means never."""
    for rule in _enabled(rules):
        scope = _prefix_of(rule)
        expires = rule.get("Expiration", {})
        if not (prefix.startswith(scope) or scope.startswith(prefix)) or not ({"Days", "Date"} & expires.keys()):
            continue
        after = expires.get("Days")
        if after is None or days == 0 or after <= days:
            when = f"after {after} days" if after is not None else f"on {expires['Date']:%Y-%m-%d}"
            yield Note(
                "lifecycle in s3",
                f"rule {rule.get('ID', 'without a name')} deletes backups {when}, whatever retention says",
                "Take that rule away, or limit it to another prefix.",
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
