"""One bucket of an S3 store: the client that asks it, and what its refusals mean."""

import logging
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import boto3
import botocore.config
import botocore.exceptions as exceptions
import botocore.session
import botocore.utils

from sidecar import __version__
from sidecar.errors import ObjectNotFound, StorageAway, StorageFailed
from sidecar.storage import refusals
from sidecar.storage.files import MENDS
from sidecar.storage.parts import aside

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

log = logging.getLogger(__name__)

DIGEST = "sha256"
"""The name of our checksum among an object's metadata."""
WORKERS = 4
"""How many requests are made side by side."""
_CONNECT_TIMEOUT = 10
_GONE = {"404", "NoSuchKey", "NotFound"}
_NOTHING_SET = {"NoSuchLifecycleConfiguration", "ObjectLockConfigurationNotFoundError"}
# No answer, or one cut short; what else a library raises is a mistake that stays one.
_AWAY = (
    exceptions.ConnectionError,
    exceptions.HTTPClientError,
    exceptions.IncompleteReadError,
    exceptions.ChecksumError,
)
_TLS = (exceptions.SSLError, exceptions.ProxyConnectionError)


@dataclass(frozen=True)
class Options:
    """What S3_* says. `prefix` bears no slash at its ends; `timeout` is how many seconds of silence are enough.
    Where there is a `ca_file`, only the authorities in it are trusted; without one AWS_CA_BUNDLE and its like hold.

    `is_backup` tells by the key what a lock is for, `is_archive` what a storage class is for; all else stays free
    to be read, replaced and removed at once.
    """

    bucket: str
    prefix: str | None = None
    endpoint_url: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None
    ca_file: Path | None = None
    storage_class: str | None = None
    sse: str | None = None
    sse_kms_key_id: str | None = None
    lock_mode: str | None = None
    lock_days: int = 0
    timeout: float = 60
    is_backup: Callable[[str], bool] = lambda key: True
    is_archive: Callable[[str], bool] = lambda key: True


class Lost(StorageAway):
    """The store no longer knows the upload: it can only be begun anew."""


class NeedsChecksum(StorageFailed):
    """The store takes an object for this bucket only with a Content-MD5."""


class Bucket:
    """The bucket that the options name. Whoever asks it does so within `explained`."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.head = f"{options.prefix}/" if options.prefix else ""

    @property
    def name(self) -> str:
        """As its owner calls it."""
        return self.options.bucket

    def at(self, key: str) -> dict[str, Any]:
        """What a request says of the object that it is about."""
        return {"Bucket": self.name, "Key": self.head + key}

    def look(self, key: str) -> tuple[int, str | None] | None:
        """Size and digest of what the store holds under the key; None where it holds nothing."""
        with self.explained(f"look at {key}"):
            try:
                found = self.client.head_object(**self.at(key))
            except exceptions.ClientError as error:
                if _code(error)[0] in _GONE:
                    return None
                raise
        return found["ContentLength"], found["Metadata"].get(DIGEST)

    def asked(self, ask: Callable[[], Any]) -> Mapping[str, Any] | None:
        """An answer about the bucket; empty where there is nothing to tell, None where the store doesn't tell."""
        try:
            with self.explained("look at the bucket"):
                found: Mapping[str, Any] = ask()
        except StorageFailed as error:
            cause = error.__cause__
            if isinstance(cause, exceptions.ClientError) and _code(cause)[0] in _NOTHING_SET:
                return {}
            log.debug("%s", error)
            return None
        return found

    @cached_property
    def client(self) -> "S3Client":
        """Asks the store; each request is made beside the main thread."""
        options = self.options
        config = botocore.config.Config(
            connect_timeout=min(_CONNECT_TIMEOUT, options.timeout),
            read_timeout=options.timeout,
            # One more try, for a connection that had grown old; the rest is the business of `retrying`.
            retries={"total_max_attempts": 2, "mode": "standard"},
            max_pool_connections=WORKERS + 2,
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
        client = session.client(
            "s3",
            region_name=options.region,
            endpoint_url=options.endpoint_url,
            # None leaves it to AWS_CA_BUNDLE and the AWS configuration file.
            verify=self._authorities(),
            config=config,
        )
        return cast("S3Client", _Aside(client))

    def _authorities(self) -> str | None:
        """The file of S3_CA_FILE, read once before: what is wrong with it would pass for a fault of the line."""
        file = self.options.ca_file
        if file is None:
            return None
        try:
            ssl.create_default_context(cafile=file)
        except OSError as error:
            raise StorageFailed(
                f"S3_CA_FILE: {file} holds no certificate that can be read ({error.strerror or error})",
                mend="It must be a file of one or more certificates in PEM form.",
            ) from error
        return str(file)

    @contextmanager
    def explained(self, doing: str, key: str | None = None) -> Iterator[None]:
        """Turn what the store and the library say into one line; with a `key`, "not found" means that object."""
        try:
            yield
        except exceptions.ClientError as error:
            self._refused(doing, key, error)
        except _AWAY as error:
            if isinstance(error, _TLS) and (mend := refusals.trust(str(error))):
                raise StorageFailed(self._said(doing, str(error)), mend=mend) from error
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
        if key is not None and code in _GONE:
            self._require_bucket()
            raise ObjectNotFound(f"{key} is not in bucket {self.name}", mend="`kimai-backup list` shows what is there.")
        what = self._said(doing, f"{code}, {message}" if message else code)
        if code == "NoSuchUpload":
            raise Lost(what) from error
        if refusals.wants_checksum(code, message):
            raise NeedsChecksum(what) from error
        if refusals.passes(code, status):
            raise StorageAway(what) from error
        raise StorageFailed(what, mend=refusals.mend(code, status)) from error

    def _require_bucket(self) -> None:
        """Tell a missing bucket from a missing object, which the answer to HEAD can't."""
        with self.explained("look at the bucket"):
            self.client.list_objects_v2(Bucket=self.name, Prefix=self.head, MaxKeys=1)

    def _said(self, doing: str, message: str) -> str:
        where = f" at {self.options.endpoint_url}" if self.options.endpoint_url else ""
        return f"can't {doing} in bucket {self.name}{where}: {refusals.one_line(message)}"


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
