"""A real S3 store for tests and bench: SeaweedFS on loopback, two identities, its own folder, gone afterwards."""

import contextlib
import json
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.client import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.support.ramdisk import new_folder
from tests.support.servers import free_port

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

WEED = Path(sys.executable).parent / "weed"
START_DEADLINE = 60
REGION = "us-east-1"


@dataclass(frozen=True)
class Key:
    """One identity: how it signs in."""

    access: str
    secret: str


@dataclass
class Store:
    """A running SeaweedFS: `key` may do all, `reader` may only read and list; buckets are made by `bucket`."""

    port: int
    key: Key
    reader: Key
    process: "subprocess.Popen[bytes]"
    folder: Path
    ca_file: Path | None = None

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}" if self.ca_file else f"http://127.0.0.1:{self.port}"

    def client(self, key: Key | None = None) -> "S3Client":
        """A bare boto3 client, as another program would have one."""
        found = key or self.key
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=found.access,
            aws_secret_access_key=found.secret,
            verify=str(self.ca_file) if self.ca_file else None,
            config=Config(retries={"total_max_attempts": 3}),
        )

    def bucket(self, *, locking: bool = False) -> str:
        """A new empty bucket."""
        name = f"backups-{secrets.token_hex(6)}"
        self.client().create_bucket(Bucket=name, ObjectLockEnabledForBucket=locking)
        return name

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(30)
        shutil.rmtree(self.folder, ignore_errors=True)


def start(certificates: Path | None = None, *, durable: bool = False) -> Store:
    """Start a SeaweedFS on free ports of loopback; over TLS with what `Authority.write` put into that folder.

    `durable`: on a disk, as in earnest.
    """
    prefix = "kimai-backup-seaweed-"
    folder = Path(tempfile.mkdtemp(prefix=prefix)) if durable else new_folder(prefix)
    key, reader = Key("writer", secrets.token_hex(16)), Key("reader", secrets.token_hex(16))
    identities = [
        {"name": name, "credentials": [{"accessKey": each.access, "secretKey": each.secret}], "actions": actions}
        for name, each, actions in (("writer", key, ["Admin"]), ("reader", reader, ["Read", "List"]))
    ]
    (folder / "identities.json").write_text(json.dumps({"identities": identities}))
    (folder / "data").mkdir()
    # Every bucket has volumes of its own, and there are many buckets: one for each test.
    (folder / "master.toml").write_text("[master.volume_growth]\ncopy_1 = 1\n")
    ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
    options = [f"-{name}.port={port}" for name, port in ports.items()]
    options += [f"-{name}.port.grpc={free_port()}" for name in ports]
    command = [
        str(WEED), f"-logdir={folder}", "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        "-s3", f"-s3.config={folder / 'identities.json'}", "-s3.ip.bind=127.0.0.1", "-s3.port.iceberg=0",
        "-s3.port.lance=0", "-s3.iam=false", *options, "-master.telemetry=false", "-volume.max=2000",
        "-master.volumeSizeLimitMB=64",
    ]  # fmt: skip
    if certificates:
        command += [f"-s3.cert.file={certificates / 'server.pem'}", f"-s3.key.file={certificates / 'server.key'}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
    store = Store(ports["s3"], key, reader, process, folder, certificates and certificates / "ca.pem")
    try:
        _wait_for(store)
    except BaseException:
        store.stop()
        raise
    return store


def _wait_for(store: Store) -> None:
    """Until an object can be written: the volumes come later than the first answer."""
    deadline = time.monotonic() + START_DEADLINE
    client = store.client()
    while True:
        try:
            client.create_bucket(Bucket="ready")
            client.put_object(Bucket="ready", Key="ready", Body=b"ready")
        except (BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"].startswith("BucketAlready"):
                client.put_object(Bucket="ready", Key="ready", Body=b"ready")
                return
            if store.process.poll() is not None or time.monotonic() > deadline:
                said = (store.folder / "log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"SeaweedFS did not start: {error}\n{said}") from error
            time.sleep(0.1)
        else:
            return


@contextlib.contextmanager
def running(certificates: Path | None = None, *, durable: bool = False) -> Iterator[Store]:
    store = start(certificates, durable=durable)
    try:
        yield store
    finally:
        store.stop()
