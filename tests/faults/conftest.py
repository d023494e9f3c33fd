"""A site with a second target: a bucket of its own on a real S3 store."""

from pathlib import Path

import pytest

from tests.support.cli import Site
from tests.support.s3 import settings
from tests.support.seaweed import Store


@pytest.fixture
def bucket(s3_store: Store) -> str:
    return s3_store.bucket()


@pytest.fixture
def offsite(site: Site, s3_store: Store, bucket: str, tmp_path: Path) -> Site:
    site.extra |= settings(s3_store, bucket, tmp_path)
    return site
