"""Uploads to a bucket: in one piece or in parts, gone on with after a silence, asked back once they are done."""

import base64
import hashlib
import logging
import os
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sidecar.errors import StorageAway, StorageFailed
from sidecar.storage.bucket import DIGEST, WORKERS, Bucket, Lost, NeedsChecksum
from sidecar.storage.parts import PART, Slice, Span, done_in_order, spans

log = logging.getLogger(__name__)

_IN_MEMORY = 2 * PART


@dataclass
class Upload:
    """A multipart upload under way: what it was begun for, and the ETag of each part that the store has."""

    id: str
    source: tuple[Any, ...]
    etags: dict[int, str] = field(default_factory=dict)


class Uploads:
    """What is sent to the bucket, and what of it was cut off."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._unfinished: dict[str, Upload] = {}
        # Each request is signed with its SHA-256 anyway, and MD5 takes twice as long as that.
        self._with_md5 = bucket.options.lock_mode is not None

    def put_whole(self, key: str, data: bytes, *, exactly: bool = False) -> None:
        """Store a small object by one request; `exactly`: no other put of the same key can have come after it."""
        digest = hashlib.sha256(data).hexdigest()
        # No `bytes`: these botocore would copy once more into the request.
        body: Any = bytearray(data)
        self._bucket.client.put_object(**self._labels(key, digest), **_md5(body), Body=body)
        self._ask_back(key, len(data), digest, exactly=exactly)

    def put_parts(self, key: str, descriptor: int, digest: str, *, exactly: bool = False) -> None:
        """Store an open file in parts; where the store falls silent, those that it has are kept for the next try."""
        status = os.fstat(descriptor)
        source = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, digest)
        upload = self._unfinished.pop(key, None)
        if upload is not None and upload.source != source:
            self.give_up(key, upload.id)
            upload = None
        if upload is None:
            begun = self._bucket.client.create_multipart_upload(**self._labels(key, digest))
            upload = Upload(begun["UploadId"], source)
        try:
            with self._bucket.explained(f"store {key}"):
                self._send(key, upload, descriptor, status.st_size)
                self._complete(key, upload)
        except Lost:
            # Asked twice to end it, the store has forgotten it the second time: what it has tells.
            if self._bucket.look(key) != (status.st_size, digest):
                raise
        except StorageAway:
            self._unfinished[key] = upload
            raise
        except BaseException:
            self.give_up(key, upload.id)
            raise
        self._ask_back(key, status.st_size, digest, exactly=exactly)

    def _send(self, key: str, upload: Upload, descriptor: int, size: int) -> None:
        spare: deque[bytearray] = deque()

        def send(part: Span) -> None:
            if part.size > _IN_MEMORY:
                piece = Slice(descriptor, part, os.pread)
                upload.etags[part.number] = self._send_part(key, upload.id, part.number, piece)
                return
            body = _room(spare, part.size)
            if os.preadv(descriptor, [body], part.offset) != part.size:
                raise StorageFailed(f"what is to be stored as {key} has become shorter meanwhile")
            upload.etags[part.number] = self._send_part(key, upload.id, part.number, body)
            spare.append(body)

        lacking = [part for part in spans(size) if part.number not in upload.etags]
        for _ in done_in_order(lacking, send, WORKERS):
            pass

    def _send_part(self, key: str, upload_id: str, number: int, body: bytearray | Slice) -> str:
        """Send a part and give its ETag; with a Content-MD5 where we lock, or the store says that the bucket does."""

        def send(checksum: dict[str, Any]) -> str:
            with self._bucket.explained(f"store {key}"):
                sent = self._bucket.client.upload_part(
                    **self._bucket.at(key), UploadId=upload_id, PartNumber=number, Body=cast("Any", body), **checksum
                )
            return sent["ETag"]

        if not self._with_md5:
            try:
                return send({})
            except NeedsChecksum:
                self._with_md5 = True
        return send(_md5(body))

    def _complete(self, key: str, upload: Upload) -> None:
        self._bucket.client.complete_multipart_upload(
            **self._bucket.at(key),
            UploadId=upload.id,
            MultipartUpload={"Parts": [{"PartNumber": n, "ETag": upload.etags[n]} for n in sorted(upload.etags)]},
        )

    def rehearse(self, key: str) -> None:
        """Begin an upload as an archive's, look for it and give it up: what a small object needs no rights for."""
        with self._bucket.explained("begin an upload"):
            client, at = self._bucket.client, self._bucket.at(key)
            begun = client.create_multipart_upload(**self._labels(key, hashlib.sha256().hexdigest(), as_archive=True))
        try:
            with self._bucket.explained("list the unfinished uploads"):
                client.list_multipart_uploads(Bucket=self._bucket.name, Prefix=at["Key"])
        finally:
            with self._bucket.explained("give up an upload"):
                client.abort_multipart_upload(**at, UploadId=begun["UploadId"])

    def forget(self, key: str) -> None:
        """Give up what was cut off of the upload of this key, if anything was."""
        upload = self._unfinished.pop(key, None)
        if upload is not None:
            self.give_up(key, upload.id)

    def give_up(self, key: str, upload_id: str) -> None:
        """Let the store forget an upload; a failure here must not hide the one that led here."""
        try:
            with self._bucket.explained(f"give up the upload of {key}"):
                self._bucket.client.abort_multipart_upload(**self._bucket.at(key), UploadId=upload_id)
        except Lost:
            pass
        except StorageFailed as error:
            log.warning("parts of %s may be left in %s: %s", key, self._bucket.name, error)

    def _ask_back(self, key: str, size: int, digest: str, *, exactly: bool) -> None:
        """Whatever the store said, what it holds is what counts."""
        found = self._bucket.look(key)
        if found is not None and found[1] not in (digest, None):
            if not exactly:
                return  # another put of the same key was later
            # Not ours, so it is not taken away here.
            raise StorageFailed(
                f"bucket {self._bucket.name} holds another {key} than was given to it: its SHA-256 differs",
                mend="Look whether another machine backs up under the same BACKUP_INSTANCE.",
            )
        if found is None or found[0] != size or (exactly and found[1] is None):
            self._bucket.client.delete_object(**self._bucket.at(key))
            raise StorageAway(f"bucket {self._bucket.name} did not keep {key} as it was given")

    def _labels(self, key: str, digest: str, *, as_archive: bool = False) -> dict[str, Any]:
        options = self._bucket.options
        labels: dict[str, Any] = {
            **self._bucket.at(key),
            "Metadata": {DIGEST: digest},
            "ContentType": "application/json" if key.endswith(".json") else "application/octet-stream",
        }
        if options.storage_class and (as_archive or options.is_archive(key)):
            labels["StorageClass"] = options.storage_class
        if options.sse:
            labels["ServerSideEncryption"] = options.sse
        if options.sse_kms_key_id:
            labels["SSEKMSKeyId"] = options.sse_kms_key_id
        if options.lock_mode and (as_archive or options.is_backup(key)):
            labels["ObjectLockMode"] = options.lock_mode
            labels["ObjectLockRetainUntilDate"] = datetime.now(UTC) + timedelta(days=options.lock_days)
        return labels


def _room(spare: deque[bytearray], size: int) -> bytearray:
    """A buffer that a part before has left, or a new one, which takes as long to get as a part takes to read."""
    try:
        body = spare.pop()
    except IndexError:
        return bytearray(size)
    return body if len(body) == size else bytearray(size)


def _md5(body: bytearray | Slice) -> dict[str, Any]:
    """What a lock asks for, also one that is the bucket's own default: a checksum in a form that every store knows."""
    if isinstance(body, bytearray):
        found = hashlib.md5(body, usedforsecurity=False)
    else:
        body.seek(0)
        found = hashlib.file_digest(body, lambda: hashlib.md5(usedforsecurity=False))
        body.seek(0)
    return {"ContentMD5": base64.b64encode(found.digest()).decode()}
