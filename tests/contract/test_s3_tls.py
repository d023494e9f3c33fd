"""An S3 store over TLS: whose certificate is trusted, by which setting, and what is said where none is."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.errors import Exit, StorageAway, StorageFailed
from sidecar.storage.parts import PART
from tests.support import seaweed
from tests.support.certificates import Authority
from tests.support.cli import COMMAND
from tests.support.s3 import s3_storage
from tests.support.seaweed import REGION, Store

pytestmark = pytest.mark.slow

SET_IT = "Set S3_CA_FILE to a file with the certificate of the authority that signed the store's."


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    certificates = Authority().write(tmp_path_factory.mktemp("certificates"), ["localhost"])
    with seaweed.running(certificates) as found:
        yield found


@pytest.fixture(scope="module")
def right(store: Store) -> str:
    return str(store.ca_file)


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("another")
    return str(Authority("another").write(folder, ["localhost"]) / "ca.pem")


@pytest.fixture(scope="module")
def bucket(store: Store) -> str:
    name = store.bucket()
    store.client().put_object(Bucket=name, Key="kimai_prod_2.66.0_20261122T011000Z.zip", Body=b"x")
    return name


def listed(store: Store, bucket: str, folder: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    """`kimai-backup list` with the patience of hours: what is asked twice would not end within the test."""
    environment = {
        "PATH": os.environ["PATH"],
        "BACKUP_DIR": "",
        "BACKUP_STATE_DIR": str(folder),
        "BACKUP_INSTANCE": "prod",
        "S3_BUCKET": bucket,
        "S3_ENDPOINT_URL": store.url,
        "S3_REGION": REGION,
        "S3_ACCESS_KEY_ID": store.key.access,
        "S3_SECRET_ACCESS_KEY": store.key.secret,
        "RETRY_DEADLINE": "7200",
    }
    return subprocess.run(
        [COMMAND, "list"], env=environment | settings, capture_output=True, text=True, check=False, timeout=60
    )


def told(ran: "subprocess.CompletedProcess[str]") -> str:
    """The error's one line; there were no tries after the first."""
    assert ran.returncode == Exit.STORAGE, ran.stderr
    assert "trying to" not in ran.stderr
    lines = [line for line in ran.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, ran.stderr
    return lines[0]


def test_what_s3_ca_file_names_is_trusted(store: Store, bucket: str, right: str, tmp_path: Path) -> None:
    ran = listed(store, bucket, tmp_path, S3_CA_FILE=right)
    assert ran.returncode == Exit.DONE, ran.stderr


def test_what_aws_ca_bundle_names_is_trusted(store: Store, bucket: str, right: str, tmp_path: Path) -> None:
    ran = listed(store, bucket, tmp_path, AWS_CA_BUNDLE=right)
    assert ran.returncode == Exit.DONE, ran.stderr


def test_s3_ca_file_counts_before_aws_ca_bundle(
    store: Store, bucket: str, right: str, wrong: str, tmp_path: Path
) -> None:
    assert listed(store, bucket, tmp_path, S3_CA_FILE=right, AWS_CA_BUNDLE=wrong).returncode == Exit.DONE
    assert listed(store, bucket, tmp_path, S3_CA_FILE=wrong, AWS_CA_BUNDLE=right).returncode == Exit.STORAGE


@pytest.mark.parametrize("given", ["nothing", "S3_CA_FILE", "AWS_CA_BUNDLE"])
def test_an_authority_that_is_not_trusted_is_one_line_and_asked_once(
    store: Store, bucket: str, wrong: str, tmp_path: Path, given: str
) -> None:
    line = told(listed(store, bucket, tmp_path, **({} if given == "nothing" else {given: wrong})))
    assert "CERTIFICATE_VERIFY_FAILED" in line
    assert bucket in line
    assert line.endswith(SET_IT)


@pytest.mark.parametrize(
    "content", ["no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_ca_file_without_a_certificate_is_named(store: Store, bucket: str, tmp_path: Path, content: str) -> None:
    (tmp_path / "ca.pem").write_text(content)
    line = told(listed(store, bucket, tmp_path, S3_CA_FILE=str(tmp_path / "ca.pem")))
    assert f"S3_CA_FILE: {tmp_path / 'ca.pem'} holds no certificate" in line


@pytest.mark.parametrize("there", [True, False])
def test_a_bundle_of_aws_without_a_certificate_is_named(
    store: Store, bucket: str, tmp_path: Path, *, there: bool
) -> None:
    if there:
        (tmp_path / "bundle").write_text("no certificate")
    line = told(listed(store, bucket, tmp_path, AWS_CA_BUNDLE=str(tmp_path / "bundle")))
    assert line.endswith("Let AWS_CA_BUNDLE name a file of certificates, or unset it and set S3_CA_FILE.")


def test_a_certificate_for_another_name_is_told_apart(store: Store, bucket: str, right: str, tmp_path: Path) -> None:
    line = told(listed(store, bucket, tmp_path, S3_CA_FILE=right, S3_ENDPOINT_URL=f"https://127.0.0.1:{store.port}"))
    assert line.endswith("Name the store in S3_ENDPOINT_URL as its certificate does.")


def test_large_objects_go_both_ways_over_tls(store: Store, right: str, tmp_path: Path) -> None:
    data = os.urandom(2 * PART + 1)
    (tmp_path / "big").write_bytes(data)
    s3 = s3_storage(store, tmp_path, ca_file=Path(right))
    s3.put("big", tmp_path / "big")
    with s3.open("big") as stream:
        assert stream.read() == data


def test_without_trust_nothing_is_sent(store: Store, bucket: str, wrong: str, tmp_path: Path) -> None:
    s3 = s3_storage(store, tmp_path, bucket=bucket, ca_file=Path(wrong))
    with pytest.raises(StorageFailed, match="S3_CA_FILE") as caught:
        s3.put("new", b"x")
    assert not isinstance(caught.value, StorageAway)
