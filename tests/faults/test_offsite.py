"""Two targets, and what befalls the one that is far away: whole commands against a real S3 store."""

import json
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sidecar.manifest import BackupId
from tests.support.cli import Ran, Site, poll
from tests.support.http_faults import Answer, HttpProxy, first
from tests.support.proxy import Proxy
from tests.support.s3 import s3_storage
from tests.support.seaweed import REGION, Store
from tests.support.servers import free_port
from tests.support.shelf import backup_id, shelve


@pytest.fixture
def offsite(site: Site, s3_store: Store, bucket: str, tmp_path: Path) -> Site:
    """A site with both targets; the key to the second lies in a file, as a secret does."""
    (tmp_path / "secret").write_text(s3_store.key.secret + "\n")
    site.extra |= {
        "S3_BUCKET": bucket,
        "S3_PREFIX": "kimai/backups",
        "S3_ENDPOINT_URL": s3_store.url,
        "S3_REGION": REGION,
        "S3_ACCESS_KEY_ID": s3_store.key.access,
        "S3_SECRET_ACCESS_KEY_FILE": str(tmp_path / "secret"),
        "RETRY_DEADLINE": "2",
    }
    return site


def in_bucket(store: Store, bucket: str) -> list[str]:
    found = store.client().list_objects_v2(Bucket=bucket).get("Contents", [])
    return sorted(each["Key"].removeprefix("kimai/backups/") for each in found)


def ids_in(names: list[str]) -> list[str]:
    return sorted(name[:-4] for name in names if name.endswith(".zip") and f"{name[:-4]}.json" in names)


def rows(ran: Ran) -> Any:
    assert ran.code == 0, ran.said
    return ran.json()


def nowhere() -> str:
    return f"http://127.0.0.1:{free_port()}"


def test_a_backup_lies_on_both_targets_and_is_one_row(offsite: Site, s3_store: Store, bucket: str) -> None:
    made = offsite.backup()
    assert ids_in(in_bucket(s3_store, bucket)) == [made]
    [row] = rows(offsite.run("list", "--json"))
    assert (row["id"], row["targets"]) == (made, ["local", "s3"])
    assert [(each["target"], each["whole"]) for each in rows(offsite.run("verify", "--json"))] == [
        ("local", True),
        ("s3", True),
    ]
    assert s3_store.key.secret not in offsite.run("config").said


def test_s3_alone_is_enough_for_every_command(offsite: Site, s3_store: Store, bucket: str) -> None:
    offsite.extra["BACKUP_DIR"] = ""
    offsite.remember()
    found = {row["what"]: row for row in rows(offsite.run("doctor", "--json"))}
    assert f"bytes free in {offsite.state}" in found["room"]["seen"]
    ran = offsite.run("backup")
    assert ran.code == 0, ran.said
    assert offsite.shelf() == []
    [row] = rows(offsite.run("list", "--json"))
    assert row["targets"] == ["s3"]
    assert rows(offsite.run("show", "latest", "--json"))["id"] == row["id"]
    assert rows(offsite.run("verify", "latest", "--json"))[0]["whole"]
    offsite.lose_all()
    ran = offsite.run("restore", "latest")
    assert ran.code == 0, ran.said
    offsite.assert_restored()
    assert list((offsite.state / "spool").iterdir()) == []


def test_what_s3_missed_in_three_runs_is_there_after_the_next(offsite: Site, s3_store: Store, bucket: str) -> None:
    made = [offsite.backup(code=3, S3_ENDPOINT_URL=nowhere(), RETRY_DEADLINE="0") for _ in range(3)]
    assert in_bucket(s3_store, bucket) == []
    made.append(offsite.backup())
    assert ids_in(in_bucket(s3_store, bucket)) == sorted(made)
    assert all(row["whole"] for row in rows(offsite.run("verify", "--json")))
    ran = offsite.run("backup")
    assert "had missed" not in ran.said


def test_what_is_still_to_be_sent_is_told_by_exit_3_and_not_pruned(
    offsite: Site, s3_store: Store, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sidecar import backup as use_case
    from sidecar.app import App
    from sidecar.report.progress import progress

    old = backup_id("20200101", instance="kimai")
    shelve_local(offsite, old)
    keeping = {"RETENTION_DAYS": "1", "RETENTION_MIN_KEEP": "1", "S3_RETENTION_DAYS": "0"}
    monkeypatch.setattr("sidecar.missed.HOURS", 0)
    with progress(quiet=True) as quiet:
        outcome = use_case.backup(App.load(offsite.environment | keeping).backup_job(quiet))
    assert (outcome.left, outcome.exit_code, outcome.not_pruned) == ([old], 3, None)
    assert ids_in(in_bucket(s3_store, bucket)) == [outcome.manifest.id]
    assert str(old) in offsite.ids()


def test_what_s3_would_not_keep_is_not_sent_after(offsite: Site, s3_store: Store, bucket: str) -> None:
    for day in ("20200101", "20200102"):
        shelve_local(offsite, backup_id(day, instance="kimai"))
    made = offsite.backup("--no-prune", S3_RETENTION_DAYS="1", S3_RETENTION_MIN_KEEP="1")
    assert ids_in(in_bucket(s3_store, bucket)) == [made]


def shelve_local(site: Site, wanted: BackupId) -> None:
    from sidecar.storage.local import LocalStorage

    shelve(LocalStorage(site.backups), wanted)


def test_a_damaged_copy_is_not_sent_and_is_told(offsite: Site, s3_store: Store, bucket: str) -> None:
    broken = offsite.backup(code=3, S3_ENDPOINT_URL=nowhere(), RETRY_DEADLINE="0")
    path = offsite.backups / f"{broken}.zip"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    ran = offsite.run("backup")
    assert ran.code == 3
    assert f"{broken} is not sent to s3" in ran.said
    assert broken not in ids_in(in_bucket(s3_store, bucket))


def test_what_is_found_damaged_takes_no_place_in_that_run_nor_in_later_ones(offsite: Site) -> None:
    old = backup_id("20200101", instance="kimai")
    shelve_local(offsite, old)
    keeping = {"RETENTION_DAYS": "1", "RETENTION_MIN_KEEP": "2", "S3_RETENTION_MIN_KEEP": "1"}
    broken = offsite.backup("--no-prune", code=3, S3_ENDPOINT_URL=nowhere(), RETRY_DEADLINE="0")
    spoil(offsite, broken)
    ran = offsite.run("backup", **keeping)
    assert ran.code == 3
    assert str(old) in offsite.ids(), ran.said
    ran = offsite.run("prune", **keeping)
    assert f"kept, but not counted: `kimai-backup verify {broken}`" in ran.out
    assert str(old) in offsite.ids(), ran.said
    # Whole again: nobody but who reads it can know.
    spoil(offsite, broken)
    offsite.run("verify", broken)
    assert offsite.run("prune", **keeping).code == 0
    assert str(old) not in offsite.ids()


def test_what_verify_finds_damaged_takes_no_place_among_the_newest(site: Site) -> None:
    keeping = {"RETENTION_DAYS": "1", "RETENTION_MIN_KEEP": "2"}
    old = backup_id("20200101", instance="kimai")
    shelve_local(site, old)
    broken, _ = [site.backup("--no-prune", **keeping) for _ in range(2)]
    spoil(site, broken)
    assert site.run("verify", broken, **keeping).code == 7
    # A look at what has no manifest must not forget it.
    for _ in range(2):
        assert site.run("prune", **keeping).code == 0
    assert str(old) in site.ids()


def spoil(site: Site, broken: str) -> None:
    """Turn one bit of the archive over; done twice, it is whole again."""
    path = site.backups / f"{broken}.zip"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_damage_here_falls_through_to_the_copy_there(offsite: Site) -> None:
    offsite.remember()
    made = offsite.backup()
    path = offsite.backups / f"{made}.zip"
    path.write_bytes(path.read_bytes()[:-1])
    ran = offsite.run("verify")
    assert ran.code == 7
    offsite.lose_all()
    ran = offsite.run("restore", "latest")
    assert ran.code == 0, ran.said
    assert "the copy on local is passed over" in ran.out
    offsite.assert_restored()


def test_a_manifest_that_is_damaged_here_is_shown_from_there(offsite: Site) -> None:
    made = offsite.backup()
    (offsite.backups / f"{made}.json").write_text("{}")
    ran = offsite.run("show", made, "--json")
    assert rows(ran)["id"] == made
    assert "looking at the next target" in ran.err


def test_each_target_has_its_own_retention(offsite: Site, s3_store: Store, bucket: str, tmp_path: Path) -> None:
    old = [backup_id(f"2020010{day}", instance="kimai") for day in (1, 2, 3)]
    s3 = s3_storage(s3_store, tmp_path, bucket=bucket)
    for each in old:
        shelve_local(offsite, each)
        shelve(s3, each)
    made = offsite.backup(RETENTION_MIN_KEEP="1", RETENTION_DAYS="1", S3_RETENTION_MIN_KEEP="3")
    assert offsite.ids() == [made]
    assert ids_in(in_bucket(s3_store, bucket)) == sorted([made, *map(str, old[1:])])


def test_what_is_locked_there_is_kept_with_that_reason(site: Site, s3_store: Store, offsite: Site) -> None:
    bucket = s3_store.bucket(locking=True)
    locking = {"S3_BUCKET": bucket, "S3_OBJECT_LOCK_MODE": "GOVERNANCE", "S3_OBJECT_LOCK_DAYS": "3", "BACKUP_DIR": ""}
    offsite.extra |= locking
    for _ in range(2):
        assert offsite.run("backup").code == 0
    # Nobody waits for a day to pass: what is an hour old becomes what is years old by its name alone.
    client = s3_store.client()
    [newer, older] = [row["id"] for row in offsite.run("list", "--json").json()]
    ran = offsite.run("prune", "--dry-run", "--json", S3_RETENTION_DAYS="1", S3_RETENTION_MIN_KEEP="1")
    assert {row["id"]: row["keep"] for row in rows(ran)} == {newer: True, older: True}
    old = "kimai_kimai_2.66.0_20200101T000000Z"
    zipped = client.get_object(Bucket=bucket, Key=f"kimai/backups/{older}.zip")["Body"].read()
    manifest = client.get_object(Bucket=bucket, Key=f"kimai/backups/{older}.json")["Body"].read()
    manifest = json.dumps(json.loads(manifest) | {"id": old}).encode()
    until = client.head_object(Bucket=bucket, Key=f"kimai/backups/{older}.zip")["ObjectLockRetainUntilDate"]
    for key, data in ((f"{old}.zip", zipped), (f"{old}.json", manifest)):
        client.put_object(
            Bucket=bucket,
            Key=f"kimai/backups/{key}",
            Body=data,
            ObjectLockMode="GOVERNANCE",
            ObjectLockRetainUntilDate=until,
        )
    ran = offsite.run("prune", S3_RETENTION_DAYS="1", S3_RETENTION_MIN_KEEP="1")
    assert ran.code == 0
    assert f"locked until {until:%Y-%m-%d %H:%M} UTC by the store" in ran.out
    assert old in ids_in(in_bucket(s3_store, bucket))


def test_without_the_local_folder_s3_still_gets_its_backup(offsite: Site, s3_store: Store, bucket: str) -> None:
    offsite.backups.rmdir()
    ran = offsite.run("backup")
    assert ran.code == 3, ran.said
    assert "does not exist" in ran.said
    assert len(ids_in(in_bucket(s3_store, bucket))) == 1
    assert list((offsite.state / "spool").iterdir()) == []


# ── What befalls the store ───────────────────────────────────────────────────────────────────────────────────


def missed(site: Site, store: Store, bucket: str, says: str, **settings: str) -> None:
    """A run whose S3 target fails: told, exit code 3, nothing pruned or published in part; the next one heals it."""
    old = backup_id("20200101", instance="kimai")
    shelve_local(site, old)
    ran = site.run("backup", RETENTION_DAYS="1", RETENTION_MIN_KEEP="1", **settings)
    assert ran.code == 3, ran.said
    assert says in ran.said, ran.said
    assert "nothing is pruned" in ran.said
    assert str(old) in site.ids()
    assert ids_in(in_bucket(store, bucket)) == []
    assert not [name for name in in_bucket(store, bucket) if name.endswith(".json")]
    site.backup(RETENTION_DAYS="1", RETENTION_MIN_KEEP="1", S3_RETENTION_DAYS="60")
    assert len(ids_in(in_bucket(store, bucket))) >= 2
    assert str(old) not in site.ids()


def test_refused_connections(offsite: Site, s3_store: Store, bucket: str) -> None:
    missed(offsite, s3_store, bucket, "Could not connect", S3_ENDPOINT_URL=nowhere())


def test_a_wrong_key(offsite: Site, s3_store: Store, bucket: str) -> None:
    offsite.extra["S3_SECRET_ACCESS_KEY_FILE"], right = "", offsite.extra["S3_SECRET_ACCESS_KEY_FILE"]
    ran = offsite.run("backup", S3_SECRET_ACCESS_KEY="wrong-secret-key", RETRY_DEADLINE="300")
    assert ran.code == 3, ran.said
    assert "SignatureDoesNotMatch" in ran.said
    assert "trying to" not in ran.said
    assert "wrong-secret-key" not in ran.said
    offsite.extra["S3_SECRET_ACCESS_KEY_FILE"] = right
    offsite.backup()
    assert len(ids_in(in_bucket(s3_store, bucket))) == 2


def test_a_missing_bucket_on_its_own_ends_the_command(offsite: Site) -> None:
    ran = offsite.run("list", S3_BUCKET="there-is-none", BACKUP_DIR="", RETRY_DEADLINE="300")
    assert ran.code == 6
    assert "NoSuchBucket" in ran.errors[0]
    assert "it is never created" in ran.errors[0]


def test_a_key_that_may_only_read(offsite: Site, s3_store: Store, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "reader").write_text(s3_store.reader.secret)
    reader = {"S3_ACCESS_KEY_ID": s3_store.reader.access, "S3_SECRET_ACCESS_KEY_FILE": str(tmp_path / "reader")}
    missed(offsite, s3_store, bucket, "AccessDenied", **reader)


@pytest.mark.parametrize(
    ("answer", "says"),
    [(Answer(500, "InternalError"), "InternalError"), (Answer(503, "SlowDown"), "SlowDown")],
    ids=["500", "503"],
)
def test_a_burst_of_faults_is_sat_out(offsite: Site, s3_store: Store, bucket: str, answer: Answer, says: str) -> None:
    with HttpProxy(s3_store.port, first(5, answer)) as proxy:
        made = offsite.backup(S3_ENDPOINT_URL=proxy.url, RETRY_DEADLINE="60")
    assert ids_in(in_bucket(s3_store, bucket)) == [made]


@pytest.mark.parametrize("code", ["ExpiredToken", "RequestTimeTooSkewed"])
def test_an_expired_key_or_a_wrong_clock_is_not_asked_twice(
    offsite: Site, s3_store: Store, bucket: str, code: str
) -> None:
    with HttpProxy(s3_store.port, lambda request: Answer(403, code)) as proxy:
        missed(offsite, s3_store, bucket, code, S3_ENDPOINT_URL=proxy.url, RETRY_DEADLINE="300")


@pytest.mark.parametrize("method", ["PUT", "HEAD"])
def test_faults_that_last(offsite: Site, s3_store: Store, bucket: str, method: str) -> None:
    def choose(request: Any) -> Answer | None:
        return Answer(503, "ServiceUnavailable") if request.method == method else None

    with HttpProxy(s3_store.port, choose) as proxy:
        missed(offsite, s3_store, bucket, "503" if method == "HEAD" else "Unavailable", S3_ENDPOINT_URL=proxy.url)


@pytest.mark.parametrize("after", [1, 2000, 5000])
def test_a_line_that_breaks(offsite: Site, s3_store: Store, bucket: str, after: int) -> None:
    """Bytes from the store: at the first, in the middle of the run, and late in it."""
    with Proxy("127.0.0.1", s3_store.port) as proxy:
        proxy.cut_after = after
        ran = offsite.run("backup", S3_ENDPOINT_URL=f"http://127.0.0.1:{proxy.port}")
    assert ran.code in (0, 3), ran.said
    names = in_bucket(s3_store, bucket)
    published = {name for name in names if name.endswith(".json")}
    assert published <= {f"{each}.json" for each in ids_in(names)}
    offsite.backup()
    assert ids_in(in_bucket(s3_store, bucket)) == offsite.ids()


def test_a_stall_ends(offsite: Site, s3_store: Store, bucket: str) -> None:
    with Proxy("127.0.0.1", s3_store.port) as proxy:
        proxy.cut_after, proxy.hang = 1, True
        missed(offsite, s3_store, bucket, "timeout", S3_ENDPOINT_URL=f"http://127.0.0.1:{proxy.port}")


def test_sigterm_ends_a_wait_for_the_store(offsite: Site) -> None:
    process = offsite.start("list", BACKUP_DIR="", S3_ENDPOINT_URL=nowhere(), RETRY_DEADLINE="600", LOG_FORMAT="json")
    assert process.stderr is not None
    line = poll(process.stderr.readline, "the first line of the log")
    assert b"trying to list the backups again" in line
    process.send_signal(signal.SIGTERM)
    ran = offsite.ended(process, 10)
    assert ran.code == 130


def test_sigterm_ends_a_backup_though_what_it_takes_back_is_refused(offsite: Site, s3_store: Store) -> None:
    def choose(request: Any) -> Answer | None:
        return Answer(503, "SlowDown") if request.method in ("PUT", "DELETE") else None

    with HttpProxy(s3_store.port, choose) as proxy:
        process = offsite.start("backup", S3_ENDPOINT_URL=proxy.url, RETRY_DEADLINE="40", LOG_FORMAT="json")
        assert process.stderr is not None
        while b"trying to store" not in poll(process.stderr.readline, "a line of the log"):
            pass
        process.send_signal(signal.SIGTERM)
        ran = offsite.ended(process, 10)
    assert ran.code == 130, ran.said


def test_sigterm_ends_a_request_that_nobody_answers(offsite: Site, s3_store: Store) -> None:
    """What its handler raises comes out, though botocore takes every exception for a fault of the line."""
    with Proxy("127.0.0.1", s3_store.port) as proxy:
        proxy.hold_after(1, from_server=True)
        url = f"http://127.0.0.1:{proxy.port}"
        process = offsite.start("list", BACKUP_DIR="", S3_ENDPOINT_URL=url, RETRY_DEADLINE="600")
        assert proxy.held.wait(30)
        process.send_signal(signal.SIGTERM)
        ran = offsite.ended(process, 10)
    assert ran.code == 130, ran.said


def test_the_doctor_tells_of_the_store(offsite: Site) -> None:
    found = {row["what"]: row for row in rows(offsite.run("doctor", "--json"))}
    assert found["target local"]["good"]
    assert found["target s3"]["seen"] == "writes, reads, lists and deletes"
    assert found["clock of s3"]["seen"] == "as ours"
    assert "are off" in found["versions in s3"]["seen"]
    assert found["uploads to s3"]["good"]
    ran = offsite.run("doctor", S3_ENDPOINT_URL=nowhere())
    assert ran.code == 6


def test_the_doctor_fails_where_a_lock_is_asked_for_and_the_bucket_has_none(offsite: Site) -> None:
    ran = offsite.run("doctor", "--json", S3_OBJECT_LOCK_MODE="GOVERNANCE", S3_OBJECT_LOCK_DAYS="3")
    assert ran.code == 6, ran.said
    [lock] = [row for row in ran.json() if row["what"] == "object lock in s3"]
    assert not lock["good"]
    assert "unset S3_OBJECT_LOCK_MODE" in lock["mend"]


@pytest.mark.parametrize(
    ("method", "query", "says"),
    [
        ("POST", "uploads", "can't begin an upload"),
        ("GET", "uploads", "can't list the unfinished uploads"),
        ("DELETE", "uploadId", "can't give up an upload"),
    ],
)
def test_the_doctor_tries_what_only_a_large_archive_needs(
    offsite: Site, s3_store: Store, method: str, query: str, says: str
) -> None:
    def choose(request: Any) -> Answer | None:
        return Answer(403, "AccessDenied") if (request.method, query in request.path) == (method, True) else None

    with HttpProxy(s3_store.port, choose) as proxy:
        ran = offsite.run("doctor", S3_ENDPOINT_URL=proxy.url, BACKUP_DIR="")
    assert ran.code == 6, ran.said
    assert says in ran.said


def test_the_doctor_s_upload_bears_what_archives_bear(s3_store: Store, tmp_path: Path) -> None:
    bucket = s3_store.bucket(locking=True)
    s3 = s3_storage(s3_store, tmp_path, bucket=bucket, storage_class="STANDARD_IA", lock_mode="GOVERNANCE", lock_days=2)
    begun: list[dict[str, Any]] = []
    client = s3._bucket.client._client  # type: ignore[attr-defined]
    client.meta.events.register(
        "provide-client-params.s3.CreateMultipartUpload", lambda params, **_: begun.append(params)
    )
    found = {note.what: note for note in s3.remarks(datetime.now(UTC), 60)}
    assert found["uploads to s3"].exit_code == 0
    [asked] = begun
    assert (asked["StorageClass"], asked["ObjectLockMode"]) == ("STANDARD_IA", "GOVERNANCE")
    assert s3_store.client().list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []
