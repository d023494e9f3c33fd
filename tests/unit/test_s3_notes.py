"""What the doctor says of a bucket's lifecycle rules: which of them delete backups that retention keeps."""

from datetime import UTC, datetime
from typing import Any

import pytest

from sidecar.app import App
from sidecar.storage import notes

PREFIX = "kimai/backups/"


def rule(prefix: str = "", status: str = "Enabled", **does: Any) -> dict[str, Any]:
    return {"Rules": [{"ID": "tidy", "Status": status, "Filter": {"Prefix": prefix}, **does}]}


def after(days: int) -> dict[str, Any]:
    return {"Expiration": {"Days": days}}


@pytest.mark.parametrize(
    ("does", "days", "by_calendar", "warns"),
    [
        (after(30), 60, False, True),
        (after(60), 60, False, True),
        (after(90), 60, False, False),
        (after(90), 60, True, True),
        (after(9000), 0, False, True),
        ({"Expiration": {"Date": datetime(2027, 1, 1, tzinfo=UTC)}}, 60, False, True),
    ],
)
def test_a_rule_that_deletes_what_retention_keeps_is_a_warning(
    does: dict[str, Any], days: int, by_calendar: bool, warns: bool
) -> None:
    [note] = notes.lifecycle(rule(**does), PREFIX, days, by_calendar=by_calendar)
    assert bool(note.mend) == warns
    assert "knows nothing of RETENTION_MIN_KEEP" in note.seen


@pytest.mark.parametrize(
    "rules",
    [
        None,
        {},
        rule("photos/", **after(1)),
        rule(status="Disabled", **after(1)),
        rule(Expiration={"ExpiredObjectDeleteMarker": True}),
        rule(Transitions=[{"Days": 1, "StorageClass": "STANDARD_IA"}]),
    ],
)
def test_a_rule_that_touches_no_backup_is_not_spoken_of(rules: Any) -> None:
    assert [*notes.lifecycle(rules, PREFIX, 60)] == []


@pytest.mark.parametrize("to", ["GLACIER", "DEEP_ARCHIVE"])
def test_a_rule_that_moves_backups_where_they_can_not_be_read_is_noted(to: str) -> None:
    [note] = notes.lifecycle(rule("kimai/", Transitions=[{"Days": 30, "StorageClass": to}]), PREFIX, 60)
    assert (f"moves backups to {to}" in note.seen, note.mend) == (True, "")


@pytest.mark.parametrize(
    ("settings", "by_calendar"),
    [
        ({}, False),
        ({"RETENTION_MONTHLY": "12"}, True),
        ({"RETENTION_MONTHLY": "12", "S3_RETENTION_MONTHLY": "0"}, False),
    ],
)
def test_the_store_s_own_retention_is_what_rules_are_held_against(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], by_calendar: bool
) -> None:
    asked: list[Any] = []
    targets = App.load({"S3_BUCKET": "backups"} | settings).targets
    monkeypatch.setattr(targets.s3, "remarks", lambda now, days, **given: asked.append((days, given)))
    targets.remarks(datetime.now(UTC))
    assert asked == [(60, {"by_calendar": by_calendar})]
