"""What 10,000 backups in an S3 store cost: requests by the page, never one a backup."""

import json
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sidecar.catalog import catalog
from sidecar.manifest import BackupId
from sidecar.prune import prune
from sidecar.retention import Policy
from sidecar.storage.s3 import Options, S3Storage
from tests.support.cli import COMMAND
from tests.support.s3_names import NamesOnly

pytestmark = pytest.mark.slow

NOW = datetime(2026, 11, 22, 1, 10, tzinfo=UTC)
BACKUPS = [BackupId("prod", "2.66.0", NOW - timedelta(hours=number)) for number in range(10_000)]


def storage(store: NamesOnly) -> S3Storage:
    return S3Storage(Options("names", None, store.url, "us-east-1", "key", "secret", timeout=10), lambda: Path("/"))


def test_listing_10000_backups_is_30_requests() -> None:
    with NamesOnly(BACKUPS) as store:
        listing = catalog([storage(store)], "prod")
    assert [backup.id for backup in listing.backups] == BACKUPS
    assert all(backup.proven for backup in listing.backups)
    assert len(store.requests) == 30


def test_the_command_list_is_at_most_35_requests(tmp_path: Path) -> None:
    with NamesOnly(BACKUPS) as store:
        environment = {
            "PATH": os.environ["PATH"],
            "BACKUP_INSTANCE": "prod",
            "BACKUP_DIR": "",
            "BACKUP_STATE_DIR": str(tmp_path),
            "S3_BUCKET": "names",
            "S3_ENDPOINT_URL": store.url,
            "S3_ACCESS_KEY_ID": "key",
            "S3_SECRET_ACCESS_KEY": "secret",
        }
        done = subprocess.run([COMMAND, "list", "--json"], env=environment, capture_output=True, check=True, timeout=60)
    rows = json.loads(done.stdout)
    assert len(rows) == 10_000
    assert all(row["proven"] for row in rows)
    assert rows[0]["proven_at"] == "2026-11-22T02:00:00Z"
    assert len(store.requests) <= 35


def test_pruning_10000_backups_asks_for_the_few_manifests_that_it_rests_on() -> None:
    policy = Policy(days=0, min_keep=3)
    with NamesOnly(BACKUPS) as store:
        [result] = prune([storage(store)], "prod", lambda _: policy, NOW, UTC, dry_run=True)
    assert len(result.decisions) == 10_000
    assert all(decision.keep for decision in result.decisions)
    assert len(store.requests) == 30 + 3
