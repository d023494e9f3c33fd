"""Our S3 target on a store of the tests, with settings of the tests' own."""

from pathlib import Path
from typing import Any

from sidecar.storage.s3 import Options, S3Storage
from tests.support.seaweed import REGION, Key, Store


def options(store: Store, bucket: str, *, key: Key | None = None, **others: Any) -> Options:
    signs = key or store.key
    given: dict[str, Any] = {
        "prefix": "kimai/backups",
        "endpoint_url": store.url,
        "region": REGION,
        "timeout": 20,
    } | others
    return Options(bucket=bucket, access_key_id=signs.access, secret_access_key=signs.secret, **given)


def s3_storage(store: Store, folder: Path, *, bucket: str | None = None, **others: Any) -> S3Storage:
    """A target in a bucket of its own, unless one is named; large objects are fetched into `folder/spool`."""
    spool = folder / "spool"
    spool.mkdir(exist_ok=True)
    return S3Storage(options(store, bucket or store.bucket(), **others), lambda: spool)
