"""A target that is a bucket, or a part of one, in an S3 store: Amazon's, or any other that speaks its language."""

import base64
import hashlib
import io
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, cast

import boto3
import botocore.config
import botocore.exceptions as exceptions
import botocore.session
import botocore.utils

from sidecar import __version__
from sidecar.errors import Damaged, ObjectNotFound, StorageAway, StorageFailed
from sidecar.storage import notes, refusals
from sidecar.storage.base import ObjectInfo, Source, Spooled, check_key
from sidecar.storage.files import MENDS, open_source
from sidecar.storage.parts import PART, Slice, Span, aside, done_in_order, spans

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

log = logging.getLogger(__name__)

_WORKERS = 4
_BLOCK = 1 << 20
_IN_MEMORY = 2 * PART
_CONNECT_TIMEOUT = 10
_DIGEST = "sha256"
"""The name of our checksum among an object's metadata."""
_GONE = {"404", "NoSuchKey", "NotFound"}
_NOTHING_SET = {"NoSuchLifecycleConfiguration", "ObjectLockConfigurationNotFoundError"}
_TRUST = "Its certificate is not trusted here: name a file with the authority's by AWS_CA_BUNDLE."
_FETCHED = "fetched-"
# No answer, or one cut short; what else a library raises is a mistake that stays one.
_AWAY = (
    exceptions.ConnectionError,
    exceptions.HTTPClientError,
    exceptions.IncompleteReadError,
    exceptions.ChecksumError,
)


@dataclass(frozen=True)
class Options:
    """What S3_* says. `prefix` bears no slash at its ends; `timeout` is how many seconds of silence are enough.

    `is_backup` tells by the key what a lock is for, `is_archive` what a storage class is for; all else stays free
    to be read, replaced and removed at once.
    """

    bucket: str
    prefix: str | None = None
    endpoint_url: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None
    storage_class: str | None = None
    sse: str | None = None
    sse_kms_key_id: str | None = None
    lock_mode: str | None = None
    lock_days: int = 0
    timeout: float = 60
    is_backup: Callable[[str], bool] = lambda key: True
    is_archive: Callable[[str], bool] = lambda key: True


@dataclass
class _Upload:
    """A multipart upload under way: what it was begun for, and the ETag of each part that the store has."""

    id: str
    source: tuple[Any, ...]
    etags: dict[int, str] = field(default_factory=dict)


class _Lost(StorageAway):
    """The store no longer knows the upload: it can only be begun anew."""


class S3Storage:
    """Objects `prefix/key`, each with its SHA-256 in its metadata.

    `spool` gives a folder on this machine for what is read and is too large for memory.
    """

    def __init__(self, options: Options, spool: Callable[[], Path]) -> None:
        self._options = options
        self._spool = spool
        self._head = f"{options.prefix}/" if options.prefix else ""
        self._unfinished: dict[str, _Upload] = {}

    @property
    def name(self) -> str:
        """How users call this target."""
        return "s3"

    # ── The five verbs ───────────────────────────────────────────────────────────────────────────────────────

    def put(self, key: str, source: Source, sha256: str | None = None) -> None:
        """Store the source under the key, all or nothing, then ask the store what it has.

        A large file goes in parts. Where the store falls silent on the way, the next `put` of the same file goes
        on with the parts that are lacking, and `delete` gives them up. Raises `StorageFailed`.
        """
        check_key(key)
        with self._explained(f"store {key}"):
            if isinstance(source, bytes):
                self._put_whole(key, source)
                return
            with open_source(source) as stream:
                if os.fstat(stream.fileno()).st_size <= PART:
                    self._put_whole(key, stream.read())
                    return
                digest = sha256 or hashlib.file_digest(stream, "sha256").hexdigest()
                self._put_parts(key, stream.fileno(), digest)

    def open(self, key: str) -> BinaryIO:
        """Give the object's bytes, checked against their SHA-256: a small one from memory, a large one `Spooled`.

        Raises `ObjectNotFound`, `Damaged`.
        """
        check_key(key)
        with self._explained(f"read {key}", key):
            found = self._client.get_object(Bucket=self._options.bucket, Key=self._head + key)
            size, digest = found["ContentLength"], found["Metadata"].get(_DIGEST)
            # Closed unread, a large one's connection is dropped; its parts come by others.
            with closing(found["Body"]) as body:
                if size <= PART:
                    data = body.read()
                    self._compare(key, hashlib.sha256(data).hexdigest(), digest)
                    return io.BytesIO(data)
            return self._fetch(key, size, found["ETag"], digest)

    def stat(self, key: str) -> ObjectInfo:
        """Tell the object's size in bytes, and until when the store is bound to keep it. Raises `ObjectNotFound`."""
        check_key(key)
        with self._explained(f"look at {key}", key):
            found = self._client.head_object(Bucket=self._options.bucket, Key=self._head + key)
        return ObjectInfo(key, found["ContentLength"], _locked(found))

    def list(self) -> Iterator[ObjectInfo]:
        """Every object by key, a request for each thousand as they are asked for; what lies deeper is not ours."""
        asked: dict[str, Any] = {"Bucket": self._options.bucket, "Prefix": self._head, "Delimiter": "/"}
        while True:
            with self._explained("list the backups"):
                page = self._client.list_objects_v2(**asked)
            for entry in page.get("Contents", ()):
                key = entry["Key"].removeprefix(self._head)
                if _is_key(key):
                    yield ObjectInfo(key, entry["Size"])
            token = page.get("NextContinuationToken")
            if not page.get("IsTruncated"):
                return
            if not token or token == asked.get("ContinuationToken"):
                raise StorageFailed(f"bucket {self._options.bucket} can't be listed: its pages have no end")
            asked["ContinuationToken"] = token

    def delete(self, key: str) -> None:
        """Remove the object, and what an upload that was cut short left; one that isn't there is no error."""
        check_key(key)
        upload = self._unfinished.pop(key, None)
        if upload is not None:
            self._give_up(key, upload.id)
        with self._explained(f"delete {key}"):
            self._client.delete_object(Bucket=self._options.bucket, Key=self._head + key)

    # ── Leftovers ────────────────────────────────────────────────────────────────────────────────────────────

    def leftovers(
        self, now: datetime, older_than_seconds: float = 86400, ours: Callable[[str], bool] | None = None
    ) -> tuple[tuple[str, str], ...]:
        """Key and id of the uploads that were begun so long before `now` and never ended. Raises `StorageFailed`."""
        found = []
        limit = now - timedelta(seconds=older_than_seconds)
        asked: dict[str, Any] = {"Bucket": self._options.bucket, "Prefix": self._head}
        with self._explained("list the unfinished uploads"):
            while True:
                page = self._client.list_multipart_uploads(**asked)
                for upload in page.get("Uploads", ()):
                    key = upload["Key"].removeprefix(self._head)
                    if upload["Initiated"] <= limit and _is_key(key) and (ours is None or ours(key)):
                        found.append((key, upload["UploadId"]))
                marker = page.get("NextKeyMarker")
                if not page.get("IsTruncated") or not marker:
                    break
                asked |= {"KeyMarker": marker, "UploadIdMarker": page.get("NextUploadIdMarker", "")}
        return tuple(sorted(found))

    def sweep(
        self, now: datetime, older_than_seconds: float = 86400, ours: Callable[[str], bool] | None = None
    ) -> tuple[str, ...]:
        """Give up the `leftovers`, naming each in the log, and return their keys. Raises `StorageFailed`."""
        swept = []
        there = None
        for key, upload_id in self.leftovers(now, older_than_seconds, ours):
            there = {found.key for found in self.list()} if there is None else there
            if key in there:
                # There are stores that keep the parts of a finished object under its upload, and drop them with it.
                log.warning("an unfinished upload of %s is left alone, as that object is there", key)
                continue
            self._give_up(key, upload_id)
            log.warning("gave up the upload of %s, which a run that was killed left in %s", key, self._options.bucket)
            swept.append(key)
        return tuple(swept)

    def remarks(self, now: datetime, days: int) -> Iterator[tuple[str, str, str]]:
        """What to know of the store: what, what was seen, the mend. `days`: how long backups are to be kept there.

        Raises `StorageFailed`; what the key may not ask is passed over.
        """
        bucket, client = self._options.bucket, self._client
        with self._explained("look at the bucket"):
            answer = client.list_objects_v2(Bucket=bucket, Prefix=self._head, MaxKeys=1)
        yield from notes.clock(answer["ResponseMetadata"]["HTTPHeaders"].get("date"), now)
        versioned = self._asked(lambda: client.get_bucket_versioning(Bucket=bucket))
        rules = self._asked(lambda: client.get_bucket_lifecycle_configuration(Bucket=bucket))
        locks = self._asked(lambda: client.get_object_lock_configuration(Bucket=bucket))
        yield from notes.versions(versioned, rules)
        yield from notes.lifecycle(rules, self._head, days)
        yield from notes.lock(locks, self._options.lock_mode, self._options.lock_days, days)

    def _asked(self, ask: Callable[[], Any]) -> Mapping[str, Any] | None:
        """An answer about the bucket; empty where there is nothing to tell, None where the store doesn't tell."""
        try:
            with self._explained("look at the bucket"):
                found: Mapping[str, Any] = ask()
        except StorageFailed as error:
            cause = error.__cause__
            if isinstance(cause, exceptions.ClientError) and _code(cause)[0] in _NOTHING_SET:
                return {}
            log.debug("%s", error)
            return None
        return found

    # ── Uploads ──────────────────────────────────────────────────────────────────────────────────────────────

    def _put_whole(self, key: str, data: bytes) -> None:
        digest = hashlib.sha256(data).hexdigest()
        # No `bytes`: these botocore would copy once more into the request.
        body: Any = bytearray(data)
        self._client.put_object(**self._labels(key, digest), **self._md5(body), Body=body)
        self._ask_back(key, len(data), digest)

    def _put_parts(self, key: str, descriptor: int, digest: str) -> None:
        status = os.fstat(descriptor)
        source = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, digest)
        upload = self._unfinished.pop(key, None)
        if upload is not None and upload.source != source:
            self._give_up(key, upload.id)
            upload = None
        if upload is None:
            begun = self._client.create_multipart_upload(**self._labels(key, digest))
            upload = _Upload(begun["UploadId"], source)
        try:
            with self._explained(f"store {key}"):
                self._send(key, upload, descriptor, status.st_size)
                self._complete(key, upload)
        except _Lost:
            # Asked twice to end it, the store has forgotten it the second time: what it has tells.
            if self._look(key) != (status.st_size, digest):
                raise
        except StorageAway:
            self._unfinished[key] = upload
            raise
        except BaseException:
            self._give_up(key, upload.id)
            raise
        self._ask_back(key, status.st_size, digest)

    def _send(self, key: str, upload: _Upload, descriptor: int, size: int) -> None:
        def send(part: Span) -> None:
            with self._explained(f"store {key}"):
                body: Any = Slice(descriptor, part, os.pread)
                if part.size <= _IN_MEMORY:
                    body = bytearray(part.size)
                    if os.preadv(descriptor, [body], part.offset) != part.size:
                        raise StorageFailed(f"what is to be stored as {key} has become shorter meanwhile")
                sent = self._client.upload_part(
                    Bucket=self._options.bucket,
                    Key=self._head + key,
                    UploadId=upload.id,
                    PartNumber=part.number,
                    Body=body,
                    **self._md5(body),
                )
                upload.etags[part.number] = sent["ETag"]

        lacking = [part for part in spans(size) if part.number not in upload.etags]
        for _ in done_in_order(lacking, send, _WORKERS):
            pass

    def _complete(self, key: str, upload: _Upload) -> None:
        self._client.complete_multipart_upload(
            Bucket=self._options.bucket,
            Key=self._head + key,
            UploadId=upload.id,
            MultipartUpload={"Parts": [{"PartNumber": n, "ETag": upload.etags[n]} for n in sorted(upload.etags)]},
        )

    def _give_up(self, key: str, upload_id: str) -> None:
        """Let the store forget an upload; a failure here must not hide the one that led here."""
        try:
            with self._explained(f"give up the upload of {key}"):
                self._client.abort_multipart_upload(
                    Bucket=self._options.bucket, Key=self._head + key, UploadId=upload_id
                )
        except _Lost:
            pass
        except StorageFailed as error:
            log.warning("parts of %s may be left in %s: %s", key, self._options.bucket, error)

    def _ask_back(self, key: str, size: int, digest: str) -> None:
        """Whatever the store said, what it holds is what counts."""
        found = self._look(key)
        if found is not None and found[1] not in (digest, None):
            return  # another put of the same key was later
        if found is None or found[0] != size:
            self._client.delete_object(Bucket=self._options.bucket, Key=self._head + key)
            raise StorageAway(f"bucket {self._options.bucket} did not keep {key} as it was given")

    def _look(self, key: str) -> tuple[int, str | None] | None:
        """Size and digest of what the store holds under the key; None where it holds nothing."""
        with self._explained(f"look at {key}"):
            try:
                found = self._client.head_object(Bucket=self._options.bucket, Key=self._head + key)
            except exceptions.ClientError as error:
                if _code(error)[0] in _GONE:
                    return None
                raise
        return found["ContentLength"], found["Metadata"].get(_DIGEST)

    def _labels(self, key: str, digest: str) -> dict[str, Any]:
        options = self._options
        labels: dict[str, Any] = {
            "Bucket": options.bucket,
            "Key": self._head + key,
            "Metadata": {_DIGEST: digest},
            "ContentType": "application/json" if key.endswith(".json") else "application/octet-stream",
        }
        if options.storage_class and options.is_archive(key):
            labels["StorageClass"] = options.storage_class
        if options.sse:
            labels["ServerSideEncryption"] = options.sse
        if options.sse_kms_key_id:
            labels["SSEKMSKeyId"] = options.sse_kms_key_id
        if options.lock_mode and options.is_backup(key):
            labels["ObjectLockMode"] = options.lock_mode
            labels["ObjectLockRetainUntilDate"] = datetime.now(UTC) + timedelta(days=options.lock_days)
        return labels

    def _md5(self, body: bytearray | Slice) -> dict[str, Any]:
        """What a lock asks for: a checksum in a form that every store knows."""
        if not self._options.lock_mode:
            return {}
        if isinstance(body, bytearray):
            found = hashlib.md5(body, usedforsecurity=False)
        else:
            found = hashlib.file_digest(body, lambda: hashlib.md5(usedforsecurity=False))
            body.seek(0)
        return {"ContentMD5": base64.b64encode(found.digest()).decode()}

    # ── Downloads ────────────────────────────────────────────────────────────────────────────────────────────

    def _fetch(self, key: str, size: int, etag: str, digest: str | None) -> Spooled:
        folder = self._spool()
        free = shutil.disk_usage(folder).free
        if free < size:
            raise StorageFailed(
                f"{key} has {size} bytes, and {folder} has room for {free}",
                mend="Make room there, or set BACKUP_STATE_DIR to a folder on a larger disk.",
            )
        path = Path(tempfile.mkdtemp(prefix=_FETCHED, dir=folder)) / key
        try:
            with path.open("x+b", buffering=0) as file:
                found = self._receive(key, size, etag, file.fileno())
            self._compare(key, found, digest)
            return Spooled(path)
        except BaseException:
            shutil.rmtree(path.parent, ignore_errors=True)
            raise

    def _receive(self, key: str, size: int, etag: str, descriptor: int) -> str:
        """Fetch all parts into the file; its SHA-256 is taken while the later ones are still on their way."""

        def receive(part: Span) -> None:
            with self._explained(f"read {key}", key):
                last = part.offset + part.size - 1
                found = self._client.get_object(
                    Bucket=self._options.bucket,
                    Key=self._head + key,
                    Range=f"bytes={part.offset}-{last}",
                    IfMatch=etag,
                )
                at = part.offset
                with closing(found["Body"]) as body:
                    while block := body.read(_BLOCK):
                        at += os.pwrite(descriptor, block, at)
                if at != part.offset + part.size:
                    raise StorageAway(f"bucket {self._options.bucket} gave {at - part.offset} bytes of {part.size}")

        digest = hashlib.sha256()
        for part in done_in_order(spans(size), receive, _WORKERS):
            for at in range(part.offset, part.offset + part.size, _BLOCK):
                digest.update(os.pread(descriptor, min(_BLOCK, part.offset + part.size - at), at))
        return digest.hexdigest()

    def _compare(self, key: str, found: str, stored: str | None) -> None:
        """An object that others copied here may bear no digest: then the manifest alone is left to tell."""
        if stored is not None and found != stored:
            raise Damaged(f"{key} in bucket {self._options.bucket} is not what was stored: its SHA-256 differs")

    # ── The store ────────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def _client(self) -> "S3Client":
        options = self._options
        config = botocore.config.Config(
            connect_timeout=min(_CONNECT_TIMEOUT, options.timeout),
            read_timeout=options.timeout,
            # One more try, for a connection that had grown old; the rest is the business of `retrying`.
            retries={"total_max_attempts": 2, "mode": "standard"},
            max_pool_connections=_WORKERS + 2,
            # Stores other than Amazon's know no other checksum than that of the signature, which every request bears.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            tcp_keepalive=True,
            user_agent_extra=f"kimai-backup/{__version__}",
        )
        # As the AWS command line does it: botocore's own way takes two thirds of the time that a long listing takes.
        core = botocore.session.get_session()
        core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_moment)
        session = boto3.session.Session(
            botocore_session=core,
            aws_access_key_id=options.access_key_id,
            aws_secret_access_key=options.secret_access_key,
        )
        client = session.client("s3", region_name=options.region, endpoint_url=options.endpoint_url, config=config)
        return cast("S3Client", _Aside(client))

    @contextmanager
    def _explained(self, doing: str, key: str | None = None) -> Iterator[None]:
        """Turn what the store and the library say into one line; with a `key`, "not found" means that object."""
        try:
            yield
        except exceptions.ClientError as error:
            self._refused(doing, key, error)
        except _AWAY as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise StorageFailed(self._said(doing, str(error)), mend=_TRUST) from error
            raise StorageAway(self._said(doing, str(error))) from error
        except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
            raise StorageFailed(
                self._said(doing, str(error)), mend="Set S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY."
            ) from error
        except exceptions.BotoCoreError as error:
            raise StorageFailed(self._said(doing, str(error)), mend="Look at the settings S3_*.") from error
        except OSError as error:
            raise StorageFailed(self._said(doing, str(error)), mend=MENDS.get(error.errno or 0, "")) from error

    def _refused(self, doing: str, key: str | None, error: exceptions.ClientError) -> NoReturn:
        code, status, message = _code(error)
        bucket = self._options.bucket
        if key is not None and code in _GONE:
            self._require_bucket()
            raise ObjectNotFound(f"{key} is not in bucket {bucket}", mend="`kimai-backup list` shows what is there.")
        what = self._said(doing, f"{code}, {message}" if message else code)
        if code == "NoSuchUpload":
            raise _Lost(what) from error
        if refusals.passes(code, status):
            raise StorageAway(what) from error
        raise StorageFailed(what, mend=refusals.mend(code, status)) from error

    def _require_bucket(self) -> None:
        """Tell a missing bucket from a missing object, which the answer to HEAD can't."""
        with self._explained("look at the bucket"):
            self._client.list_objects_v2(Bucket=self._options.bucket, Prefix=self._head, MaxKeys=1)

    def _said(self, doing: str, message: str) -> str:
        where = f" at {self._options.endpoint_url}" if self._options.endpoint_url else ""
        return f"can't {doing} in bucket {self._options.bucket}{where}: {refusals.one_line(message)}"


class _Aside:
    """The client, each of its requests made in a thread of its own (`aside`)."""

    def __init__(self, client: "S3Client") -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        return lambda **arguments: aside(lambda: method(**arguments))


def _code(error: exceptions.ClientError) -> tuple[str, int, str]:
    """Code, HTTP status and message of a refusal."""
    found: Mapping[str, Any] = error.response
    said = found.get("Error", {})
    status = int(found.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return str(said.get("Code", status)), status, str(said.get("Message", ""))


def _moment(value: Any) -> datetime:
    """A time as stores write it; always with its zone."""
    if isinstance(value, str) and value.endswith("Z"):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass
    found: datetime = botocore.utils.parse_timestamp(value)
    return found


def _locked(found: Mapping[str, Any]) -> str | None:
    if found.get("ObjectLockLegalHoldStatus") == "ON":
        return "locked by a legal hold"
    until = found.get("ObjectLockRetainUntilDate")
    if until is not None and until > datetime.now(UTC):
        return f"locked until {until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return None


def _is_key(name: str) -> bool:
    try:
        check_key(name)
    except ValueError:
        return False
    return True
