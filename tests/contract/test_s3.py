"""What only an S3 store can get wrong, shown on a real one: SeaweedFS on loopback."""

import base64
import dataclasses
import hashlib
import io
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import EndpointConnectionError

from sidecar.errors import Damaged, Exit, ObjectNotFound, StorageAway, StorageFailed
from sidecar.storage.base import Spooled
from sidecar.storage.bucket import WORKERS
from sidecar.storage.parts import PART, PARTS, spans
from sidecar.storage.s3 import S3Storage
from tests.support.proxy import Proxy
from tests.support.s3 import s3_storage
from tests.support.seaweed import Key, Store

KEY = "kimai_prod_2.66.0_20261122T011000Z.zip"
SIZE = 3 * PART + 12345


@pytest.fixture
def bucket(s3_store: Store) -> str:
    return s3_store.bucket()


@pytest.fixture
def s3(s3_store: Store, bucket: str, tmp_path: Path) -> S3Storage:
    return s3_storage(s3_store, tmp_path, bucket=bucket)


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "big"
    path.write_bytes(os.urandom(SIZE))
    return path


def uploads(store: Store, bucket: str) -> list[str]:
    return [each["Key"] for each in store.client().list_multipart_uploads(Bucket=bucket).get("Uploads", [])]


def in_bucket(store: Store, bucket: str) -> list[str]:
    return [each["Key"] for each in store.client().list_objects_v2(Bucket=bucket).get("Contents", [])]


# ── Parts ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [PART + 1, SIZE, PART * PARTS, PART * PARTS + 1, 5 * 10**12, 5 << 40])
def test_parts_are_enough_for_any_object_and_leave_no_gap(size: int) -> None:
    parts = spans(size)
    assert len(parts) <= PARTS
    assert [part.number for part in parts] == list(range(1, len(parts) + 1))
    assert parts[0].offset == 0
    assert all(one.offset + one.size == two.offset for one, two in itertools.pairwise(parts))
    assert parts[-1].offset + parts[-1].size == size
    assert len({part.size for part in parts[:-1]}) <= 1
    assert max(part.size for part in parts) <= 5 << 30
    assert all(part.size >= 5 << 20 for part in parts[:-1])


def test_a_large_object_goes_in_parts_under_the_prefix_and_bears_its_digest(
    s3: S3Storage, s3_store: Store, bucket: str, big: Path
) -> None:
    s3.put(KEY, big)
    found = s3_store.client().head_object(Bucket=bucket, Key=f"kimai/backups/{KEY}")
    assert found["ETag"].strip('"').endswith("-4")
    assert found["Metadata"] == {"sha256": hashlib.sha256(big.read_bytes()).hexdigest()}
    assert in_bucket(s3_store, bucket) == [f"kimai/backups/{KEY}"]
    assert uploads(s3_store, bucket) == []


def test_a_large_object_is_fetched_into_the_spool_and_gone_from_it_when_closed(
    s3: S3Storage, big: Path, tmp_path: Path
) -> None:
    s3.put(KEY, big)
    with s3.open(KEY) as stream:
        assert isinstance(stream, Spooled)
        assert stream.path.name == KEY
        assert stream.path.is_relative_to(tmp_path / "spool")
        assert stream.read() == big.read_bytes()
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.slow
def test_an_object_of_200_mb_comes_back_whole_in_little_memory(s3_store: Store, bucket: str, tmp_path: Path) -> None:
    block = os.urandom(1 << 20)
    with (tmp_path / "200 MB").open("wb") as file:
        for number in range(200):
            file.write(number.to_bytes(4, "big") + block[4:])
    script = """
import hashlib, sys
from pathlib import Path
from sidecar.storage.s3 import Options, S3Storage
from sidecar.storage.parts import PART
bucket, url, access, secret, folder = sys.argv[1:]
s3 = S3Storage(Options(bucket, None, url, "us-east-1", access, secret), lambda: Path(folder))
s3.put("200 MB", Path(folder) / "200 MB")
digest = hashlib.sha256()
with s3.open("200 MB") as stream:
    while block := stream.read(1 << 20):
        digest.update(block)
# Not what getrusage says, which begins with the process that started this one.
[peak] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(digest.hexdigest(), int(peak) // 1024)
"""
    arguments = [bucket, s3_store.url, s3_store.key.access, s3_store.key.secret, str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True, timeout=100
    )
    digest, memory = done.stdout.split()
    with (tmp_path / "200 MB").open("rb") as file:
        assert digest == hashlib.file_digest(file, "sha256").hexdigest()
    assert int(memory) < 128


def test_without_room_in_the_spool_nothing_is_fetched(
    s3: S3Storage, big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put(KEY, big)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": SIZE - 1}))
    with pytest.raises(StorageFailed, match=rf"has {SIZE} bytes.*room for {SIZE - 1}.*BACKUP_STATE_DIR"):
        s3.open(KEY)
    assert list((tmp_path / "spool").iterdir()) == []


# ── What others put there ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [100, SIZE])
def test_other_bytes_under_our_digest_are_damaged(
    s3: S3Storage, s3_store: Store, bucket: str, tmp_path: Path, size: int
) -> None:
    s3_store.client().put_object(
        Bucket=bucket,
        Key=f"kimai/backups/{KEY}",
        Body=b"x" * size,
        Metadata={"sha256": hashlib.sha256(b"y" * size).hexdigest()},
    )
    with pytest.raises(Damaged, match="SHA-256 differs") as caught:
        s3.open(KEY)
    assert caught.value.exit_code == Exit.DAMAGED
    assert list((tmp_path / "spool").iterdir()) == []


def test_an_object_without_digest_is_read_as_it_is(s3: S3Storage, s3_store: Store, bucket: str) -> None:
    s3_store.client().put_object(Bucket=bucket, Key=f"kimai/backups/{KEY}", Body=b"by another program")
    with s3.open(KEY) as stream:
        assert stream.read() == b"by another program"


def test_what_lies_beside_above_and_below_the_prefix_is_not_ours(s3: S3Storage, s3_store: Store, bucket: str) -> None:
    for key in ("other", "kimai/backups-old/a", "kimai/other", "kimai/backups/deeper/a", "kimai/backups/.hidden"):
        s3_store.client().put_object(Bucket=bucket, Key=key, Body=b"x")
    s3.put("ours", b"x")
    assert [found.key for found in s3.list()] == ["ours"]


def test_without_a_prefix_objects_lie_at_the_top(s3_store: Store, bucket: str, tmp_path: Path) -> None:
    plain = s3_storage(s3_store, tmp_path, bucket=bucket, prefix=None)
    plain.put("ours", b"x")
    assert in_bucket(s3_store, bucket) == ["ours"]
    assert [found.key for found in plain.list()] == ["ours"]


# ── Refused ──────────────────────────────────────────────────────────────────────────────────────────────────

VERBS: list[tuple[str, Callable[[S3Storage], Any]]] = [
    ("put", lambda s3: s3.put(KEY, b"x")),
    ("open", lambda s3: s3.open(KEY)),
    ("stat", lambda s3: s3.stat(KEY)),
    ("list", lambda s3: [*s3.list()]),
    ("delete", lambda s3: s3.delete(KEY)),
    ("leftovers", lambda s3: s3.leftovers(datetime.now(UTC))),
]


@pytest.mark.parametrize(("verb", "call"), VERBS, ids=[name for name, _ in VERBS])
@pytest.mark.parametrize(
    ("others", "mend"),
    [
        ({"key": Key("writer", "not the secret")}, "S3_SECRET_ACCESS_KEY"),
        ({"key": Key("nobody", "x")}, "S3_ACCESS_KEY_ID"),
    ],
)
def test_a_wrong_key_is_refused_for_good(
    s3_store: Store, tmp_path: Path, verb: str, call: Callable[[S3Storage], Any], others: dict[str, Any], mend: str
) -> None:
    s3 = s3_storage(s3_store, tmp_path, **others)
    with pytest.raises(StorageFailed) as caught:
        call(s3)
    assert not isinstance(caught.value, StorageAway | ObjectNotFound)
    assert caught.value.exit_code == Exit.STORAGE
    assert "not the secret" not in str(caught.value)
    # The answer to HEAD has no body that could say which of the two is wrong.
    assert mend in str(caught.value) or verb == "stat"


@pytest.mark.parametrize(("verb", "call"), VERBS[1:4], ids=[name for name, _ in VERBS[1:4]])
def test_a_missing_bucket_is_named_and_is_no_missing_object(
    s3_store: Store, tmp_path: Path, verb: str, call: Callable[[S3Storage], Any]
) -> None:
    s3 = s3_storage(s3_store, tmp_path, bucket="there-is-none")
    with pytest.raises(StorageFailed, match=r"there-is-none.*never created") as caught:
        call(s3)
    assert not isinstance(caught.value, StorageAway | ObjectNotFound)


def test_a_key_that_may_only_read_reads_and_is_told_what_it_lacks(
    s3: S3Storage, s3_store: Store, bucket: str, big: Path, tmp_path: Path
) -> None:
    s3.put(KEY, b"x")
    reader = s3_storage(s3_store, tmp_path, bucket=bucket, key=s3_store.reader)
    with reader.open(KEY) as stream:
        assert stream.read() == b"x"
    assert [found.key for found in reader.list()] == [KEY]
    changes: list[Callable[[], None]] = [
        lambda: reader.put("new", b"x"),
        lambda: reader.put("new", big),
        lambda: reader.delete(KEY),
    ]
    for change in changes:
        with pytest.raises(StorageFailed, match="read, write and delete") as caught:
            change()
        assert not isinstance(caught.value, StorageAway)
    assert [found.key for found in s3.list()] == [KEY]


def test_nobody_at_the_endpoint_is_a_failure_that_may_pass(s3_store: Store, bucket: str, tmp_path: Path) -> None:
    s3 = s3_storage(s3_store, tmp_path, bucket=bucket, endpoint_url="http://127.0.0.1:9", timeout=1)
    for _, call in VERBS:
        with pytest.raises(StorageAway, match=r"127\.0\.0\.1:9"):
            call(s3)


# ── Cut short ────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def cut_off(s3_store: Store, after: int) -> Iterator[str]:
    """The URL of a store to which the line breaks once so many bytes were sent to it, and stays broken."""
    with Proxy("127.0.0.1", s3_store.port) as proxy:
        proxy.hold_after(after, from_server=False)

        def cut() -> None:
            proxy.held.wait(60)
            proxy.reset()
            proxy.release()

        thread = threading.Thread(target=cut)
        thread.start()
        yield f"http://127.0.0.1:{proxy.port}"
        thread.join()


def move(s3: S3Storage, url: str) -> None:
    """Let a target that is there already find its store elsewhere."""
    bucket = s3._bucket
    bucket.options = dataclasses.replace(bucket.options, endpoint_url=url)
    bucket.__dict__.pop("client")


def test_an_upload_that_was_cut_off_goes_on_with_the_parts_that_are_lacking(
    s3_store: Store, bucket: str, tmp_path: Path, big: Path
) -> None:
    with cut_off(s3_store, 2 * PART) as url:
        s3 = s3_storage(s3_store, tmp_path, bucket=bucket, endpoint_url=url, timeout=5)
        with pytest.raises(StorageAway):
            s3.put(KEY, big)
        assert in_bucket(s3_store, bucket) == []
        assert uploads(s3_store, bucket) == [f"kimai/backups/{KEY}"]
    with Proxy("127.0.0.1", s3_store.port) as proxy:
        move(s3, f"http://127.0.0.1:{proxy.port}")
        s3.put(KEY, big)
    with s3_storage(s3_store, tmp_path, bucket=bucket).open(KEY) as stream:
        assert stream.read() == big.read_bytes()
    assert uploads(s3_store, bucket) == []


def test_a_file_that_is_another_one_by_now_is_begun_anew(
    s3_store: Store, bucket: str, tmp_path: Path, big: Path
) -> None:
    with cut_off(s3_store, 2 * PART) as url:
        s3 = s3_storage(s3_store, tmp_path, bucket=bucket, endpoint_url=url, timeout=5)
        with pytest.raises(StorageAway):
            s3.put(KEY, big)
    move(s3, s3_store.url)
    big.write_bytes(os.urandom(SIZE))
    s3.put(KEY, big)
    with s3.open(KEY) as stream:
        assert stream.read() == big.read_bytes()
    assert uploads(s3_store, bucket) == []


def test_an_upload_that_ended_though_its_answer_was_lost_is_taken_for_ended(
    s3_store: Store, bucket: str, tmp_path: Path, big: Path
) -> None:
    s3 = s3_storage(s3_store, tmp_path, bucket=bucket, timeout=5)
    complete = s3._bucket.client.complete_multipart_upload

    def complete_unheard(**arguments: Any) -> None:
        complete(**arguments)
        raise EndpointConnectionError(endpoint_url=s3_store.url)

    s3._bucket.client.complete_multipart_upload = complete_unheard  # type: ignore[method-assign,assignment]
    with pytest.raises(StorageAway):
        s3.put(KEY, big)
    s3._bucket.client.complete_multipart_upload = complete  # type: ignore[method-assign]
    s3.put(KEY, big)
    with s3.open(KEY) as stream:
        assert stream.read() == big.read_bytes()


def test_what_the_store_kept_only_in_part_is_taken_away_again(
    s3: S3Storage, s3_store: Store, bucket: str, big: Path
) -> None:
    """A store that says "fine" to an upload and has lost its end."""
    client = s3._bucket.client

    def complete_short(**arguments: Any) -> None:
        parts = arguments["MultipartUpload"]["Parts"][:-1]
        s3_store.client().complete_multipart_upload(**arguments | {"MultipartUpload": {"Parts": parts}})

    client.complete_multipart_upload = complete_short  # type: ignore[method-assign,assignment]
    with pytest.raises(StorageAway, match="did not keep"):
        s3.put(KEY, big)
    assert in_bucket(s3_store, bucket) == []


@pytest.mark.parametrize("size", [100, SIZE])
@pytest.mark.parametrize(
    ("metadata", "error", "says"),
    [
        ({}, StorageAway, "did not keep"),
        ({"sha256": "0" * 64}, StorageFailed, f"holds another {KEY} than was given to it: its SHA-256 differs"),
    ],
)
def test_an_archive_that_comes_back_with_another_digest_or_none_is_a_failure(
    s3: S3Storage,
    s3_store: Store,
    bucket: str,
    tmp_path: Path,
    size: int,
    metadata: dict[str, str],
    error: type[StorageFailed],
    says: str,
) -> None:
    path = tmp_path / "archive"
    path.write_bytes(os.urandom(size))
    look = s3._bucket.look

    def look_late(key: str) -> Any:
        s3_store.client().put_object(
            Bucket=bucket, Key=f"kimai/backups/{KEY}", Body=path.read_bytes(), Metadata=metadata
        )
        return look(key)

    s3._bucket.look = look_late  # type: ignore[method-assign]
    with pytest.raises(error, match=says) as caught:
        s3.put(KEY, path, hashlib.sha256(path.read_bytes()).hexdigest())
    assert type(caught.value) is error
    # Of what gives no digest, another put may come after it.
    s3.put(KEY, path)


def test_deleting_gives_up_an_upload_that_was_cut_off(s3_store: Store, bucket: str, tmp_path: Path, big: Path) -> None:
    with cut_off(s3_store, 2 * PART) as url:
        s3 = s3_storage(s3_store, tmp_path, bucket=bucket, endpoint_url=url, timeout=5)
        with pytest.raises(StorageAway):
            s3.put(KEY, big)
    assert uploads(s3_store, bucket)
    move(s3, s3_store.url)
    s3.delete(KEY)
    assert uploads(s3_store, bucket) == []
    assert in_bucket(s3_store, bucket) == []


PUTS = """
import sys
from pathlib import Path
from sidecar.storage.s3 import Options, S3Storage
bucket, url, access, secret, source = sys.argv[1:]
s3 = S3Storage(Options(bucket, "kimai/backups", url, "us-east-1", access, secret), lambda: Path("/"))
print("ready", flush=True)
s3.put("killed", Path(source))
"""


def test_killed_in_the_middle_nothing_shows_and_a_sweep_cleans_after_a_day(
    s3: S3Storage, s3_store: Store, bucket: str, big: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Proxy("127.0.0.1", s3_store.port) as proxy:
        proxy.hold_after(PART, from_server=False)
        arguments = [bucket, f"http://127.0.0.1:{proxy.port}", s3_store.key.access, s3_store.key.secret, str(big)]
        with subprocess.Popen([sys.executable, "-c", PUTS, *arguments]) as process:
            assert proxy.held.wait(30)
            process.kill()
            assert process.wait(10) == -signal.SIGKILL
    assert [*s3.list()] == []
    with pytest.raises(ObjectNotFound):
        s3.open("killed")
    now = datetime.now(UTC)
    assert s3.sweep(now) == ()
    assert s3.sweep(now + timedelta(hours=25), ours=lambda key: key == "another") == ()
    assert s3.sweep(now + timedelta(hours=25), ours=lambda key: key == "killed") == ("killed",)
    assert "killed" in caplog.text
    assert uploads(s3_store, bucket) == []


def test_a_sweep_leaves_the_uploads_of_others_and_of_objects_that_are_there(
    s3: S3Storage, s3_store: Store, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = s3_store.client()
    s3.put("there", b"x")
    for key in ("kimai/other", "elsewhere", "kimai/backups/deeper/a", "kimai/backups/there"):
        client.create_multipart_upload(Bucket=bucket, Key=key)
    before = uploads(s3_store, bucket)
    assert len(before) == 4
    assert s3.sweep(datetime.now(UTC) + timedelta(days=30)) == ()
    assert uploads(s3_store, bucket) == before
    assert "there is left alone" in caplog.text


def test_a_sigterm_ends_an_upload_at_once(s3_store: Store, bucket: str, big: Path) -> None:
    script = PUTS.replace("import sys\n", "import signal, sys\nsignal.signal(15, lambda *_: sys.exit(9))\n")
    with Proxy("127.0.0.1", s3_store.port) as proxy:
        proxy.hold_after(PART, from_server=False)
        arguments = [bucket, f"http://127.0.0.1:{proxy.port}", s3_store.key.access, s3_store.key.secret, str(big)]
        with subprocess.Popen([sys.executable, "-c", script, *arguments]) as process:
            assert proxy.held.wait(30)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            proxy.release()
            assert process.wait(15) == 9
    assert uploads(s3_store, bucket) == []
    assert in_bucket(s3_store, bucket) == []


# ── Locked ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_lock_is_set_on_backups_alone_and_told(s3_store: Store, tmp_path: Path, big: Path) -> None:
    s3 = s3_storage(
        s3_store,
        tmp_path,
        bucket=s3_store.bucket(locking=True),
        lock_mode="GOVERNANCE",
        lock_days=2,
        is_backup=lambda key: key == KEY,
    )
    s3.put(KEY, big)
    s3.put("probe", b"x")
    until = datetime.now(UTC) + timedelta(days=2)
    assert s3.stat(KEY).locked in {
        f"locked until {moment:%Y-%m-%d %H:%M} UTC" for moment in (until, until - timedelta(minutes=1))
    }
    assert s3.stat("probe").locked is None


_WANTS_CHECKSUM = (
    b"<Error><Code>InvalidRequest</Code><Message>Content-MD5 OR x-amz-checksum- HTTP header is required for Put Part "
    b"requests with Object Lock parameters</Message></Error>"
)


class Amazons:
    """Stands between a client and its store, and refuses as Amazon's does where a bucket locks by itself."""

    def __init__(self, s3: S3Storage) -> None:
        self.refused = 0
        self.taken: list[bytes] = []
        s3._bucket.client._client.meta.events.register("before-send.s3", self._look)  # type: ignore[attr-defined]

    def _look(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse | None:
        if request.method != "PUT":
            return None
        checksum, body = request.headers.get("Content-MD5"), request.body
        if checksum is None:
            self.refused += 1
            return AWSResponse(request.url, 400, {}, RawAnswer(_WANTS_CHECKSUM))
        content = body if isinstance(body, bytearray | bytes) else body.read()
        if not isinstance(body, bytearray | bytes):
            body.seek(0)
        assert base64.b64decode(checksum) == hashlib.md5(content, usedforsecurity=False).digest()
        self.taken.append(bytes(content))
        return None


class RawAnswer(io.BytesIO):
    """An answer's body, as botocore reads it."""

    def stream(self, amount: int = 1 << 16, decode_content: bool | None = None) -> Iterator[bytes]:
        yield self.read()


def test_a_bucket_that_locks_by_itself_gets_a_checksum_with_all_parts(s3: S3Storage, big: Path) -> None:
    store = Amazons(s3)
    s3.put("small", b"small")
    assert store.refused == 0, "what is small bears one from the first"
    s3.put(KEY, big)
    assert 1 <= store.refused <= WORKERS, "once refused, all other parts bear one"
    assert sorted(map(len, store.taken[1:])) == sorted(span.size for span in spans(SIZE))
    with s3.open(KEY) as stream:
        assert hashlib.file_digest(stream, "sha256").digest() == hashlib.sha256(big.read_bytes()).digest()
    store.refused = 0
    s3.put(KEY, big)
    assert store.refused == 0, "it is remembered"


def test_parts_too_large_for_memory_are_sent_again_from_their_beginning(
    s3: S3Storage, big: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.storage.uploads._IN_MEMORY", 0)
    store = Amazons(s3)
    s3.put(KEY, big)
    assert b"".join(sorted(store.taken)) == b"".join(
        sorted(big.read_bytes()[span.offset : span.offset + span.size] for span in spans(SIZE))
    )


def test_where_we_lock_all_parts_bear_a_checksum_from_the_first(s3_store: Store, tmp_path: Path, big: Path) -> None:
    locking = s3_store.bucket(locking=True)
    s3 = s3_storage(s3_store, tmp_path, bucket=locking, lock_mode="GOVERNANCE", lock_days=1)
    store = Amazons(s3)
    s3.put(KEY, big)
    assert (store.refused, len(store.taken)) == (0, len(spans(SIZE)))


def test_a_bucket_without_locks_says_so(s3_store: Store, bucket: str, tmp_path: Path) -> None:
    s3 = s3_storage(s3_store, tmp_path, bucket=bucket, lock_mode="GOVERNANCE", lock_days=2)
    with pytest.raises(StorageFailed, match=f"can't store {KEY}"):
        s3.put(KEY, b"x")
    assert [*s3.list()] == []
