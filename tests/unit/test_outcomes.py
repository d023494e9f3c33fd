"""What of an outcome is kept with its run: nothing that somebody must know is left out of the sentence."""

from datetime import UTC, datetime

from sidecar import outcomes
from sidecar.backup import Outcome
from sidecar.errors import StorageFailed
from sidecar.manifest import Archive, BackupId, Database, Kimai, Manifest
from sidecar.notices import due
from sidecar.prune import Pruned
from sidecar.recorder import Recording
from sidecar.runs import Run, Started

NOW = datetime(2026, 11, 22, 1, 10, tzinfo=UTC)


def recorded(outcome: Outcome) -> Run:
    recording = Recording(Started(id="r1", command="backup", trigger="schedule", started_at=NOW))
    outcomes.of_backup(outcome, recording)
    return recording.run(NOW)


def outcome() -> Outcome:
    database = Database(
        flavour="mariadb",
        server_version="11.4.2",
        name="kimai",
        charset="utf8mb4",
        collation="utf8mb4_unicode_ci",
        newest_migration=None,
        tables=[],
        size=0,
        largest_statement=0,
    )
    manifest = Manifest(
        id="kimai_demo_2.57.0_20261122T011000Z",
        instance="demo",
        started_at=NOW,
        finished_at=NOW,
        tool_version="1",
        kimai=Kimai(version="2.57.0", version_source="console"),
        database=database,
        files=[],
        archive=Archive(size=12_345_678, sha256="0" * 64),
    )
    return Outcome(manifest, ["local"])


def test_all_went_well() -> None:
    run = recorded(outcome())
    assert (run.exit_code, run.size) == (0, 12_345_678)
    assert run.summary == "kimai_demo_2.57.0_20261122T011000Z: 0 tables, 0 rows, 0 files, 12.3 MB, on local"


def test_one_that_holds_less_says_so_though_all_that_is_there_was_read() -> None:
    found = outcome()
    found.shrank = "tables of the backup before are gone: kimai2_tags"
    run = recorded(found)
    assert (run.exit_code, run.shrank) == (0, found.shrank)
    assert run.summary.endswith("; holds less than the one before: tables of the backup before are gone: kimai2_tags")


def test_one_that_nobody_can_compare_is_not_said_to_hold_less() -> None:
    found = outcome()
    found.unknown = "the manifest of the backup before can't be read, so nobody knows whether this one lacks something"
    run = recorded(found)
    assert (run.exit_code, run.shrank, run.unpruned) == (0, None, found.unknown)
    assert f"nothing pruned: {found.unknown}" in run.summary
    assert "holds less" not in run.summary


def test_pruning_that_failed_is_named_and_no_target_is_said_to_be_missed() -> None:
    found = outcome()
    found.pruned = [Pruned("local"), Pruned("s3", failure=StorageFailed("s3 refuses to delete"))]
    run = recorded(found)
    assert (run.exit_code, run.failed, run.lacks) == (3, {}, ["pruning on s3"])
    assert run.summary.endswith("on local; pruning s3 ended early: s3 refuses to delete")
    [notice] = due([], run, UTC)
    assert (notice.kind, notice.text) == ("partial", "Lacking: pruning on s3.")


def test_a_damaged_copy_that_could_not_be_sent_is_named() -> None:
    found = outcome()
    found.damaged = ["kimai_demo_2.57.0_20261120T011000Z"]
    run = recorded(found)
    assert (run.exit_code, run.failed, run.lacks) == (
        3,
        {},
        ["a whole copy of kimai_demo_2.57.0_20261120T011000Z to send"],
    )
    assert run.summary.endswith("; not sent after, as the local copy is damaged: kimai_demo_2.57.0_20261120T011000Z")


def test_what_is_still_to_be_sent_is_told() -> None:
    found = outcome()
    found.left = [BackupId("demo", "2.57.0", NOW), BackupId("demo", "2.56.0", NOW)]
    run = recorded(found)
    assert (run.exit_code, run.failed) == (3, {})
    assert run.lacks == ["some that a target had missed"]
    assert run.summary.endswith("; 2 still to be sent after")
