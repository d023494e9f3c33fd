"""A target that is a bucket, or a part of one, in an S3 store: Amazon's, or any other that speaks its language."""

import hashlib
import io
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from sidecar.errors import Exit, StorageFailed
from sidecar.storage import notes
from sidecar.storage.base import ObjectInfo, Source, check_key
from sidecar.storage.bucket import DIGEST, Bucket, Options
from sidecar.storage.downloads import Downloads
from sidecar.storage.files import open_source
from sidecar.storage.parts import PART
from sidecar.storage.uploads import Uploads

__all__ = ["Options", "S3Storage"]

log = logging.getLogger(__name__)

_PROBE = "kimai-backup-probe"


class S3Storage:
    """Objects `prefix/key`, each with its SHA-256 in its metadata.

    `spool` gives a folder on this machine for what is read and is too large for memory.
    """

    def __init__(self, options: Options, spool: Callable[[], Path]) -> None:
        self._bucket = Bucket(options)
        self._uploads = Uploads(self._bucket)
        self._downloads = Downloads(self._bucket, spool)

    @property
    def name(self) -> str:
        """How users call this target."""
        return "s3"

    # ── The five verbs ───────────────────────────────────────────────────────────────────────────────────────

    def put(self, key: str, source: Source, sha256: str | None = None) -> None:
        """Store the source under the key, all or nothing, then ask the store what it has.

        A large file goes in parts. Where the store falls silent on the way, the next `put` of the same file goes
        on with the parts that are lacking, and `delete` gives them up. Whoever gives a `sha256` is the only one to
        put that key: what bears another digest then, or none, is a failure. Raises `StorageFailed`.
        """
        check_key(key)
        with self._bucket.explained(f"store {key}"):
            if isinstance(source, bytes):
                self._uploads.put_whole(key, source)
                return
            with open_source(source) as stream:
                if os.fstat(stream.fileno()).st_size <= PART:
                    self._uploads.put_whole(key, stream.read(), exactly=sha256 is not None)
                    return
                digest = sha256 or hashlib.file_digest(stream, "sha256").hexdigest()
                self._uploads.put_parts(key, stream.fileno(), digest, exactly=sha256 is not None)

    def open(self, key: str) -> BinaryIO:
        """Give the object's bytes, checked against their SHA-256: a small one from memory, a large one `Spooled`.

        Raises `ObjectNotFound`, `Damaged`.
        """
        check_key(key)
        with self._bucket.explained(f"read {key}", key):
            found = self._bucket.client.get_object(**self._bucket.at(key))
            size, digest = found["ContentLength"], found["Metadata"].get(DIGEST)
            # Closed unread, a large one's connection is dropped; its parts come by others.
            with closing(found["Body"]) as body:
                if size <= PART:
                    data = body.read()
                    self._downloads.compare(key, hashlib.sha256(data).hexdigest(), digest)
                    return io.BytesIO(data)
            return self._downloads.fetch(key, size, found["ETag"], digest)

    def stat(self, key: str) -> ObjectInfo:
        """Tell the object's size in bytes, and until when the store is bound to keep it. Raises `ObjectNotFound`."""
        check_key(key)
        with self._bucket.explained(f"look at {key}", key):
            found = self._bucket.client.head_object(**self._bucket.at(key))
        return ObjectInfo(key, found["ContentLength"], _locked(found))

    def list(self) -> Iterator[ObjectInfo]:
        """Every object by key, a request for each thousand as they are asked for; what lies deeper is not ours."""
        asked: dict[str, Any] = {"Bucket": self._bucket.name, "Prefix": self._bucket.head, "Delimiter": "/"}
        while True:
            with self._bucket.explained("list the backups"):
                page = self._bucket.client.list_objects_v2(**asked)
            for entry in page.get("Contents", ()):
                key = entry["Key"].removeprefix(self._bucket.head)
                if _is_key(key):
                    yield ObjectInfo(key, entry["Size"])
            token = page.get("NextContinuationToken")
            if not page.get("IsTruncated"):
                return
            if not token or token == asked.get("ContinuationToken"):
                raise StorageFailed(f"bucket {self._bucket.name} can't be listed: its pages have no end")
            asked["ContinuationToken"] = token

    def delete(self, key: str) -> None:
        """Remove the object, and what an upload that was cut short left; one that isn't there is no error."""
        check_key(key)
        self._uploads.forget(key)
        with self._bucket.explained(f"delete {key}"):
            self._bucket.client.delete_object(**self._bucket.at(key))

    # ── Leftovers ────────────────────────────────────────────────────────────────────────────────────────────

    def leftovers(
        self, now: datetime, older_than_seconds: float = 86400, ours: Callable[[str], bool] | None = None
    ) -> tuple[tuple[str, str], ...]:
        """Key and id of the uploads that were begun so long before `now` and never ended. Raises `StorageFailed`."""
        found = []
        limit = now - timedelta(seconds=older_than_seconds)
        asked: dict[str, Any] = {"Bucket": self._bucket.name, "Prefix": self._bucket.head}
        with self._bucket.explained("list the unfinished uploads"):
            while True:
                page = self._bucket.client.list_multipart_uploads(**asked)
                for upload in page.get("Uploads", ()):
                    key = upload["Key"].removeprefix(self._bucket.head)
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
            self._uploads.give_up(key, upload_id)
            log.warning("gave up the upload of %s, which a run that was killed left in %s", key, self._bucket.name)
            swept.append(key)
        return tuple(swept)

    def remarks(self, now: datetime, days: int, *, by_calendar: bool = False) -> Iterator[notes.Note]:
        """What to know of the store: what, what was seen, the mend. `days`: how long backups are to be kept there, 0:
        for ever; `by_calendar`: some of them longer.

        Raises `StorageFailed`; what the key may not ask is passed over.
        """
        bucket, client, options = self._bucket.name, self._bucket.client, self._bucket.options
        with self._bucket.explained("look at the bucket"):
            answer = client.list_objects_v2(Bucket=bucket, Prefix=self._bucket.head, MaxKeys=1)
        yield from notes.clock(answer["ResponseMetadata"]["HTTPHeaders"].get("date"), now)
        versioned = self._bucket.asked(lambda: client.get_bucket_versioning(Bucket=bucket))
        rules = self._bucket.asked(lambda: client.get_bucket_lifecycle_configuration(Bucket=bucket))
        locks = self._bucket.asked(lambda: client.get_object_lock_configuration(Bucket=bucket))
        yield from notes.versions(versioned, rules)
        yield from notes.lifecycle(rules, self._bucket.head, days, by_calendar=by_calendar)
        locking = [*notes.lock(locks, options.lock_mode, options.lock_days, days)]
        yield from locking
        if all(note.exit_code is Exit.DONE for note in locking):
            self._uploads.rehearse(_PROBE)
            yield notes.Note("uploads to s3", "can be begun as archives are, listed and given up")


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
