"""A bucket for a project of the example: SeaweedFS as one more service, and S3_* set as the example's comments say."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.client import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.support import docker as images
from tests.support.cli import poll
from tests.support.compose import Project
from tests.support.seaweed import Key

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

SERVICE = "s3"
BUCKET, PREFIX, REGION = "my-backups", "kimai", "eu-central-1"
"""As compose.example.yml names them."""

KEY = Key("backups.Acc3ss", "buck3t/Secret+Key")
RETRY_DEADLINE = 2
"""Seconds: the tests wait for a store that is away more than once."""


def override() -> str:
    """Text of an override that adds the store, its bucket there from the beginning, and has it waited for briefly."""
    brief = f"{{environment: {{RETRY_DEADLINE: '{RETRY_DEADLINE}'}}}}"
    return f"""\
services:
  {SERVICE}:
    image: '{images.seaweedfs()}'
    pull_policy: never
    environment: {{AWS_ACCESS_KEY_ID: '{KEY.access}', AWS_SECRET_ACCESS_KEY: '{KEY.secret}', S3_BUCKET: '{BUCKET}'}}
    volumes: ['bucket:/data']
  backup: {brief}
  restore: {brief}
volumes: {{bucket: {{}}}}
"""


def uncommented(example: str) -> str:
    """The example as its comments say for a bucket: lines lose their `#`, and the one value that differs is set."""
    ours = (
        r"S3_(?!CA_FILE)[A-Z_]+: \S+|secrets: \[s3_access_key_id, s3_secret_access_key\]"
        r"|s3_[a-z_]+:|  file: \./secrets/s3_[a-z_]+"
    )
    text, times = re.subn(rf"^( *)# ({ours})$", r"\1\2", example, flags=re.MULTILINE)
    # Six settings, a line in each service, two secrets of two lines.
    assert times == 12, times
    text, times = re.subn(r"S3_ENDPOINT_URL: \S+", f"S3_ENDPOINT_URL: http://{SERVICE}:8333", text)
    assert times == 1
    return text


@dataclass(frozen=True)
class Bucket:
    """The store's bucket as another program sees it, from the host."""

    project: Project

    @property
    def client(self) -> "S3Client":
        """Made anew each time: a container that was started again may have another address."""
        return boto3.client(
            "s3",
            endpoint_url=f"http://{self.project.address(SERVICE)}:8333",
            region_name=REGION,
            aws_access_key_id=KEY.access,
            aws_secret_access_key=KEY.secret,
            config=Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 1}),
        )

    def keys(self) -> set[str]:
        """Every object, ours or not, by its whole key."""
        return {found["Key"] for found in self.client.list_objects_v2(Bucket=BUCKET).get("Contents", ())}

    def put(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=key, Body=body)

    def uploads(self) -> list[str]:
        """The keys of uploads that were begun and have not ended."""
        found = self.client.list_multipart_uploads(Bucket=BUCKET)
        return [upload["Key"] for upload in found.get("Uploads", ())]

    def wait(self) -> None:
        """Until it takes objects: the store answers before it can."""

        def takes() -> bool:
            with suppress(BotoCoreError, ClientError):
                self.put("ready", b"ready")
                self.client.delete_object(Bucket=BUCKET, Key="ready")
                return True
            return False

        poll(takes, "the store takes objects")

    @contextmanager
    def slow(self) -> Iterator[None]:
        """The store has a tenth of a processor: a large upload lasts long enough to be met in its middle."""
        images.docker("update", "--cpus", "0.1", self.project.container(SERVICE))
        try:
            yield
        finally:
            # All that there are: 0 would mean that nothing is to be changed.
            everything = images.docker("info", "--format", "{{.NCPU}}").strip()
            images.docker("update", "--cpus", everything, self.project.container(SERVICE))

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The store stands still: it is connected to, and never answers.

        By a signal, as `docker pause` can't stop what has used up its share of the processor.
        """
        images.docker("kill", "--signal", "STOP", self.project.container(SERVICE))
        try:
            yield
        finally:
            images.docker("kill", "--signal", "CONT", self.project.container(SERVICE))

    @contextmanager
    def away(self) -> Iterator[None]:
        """The store is stopped, and started again afterwards."""
        self.project.stop(SERVICE)
        try:
            yield
        finally:
            self.project.start(SERVICE)
            self.project.wait(SERVICE, "healthy")
            self.wait()
