"""What killed runs leave on the targets: archives without a manifest, healed by the next run or named and kept."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sidecar.app import App
from tests.support.cli import DEADLINE, Site
from tests.support.http_faults import Answer, HttpProxy, Request
from tests.support.s3 import keys_in
from tests.support.seaweed import Store

BETWEEN_ZIP_AND_MANIFEST = """
import os, signal, sys
from datetime import datetime, timedelta
from sidecar import backup, making
from sidecar.__main__ import main
from sidecar.storage.local import LocalStorage
from sidecar.storage.s3 import S3Storage

target, hours = {"local": LocalStorage, "s3": S3Storage}[sys.argv[1]], int(sys.argv[2])

class Earlier(datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) - timedelta(hours=hours)

def put(self, key, source, sha256=None, real=target.put):
    if key.endswith(".json"):
        os.kill(os.getpid(), signal.SIGKILL)
    real(self, key, source, sha256)

backup.datetime = making.datetime = Earlier
target.put = put
sys.argv[1:] = ["backup"]
main()
"""
OLD = "20200101T010203Z"


def killed_before_its_manifest(site: Site, target: str, *, hours: int = 0) -> None:
    """A backup of so many hours ago that was killed when its archive lay on the target, and nothing else."""
    command = [sys.executable, "-c", BETWEEN_ZIP_AND_MANIFEST, target, str(hours)]
    ran = subprocess.run(command, env=site.environment, capture_output=True, timeout=DEADLINE, check=False)
    assert ran.returncode == -signal.SIGKILL, ran.stderr.decode()


def stems(names: list[str], suffix: str) -> list[str]:
    return sorted(name.removesuffix(suffix) for name in names if name.endswith(suffix) and not name.startswith("."))


def assert_whole(names: list[str], count: int) -> None:
    assert len(stems(names, ".zip")) == count, names
    assert stems(names, ".zip") == stems(names, ".json")


def put(store: Store, bucket: str, key: str, data: bytes) -> None:
    store.client().put_object(Bucket=bucket, Key=f"kimai/backups/{key}", Body=data)


def test_killed_before_the_manifest_here(offsite: Site, s3_store: Store, bucket: str) -> None:
    killed_before_its_manifest(offsite, "local")
    [orphan] = stems(offsite.shelf(), ".zip")
    assert (offsite.ids(), keys_in(s3_store, bucket)) == ([], [])
    listed = offsite.run("list").err
    assert f"{orphan}.zip on local has no manifest: backup and prune mend that, or say why not" in listed
    ran = offsite.run("backup")
    assert ran.code == 0, ran.said
    assert f"{orphan}.zip on local had no manifest: checked, and published again" in ran.err
    assert_whole(offsite.shelf(), 2)
    # What is one again is sent after like any other.
    assert_whole(keys_in(s3_store, bucket), 2)
    assert offsite.run("verify").code == 0
    assert offsite.run("show", orphan).code == 0


def test_killed_before_the_manifest_there(offsite: Site, s3_store: Store, bucket: str) -> None:
    offsite.extra["BACKUP_DIR"] = ""
    (offsite.root / "var/data/large.bin").write_bytes(os.urandom(20 << 20))  # it comes back in parts
    killed_before_its_manifest(offsite, "s3", hours=49)
    [name] = keys_in(s3_store, bucket)
    ran = offsite.run("backup")
    assert ran.code == 0, ran.said
    assert f"{name} on s3 had no manifest: checked, and published again" in ran.err
    assert_whole(keys_in(s3_store, bucket), 2)
    ran = offsite.run("verify", "--json")
    assert (ran.code, [row["whole"] for row in ran.json()]) == (0, [True, True])
    assert list((offsite.state / "spool").iterdir()) == []


def test_one_that_is_not_a_day_old_there_is_left_to_who_sent_it(offsite: Site, s3_store: Store, bucket: str) -> None:
    offsite.extra["BACKUP_DIR"] = ""
    killed_before_its_manifest(offsite, "s3")
    before = keys_in(s3_store, bucket)
    ran = offsite.run("prune")
    assert ran.code == 0, ran.said
    assert "it is not a day old" in ran.out
    assert keys_in(s3_store, bucket) == before


def test_killed_before_the_manifest_there_with_a_whole_one_here(offsite: Site, s3_store: Store, bucket: str) -> None:
    killed_before_its_manifest(offsite, "s3")
    assert len(offsite.ids()) == 1
    offsite.backup()
    assert_whole(keys_in(s3_store, bucket), 2)
    assert offsite.run("verify").code == 0


def test_prune_heals_it_as_well_and_its_dry_run_tells(offsite: Site, s3_store: Store, bucket: str) -> None:
    killed_before_its_manifest(offsite, "local", hours=49)
    [name] = [name for name in offsite.shelf() if name.endswith(".zip")]
    put(s3_store, bucket, name, (offsite.backups / name).read_bytes())
    before = offsite.shelf()
    for command in (("prune", "--dry-run"), ("backup", "--dry-run")):
        ran = offsite.run(*command)
        assert ran.code == 0, ran.said
        for target in ("local", "s3"):
            assert f"{name} on {target} has no manifest: would be checked and published again" in ran.out
    assert (offsite.shelf(), keys_in(s3_store, bucket)) == (before, [name])
    ran = offsite.run("prune", "--json")
    assert (ran.code, ran.json()) == (0, []), ran.said
    assert_whole(offsite.shelf(), 1)
    assert_whole(keys_in(s3_store, bucket), 1)
    rows = offsite.run("prune", "--json").json()
    assert [(row["target"], row["id"], row["keep"]) for row in rows] == [
        (target, name[:-4], True) for target in ("local", "s3")
    ]
    assert offsite.run("verify").code == 0


def test_what_is_not_whole_stays_and_is_fetched_once(offsite: Site, s3_store: Store, bucket: str) -> None:
    """One that was cut, one with another's manifest, one of somebody else: each run names them, none reads twice."""
    made = offsite.backup()
    data = (offsite.backups / f"{made}.zip").read_bytes()
    cut, other = f"{made[:-16]}{OLD}.zip", f"{made[:-16]}20200102T010203Z.zip"
    foreign = "kimai_other_2.66.0_20200101T010203Z.zip"
    for name, content in ((cut, data[:-100]), (other, data), (foreign, data), ("holiday.zip", b"x")):
        put(s3_store, bucket, name, content)
        (offsite.backups / name).write_bytes(content)
    with HttpProxy(s3_store.port) as proxy:
        offsite.extra["S3_ENDPOINT_URL"] = proxy.url
        for command in ("backup", "prune", "backup"):
            ran = offsite.run(command)
            assert ran.code == 0, ran.said
            for target in ("local", "s3"):
                assert f"{cut} on {target} has no manifest and is left alone: " in ran.err
                assert f"{other} on {target} has no manifest and is left alone: the manifest inside is that" in ran.err
            assert foreign not in ran.said
            assert "holiday" not in ran.said
        assert asked_for(proxy, cut) == asked_for(proxy, other) == 1
        assert asked_for(proxy, foreign) == 0
        # Whoever asks gets a look, and so does the next run.
        assert offsite.run("verify").code == 7
        offsite.run("prune")
        assert asked_for(proxy, cut) == 3
    names = keys_in(s3_store, bucket)
    assert {cut, other, foreign, "holiday.zip"} <= set(names) & set(offsite.shelf())
    assert not {name for name in names if name.endswith(".json")} & {f"{cut[:-4]}.json", f"{other[:-4]}.json"}


def asked_for(proxy: HttpProxy, key: str) -> int:
    return sum(each.method == "GET" and each.path.partition("?")[0].endswith(key) for each in proxy.requests)


def test_a_store_that_falls_silent_on_the_way_is_a_failed_target(offsite: Site, s3_store: Store, bucket: str) -> None:
    killed_before_its_manifest(offsite, "s3", hours=49)
    [name] = [name for name in keys_in(s3_store, bucket) if name.endswith(".zip")]

    def choose(request: Request) -> Answer | None:
        silent = request.method == "GET" and request.path.partition("?")[0].endswith(name)
        return Answer(503, "SlowDown") if silent else None

    with HttpProxy(s3_store.port, choose) as proxy:
        ran = offsite.run("backup", S3_ENDPOINT_URL=proxy.url)
    assert ran.code == 3, ran.said
    assert "nothing is pruned: a target failed" in ran.err
    assert name in keys_in(s3_store, bucket)
    offsite.backup()
    assert_whole(keys_in(s3_store, bucket), 3)


# ── What is half made ────────────────────────────────────────────────────────────────────────────────────────


def test_prune_removes_what_is_half_made_and_its_dry_run_tells(offsite: Site, s3_store: Store, bucket: str) -> None:
    killed_before_its_manifest(offsite, "local")
    [temporary] = [name for name in offsite.shelf() if name.startswith(".")]
    other = temporary.replace("kimai_kimai_", "kimai_other_")
    (offsite.backups / other).write_bytes(b"another instance's")
    spool = offsite.state / "spool"
    fetched, young = spool / "fetched-old", spool / "fetched-young"
    for folder in (fetched, young):
        folder.mkdir()
        (folder / "x.zip").write_bytes(b"x")
    os.utime(fetched, (0, 0))
    dry = offsite.run("prune", "--dry-run")
    assert dry.code == 0, dry.said
    for left in (offsite.backups / temporary, fetched):
        assert f"{left} would be removed: a run that was killed left it" in dry.out
        assert left.exists()
    ran = offsite.run("prune")
    assert ran.code == 0, ran.said
    for left in (offsite.backups / temporary, fetched):
        assert f"{left} is removed: a run that was killed left it" in ran.out
        assert not left.exists()
    assert other in offsite.shelf()
    assert young.exists()
    assert "killed" not in offsite.run("prune").said


def test_an_upload_of_ours_that_was_begun_long_ago_is_given_up(
    offsite: Site, s3_store: Store, bucket: str, tmp_path: Path
) -> None:
    client, key = s3_store.client(), f"kimai_kimai_2.66.0_{OLD}.zip"
    finished = f"kimai_kimai_2.65.0_{OLD}.zip"
    for name in (key, finished, f"kimai_other_2.66.0_{OLD}.zip"):
        client.create_multipart_upload(Bucket=bucket, Key=f"kimai/backups/{name}")
    put(s3_store, bucket, finished, b"x")
    targets = App.load(offsite.environment).targets
    later = datetime.now(UTC) + timedelta(days=2)
    # Nobody waits for a day to pass, and by the command's own clock it is of today.
    assert "the upload of" not in offsite.run("prune").said
    assert targets.sweep(later, dry_run=True) == [f"the upload of {key}"]
    assert len(client.list_multipart_uploads(Bucket=bucket)["Uploads"]) == 3
    assert targets.sweep(later) == [f"the upload of {key}"]
    assert len(client.list_multipart_uploads(Bucket=bucket)["Uploads"]) == 2


def test_a_folder_that_is_gone_ends_a_prune_as_before(site: Site) -> None:
    site.backups.rmdir()
    ran = site.run("prune", "--json")
    assert (ran.code, ran.json()) == (6, [])
    assert "does not exist" in ran.err
