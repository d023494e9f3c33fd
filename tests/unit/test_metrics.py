"""The metrics, read by Prometheus' own parser: what they say of each state, and that counters never go back."""

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from sidecar.report.metrics import Metrics, fold
from sidecar.runs import KILLED, Phase
from sidecar.status import Look, Shelf, Status
from tests.support import statuses

Samples = Mapping[tuple[str, ...], float]


def read(text: bytes) -> Mapping[str, Samples]:
    """Each metric's values by its labels' values, in the order of the labels' names."""
    return {
        sample.name.removeprefix("kimai_backup_"): {
            tuple(other.labels[key] for key in sorted(other.labels)): other.value
            for other in family.samples
            if other.name == sample.name
        }
        for family in parse(text.decode())
        for sample in family.samples
    }


def of(status: Status) -> Mapping[str, Samples]:
    return read(Metrics(lambda: status).text())


def test_every_metric_has_our_prefix_a_help_and_a_type() -> None:
    families = list(parse(Metrics(statuses.healthy).text().decode()))
    assert len(families) > 25
    for family in families:
        assert family.name.startswith("kimai_backup_")
        assert family.documentation
        assert family.type in {"gauge", "counter"}


def test_a_healthy_one_says_so_with_ages_by_target() -> None:
    found = of(statuses.healthy())
    age = (statuses.NOW - statuses.NIGHT).total_seconds()
    assert found["healthy"] == {(): 1}
    assert found["last_success_age_seconds"] == {("local",): age, ("s3",): age}
    assert found["last_success_timestamp_seconds"]["s3",] == statuses.NIGHT.timestamp()
    assert found["newest_proven_age_seconds"]["local",] == age + 2 * 86400
    assert found["target_up"] == {("local",): 1, ("s3",): 1}
    assert found["target_backups"]["local",] == 70
    assert found["target_damaged_backups"] == {("local",): 1, ("s3",): 0}
    assert found["last_run_exit_code"] == {("backup",): 0}
    assert found["last_backup_rows"] == {(): 812_044}
    assert found["next_run_timestamp_seconds"]["backup",] == (statuses.NIGHT + timedelta(days=1)).timestamp()
    (version,) = found["build_info"]
    assert version[2] == "0.1.0"


def test_a_failing_one_tells_what_lies_on_a_target_that_is_away_by_the_history() -> None:
    found = of(statuses.failing())
    assert found["healthy"] == {(): 0}
    assert found["problems"] == {(): 3}
    assert found["target_up"] == {("local",): 1, ("s3",): 0}
    assert ("s3",) not in found["target_backups"]
    assert found["last_success_timestamp_seconds"]["s3",] == (statuses.NIGHT - timedelta(days=2)).timestamp()
    assert found["last_run_exit_code"] == {("backup",): 5}


@pytest.mark.parametrize("made", [statuses.empty, statuses.unknown])
def test_nothing_yet_is_no_success_and_no_fault(made: object) -> None:
    assert callable(made)
    found = of(made())
    assert "last_success_age_seconds" not in found
    assert "last_run_exit_code" not in found


def test_the_newest_damaged_or_safety_backup_is_no_success() -> None:
    times = statuses.nights(5)
    shelf = statuses.shelf("local", times, damaged=(0,))
    found = of(statuses.status(look=Look(taken_at=statuses.NOW, shelves=[shelf])))
    assert found["last_success_timestamp_seconds"]["local",] == times[1].timestamp()


def test_a_backup_of_the_future_is_no_success_and_no_proof() -> None:
    future, last = statuses.NOW + timedelta(days=400), statuses.NIGHT - timedelta(days=2)
    # Every seventh is proven, from the third on.
    times = [future + timedelta(days=2), future + timedelta(days=1), future, last]
    found = of(statuses.status(look=Look(taken_at=statuses.NOW, shelves=[statuses.shelf("local", times)])))
    assert found["last_success_timestamp_seconds"]["local",] == last.timestamp()
    assert "newest_proven_timestamp_seconds" not in found
    away = Shelf(target="s3", problem="no answer")
    runs = [statuses.run(last), statuses.run(future)]
    found = of(statuses.status(look=Look(taken_at=statuses.NOW, shelves=[away]), runs=runs))
    assert found["last_success_timestamp_seconds"]["s3",] == last.timestamp()


def test_phases_bear_no_ids_and_are_added_up() -> None:
    name = str(statuses.backup_id(statuses.NIGHT, safety=True))
    assert fold(f"send {name} to s3") == "send to s3"
    assert fold(f"verify {name} on local") == "verify on local"
    assert fold("load the database") == "load the database"
    phases = [Phase(f"verify {statuses.backup_id(night)} on local", 1.5, 1000) for night in statuses.nights(50)]
    found = of(statuses.status(runs=[statuses.run(statuses.NIGHT, phases=phases)]))
    assert found["phase_duration_seconds"] == {("backup", "verify on local"): 75}
    assert found["phase_bytes"] == {("backup", "verify on local"): 50_000}


def test_phases_without_end_make_no_series_without_end() -> None:
    phases = [Phase(f"part {number}", 1) for number in range(500)]
    found = of(statuses.status(runs=[statuses.run(statuses.NIGHT, phases=phases)]))
    assert len(found["phase_duration_seconds"]) == 31
    assert found["phase_duration_seconds"]["backup", "other"] == 470


def test_runs_are_counted_from_the_beginning_on_and_never_back() -> None:
    runs = [statuses.run(statuses.NIGHT), statuses.failed_run(statuses.NIGHT)]
    later = statuses.NOW
    metrics = Metrics(lambda: statuses.status(runs=runs), later)
    # What ended before gives a count of zero, from which an increase can be seen.
    assert read(metrics.text())["runs_total"] == {("backup", "0"): 0, ("backup", "5"): 0}
    for minute in range(1, 4):
        runs.append(statuses.run(later + timedelta(minutes=minute), retries=2))
    runs.append(statuses.run(later + timedelta(minutes=9), exit_code=KILLED))
    counted = {("backup", "0"): 3, ("backup", "5"): 0, ("backup", "137"): 1}
    for kept in (runs[:], runs[:], runs[-1:], [], runs[-2:]):
        runs[:] = kept
        found = read(metrics.text())
        assert found["runs_total"] == counted
        assert found["retries_total"] == {("backup",): 6}


def test_a_name_with_quotes_breaks_no_line() -> None:
    shelf = Shelf(target='a "b"\n\\c')
    found = of(statuses.status(look=Look(taken_at=statuses.NOW, shelves=[shelf])))
    assert found["target_up"] == {(shelf.target,): 1}


def test_every_metric_is_documented_and_every_documented_one_is_there() -> None:
    document = (Path(__file__).parents[2] / "docs/monitoring.md").read_text()
    table = document.partition("## Metrics")[2]
    documented = {
        name
        for line in table.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    there = {
        name.removeprefix("kimai_backup_")
        for name in re.findall(r"^# TYPE (\w+)", Metrics(statuses.running).text().decode(), re.MULTILINE)
    }
    assert documented == there
    assert set(re.findall(r"kimai_backup_(\w+)", document)) - {""} <= there
