"""Metrics, alert rules and scrape configuration of docs/monitoring.md, read by Prometheus' own tool."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.report.metrics import Metrics
from sidecar.status import Status
from tests.support import statuses

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/monitoring.md").read_text()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
RULES = next(block for block in BLOCKS if block.startswith("groups:"))
ALERTS = re.findall(r"alert: (\w+)", RULES)
HOUR = 3600

# Where all is well at the 200th hour, by series, a value each five minutes: Prometheus forgets one that is older.
WELL = {
    'up{job="kimai-backup"}': "1x2400",
    "kimai_backup_healthy": "1x2400",
    'kimai_backup_target_up{target="s3"}': "1x2400",
    'kimai_backup_target_backups{target="s3"}': "60x2400",
    'kimai_backup_target_damaged_backups{target="s3"}': "0x2400",
    'kimai_backup_last_success_timestamp_seconds{target="s3"}': f"{190 * HOUR}x2400",
    'kimai_backup_newest_proven_timestamp_seconds{target="s3"}': f"{100 * HOUR}x2400",
    'kimai_backup_last_run_exit_code{command="backup"}': "0x2400",
    "kimai_backup_last_backup_size_bytes": "150000000x2400",
    "kimai_backup_look_timestamp_seconds": "0+300x2400",
}
CHANGES: dict[str, dict[str, str]] = {
    "": {},
    "KimaiBackupAway": {'up{job="kimai-backup"}': "1x2280 0x120"},
    "KimaiBackupTooOld": {'kimai_backup_last_success_timestamp_seconds{target="s3"}': f"{170 * HOUR}x2400"},
    "KimaiBackupMissing": {'kimai_backup_last_success_timestamp_seconds{target="s3"}': ""},
    "KimaiBackupRunFailed": {'kimai_backup_last_run_exit_code{command="backup"}': "0x2280 5x120"},
    "KimaiBackupBlind": {"kimai_backup_look_timestamp_seconds": f"0+300x2376 {198 * HOUR}x23"},
    "KimaiBackupTargetUnreachable": {'kimai_backup_target_up{target="s3"}': "1x2280 0x120"},
    "KimaiBackupNotProven": {'kimai_backup_newest_proven_timestamp_seconds{target="s3"}': "-360000x2400"},
    "KimaiBackupDamaged": {'kimai_backup_target_damaged_backups{target="s3"}': "0x2280 1x120"},
    "KimaiBackupShrank": {"kimai_backup_last_backup_size_bytes": "150000000x2280 60000000x120"},
    "KimaiBackupUnhealthy": {"kimai_backup_healthy": "1x2280 0x120"},
}


def promtool(*arguments: str, text: bytes = b"", cwd: Path | None = None) -> str:
    """What it prints; a fault or a warning of it is a failure."""
    program = shutil.which("promtool") or str(ROOT / ".venv/promtool/usr/bin/promtool")
    ended = subprocess.run([program, *arguments], input=text, cwd=cwd, capture_output=True, timeout=60, check=False)
    said = (ended.stdout + ended.stderr).decode()
    assert ended.returncode == 0, said
    return said


@pytest.mark.parametrize(
    "made", [statuses.healthy, statuses.failing, statuses.empty, statuses.running, statuses.unknown, statuses.large]
)
def test_the_metrics_have_no_fault_that_prometheus_knows_of(made: Callable[[], Status]) -> None:
    assert promtool("check", "metrics", text=Metrics(made).text()) == ""


def test_the_rules_can_be_pasted(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(RULES)
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", "rules.yml", cwd=tmp_path)


def test_the_scrape_configuration_can_be_pasted(tmp_path: Path) -> None:
    block = next(block for block in BLOCKS if block.startswith("scrape_configs:"))
    (tmp_path / "prometheus.yml").write_text(block)
    assert "SUCCESS" in promtool("check", "config", "prometheus.yml", cwd=tmp_path)


def test_every_alert_has_its_story() -> None:
    assert list(CHANGES) == ["", *ALERTS]


@pytest.mark.parametrize("alert", CHANGES, ids=lambda name: name or "all is well")
def test_each_alert_fires_for_its_own_reason_and_no_other_does(tmp_path: Path, alert: str) -> None:
    assert_fires(tmp_path, alert, CHANGES[alert])


def test_what_was_done_by_hand_and_refused_fires_nothing(tmp_path: Path) -> None:
    by_hand = {f'kimai_backup_last_run_exit_code{{command="{each}"}}': "8x2400" for each in ("restore", "prune")}
    assert_fires(tmp_path, "", by_hand)


@pytest.mark.parametrize("command", ["verify", "drill"])
def test_what_runs_by_itself_and_fails_fires(tmp_path: Path, command: str) -> None:
    failed = {f'kimai_backup_last_run_exit_code{{command="{command}"}}': "7x2400"}
    assert_fires(tmp_path, "KimaiBackupRunFailed", failed)


def test_targets_that_were_never_looked_at_fire(tmp_path: Path) -> None:
    assert_fires(tmp_path, "KimaiBackupBlind", {"kimai_backup_look_timestamp_seconds": ""})


def assert_fires(tmp_path: Path, alert: str, changes: dict[str, str]) -> None:
    (tmp_path / "rules.yml").write_text(RULES)
    series = [
        f"      - series: '{name}'\n        values: '{values}'\n"
        for name, values in {**WELL, **changes}.items()
        if values
    ]
    expected = f"""[{{labels: '{{alertname="{alert}"}}', value: 1}}]""" if alert else "[]"
    (tmp_path / "test.yml").write_text(
        f"""rule_files: [rules.yml]
evaluation_interval: 5m
tests:
  - interval: 5m
    input_series:
{"".join(series)}
    promql_expr_test:
      - expr: count by (alertname) (ALERTS{{alertstate="firing"}})
        eval_time: 200h
        exp_samples: {expected}
"""
    )
    assert "SUCCESS" in promtool("test", "rules", "test.yml", cwd=tmp_path)
