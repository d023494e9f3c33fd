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


def settings(store: Store, bucket: str, folder: Path) -> dict[str, str]:
    """What an admin sets to keep backups there; the secret lies in a file of its own in the folder."""
    secret = folder / "s3-secret"
    secret.write_text(store.key.secret + "\n")
    return {
        "S3_BUCKET": bucket,
        "S3_PREFIX": "kimai/backups",
        "S3_ENDPOINT_URL": store.url,
        "S3_REGION": REGION,
        "S3_ACCESS_KEY_ID": store.key.access,
        "S3_SECRET_ACCESS_KEY_FILE": str(secret),
        "RETRY_DEADLINE": "2",
    }


def keys_in(store: Store, bucket: str) -> list[str]:
    """The names that lie in the bucket, by another client than ours."""
    found = store.client().list_objects_v2(Bucket=bucket).get("Contents", [])
    return sorted(each["Key"].removeprefix("kimai/backups/") for each in found)
