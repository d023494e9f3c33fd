"""What an S3 target costs, beside bare boto3 on the same store in the same run."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sidecar.manifest import BackupId
from sidecar.retention import Candidate, Policy, plan
from tests.support import seaweed
from tests.support.s3_names import NamesOnly

ROUNDS = 3
TRANSFERS = 5
SIZE = 1 << 30
SPEED_GOAL, MEMORY_GOAL, LIST_GOAL, REQUESTS_GOAL, PLAN_GOAL = 0.9, 128, 3.0, 35, 1.0
NOW = datetime(2026, 11, 22, 1, 10, tzinfo=UTC)

Found = tuple[str, str, str, bool]

_SHARED = """
import os, sys, time
from pathlib import Path
bucket, url, access, secret, file, folder = sys.argv[1:]
def tell(up, down):
    [peak] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
    print(up, down, int(peak) / 1024)
"""
BARE = (
    _SHARED
    + """
import boto3
client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id=access,
                      aws_secret_access_key=secret)
a = time.monotonic(); client.upload_file(file, bucket, "object")
b = time.monotonic(); client.download_file(bucket, "object", folder + "/fetched")
c = time.monotonic(); tell(b - a, c - b)
os.unlink(folder + "/fetched")
"""
)
OURS = (
    _SHARED
    + """
import hashlib
from sidecar.storage.s3 import Options, S3Storage
with open(file, "rb") as stream:
    digest = hashlib.file_digest(stream, "sha256").hexdigest()  # as a backup knows it: it wrote that file
s3 = S3Storage(Options(bucket, None, url, "us-east-1", access, secret), lambda: Path(folder))
a = time.monotonic(); s3.put("object", Path(file), digest)
b = time.monotonic(); stream = s3.open("object")
c = time.monotonic(); tell(b - a, c - b)
stream.close()
"""
)


def measure(folder: Path, say: Callable[[str], None]) -> Iterator[Found]:
    """The lines of the table: what, measured, goal, met."""
    file = folder / "1 GiB"
    with file.open("wb") as stream:
        for _ in range(SIZE >> 20):
            stream.write(os.urandom(1 << 20))
    bare, ours = [], []
    with seaweed.running(durable=True) as store:
        for number in range(TRANSFERS):
            # In turns, as what one leaves to be written to the disk slows the next.
            sides = [(BARE, bare), (OURS, ours)]
            for script, runs in sides if number % 2 else reversed(sides):
                os.sync()
                runs.append(_transfer(script, store, file, folder))
            say(f"  S3 {number + 1}: boto3 up {bare[-1][0]:5.2f} s, down {bare[-1][1]:5.2f} s; kimai-backup up"
                f" {ours[-1][0]:5.2f} s, down {ours[-1][1]:5.2f} s, {ours[-1][2]:.0f} MiB")  # fmt: skip
    for index, what in ((0, "upload_file / upload of 1 GiB"), (1, "download_file / download of 1 GiB")):
        theirs, own = (statistics.median(run[index] for run in runs) for runs in (bare, ours))
        ratio = theirs / own
        yield f"S3: {what}", f"{ratio:.2f}  ({theirs:.2f} s / {own:.2f} s)", f">= {SPEED_GOAL}", ratio >= SPEED_GOAL
    peak = max(run[2] for run in ours)
    yield "S3: up and down, peak memory", f"{peak:.0f} MiB", f"<= {MEMORY_GOAL} MiB", peak <= MEMORY_GOAL
    yield from _listing(folder)
    yield _planning()


def _transfer(script: str, store: seaweed.Store, file: Path, folder: Path) -> tuple[float, float, float]:
    """Seconds up, seconds down, peak memory in MiB; in a bucket that is empty before and gone afterwards."""
    bucket, client = store.bucket(), store.client()
    arguments = [bucket, store.url, store.key.access, store.key.secret, str(file), str(folder)]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    client.delete_object(Bucket=bucket, Key="object")
    client.delete_bucket(Bucket=bucket)
    up, down, peak = map(float, done.stdout.split())
    return up, down, peak


def _listing(folder: Path) -> Iterator[Found]:
    backups = [BackupId("prod", "2.66.0", NOW - timedelta(hours=number)) for number in range(10_000)]
    with NamesOnly(backups) as store:
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "BACKUP_INSTANCE": "prod",
            "BACKUP_DIR": "",
            "BACKUP_STATE_DIR": str(folder / "state"),
            "S3_BUCKET": "names",
            "S3_ENDPOINT_URL": store.url,
            "S3_ACCESS_KEY_ID": "key",
            "S3_SECRET_ACCESS_KEY": "secret",
        }
        command = [str(Path(sys.executable).with_name("kimai-backup")), "list"]
        took, requests = [], 0
        for _ in range(ROUNDS):
            store.requests.clear()
            began = time.monotonic()
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
            took.append(time.monotonic() - began)
            requests = max(requests, len(store.requests))
    seconds = statistics.median(took)
    yield "S3: list of 10000 backups", f"{seconds:.2f} s", f"<= {LIST_GOAL:g} s", seconds <= LIST_GOAL
    yield "S3: its requests", str(requests), f"<= {REQUESTS_GOAL}", requests <= REQUESTS_GOAL


def _planning() -> Found:
    candidates = [
        Candidate(BackupId("prod", "2.66.0", NOW - timedelta(hours=number)), number % 7 == 0)
        for number in range(100_000)
    ]
    took = []
    for _ in range(ROUNDS):
        began = time.monotonic()
        plan(candidates, Policy(60, 3, 14, 8, 12, 5), NOW, UTC)
        took.append(time.monotonic() - began)
    seconds = statistics.median(took)
    return "planning retention over 100000 backups", f"{seconds:.2f} s", f"<= {PLAN_GOAL:g} s", seconds <= PLAN_GOAL
