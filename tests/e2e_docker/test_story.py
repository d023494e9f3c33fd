"""The whole story in Docker: a Kimai is backed up, lost, and restored by one command, on each database.

It runs `compose.example.yml` itself; an override swaps images and, once, takes away the volumes that Kimai's documented
compose file doesn't have either.
"""

import base64
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from typing import Any, NamedTuple
from zipfile import ZipFile

import pytest

from tests.support import docker as images
from tests.support import product
from tests.support.story import DATABASES, DOCUMENTED, SAMPLE, Story, as_started, differences, is_led_outside, story

pytestmark = pytest.mark.timeout(900)

ADMINPASS = "never.Used1"
"""That of the first user, whom a fresh Kimai has where this is set."""


class Told(NamedTuple):
    """What was so when the backup was made, and what it said."""

    story: Story
    files: dict[str, Any]
    checksums: dict[str, tuple[int, int]]
    app_secret: str
    manifest: Any
    said: str


class Again(NamedTuple):
    """What is so after a restore, and what that said."""

    story: Story
    code: int
    said: str
    files: dict[str, Any]
    checksums: dict[str, tuple[int, int]]
    login_status: int


@pytest.fixture(scope="module")
def told(flavour: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """A Kimai with everything that one can have, and its backup."""
    with story(tmp_path_factory.mktemp(flavour), flavour) as found:
        found.up()
        found.load_sample()
        found.write_files()
        files, checksums, secret = found.files(), found.database.checksums(), found.app_secret()
        ran, manifest = found.backup()
        yield Told(found, files, checksums, secret, manifest, ran.said)


@pytest.fixture(scope="module")
def restored(told: Told) -> Again:
    """Everything was lost, volumes and all, and came back."""
    told.story.project.down()
    told.story.up()
    assert told.story.app_secret() != told.app_secret, "it is another Kimai"
    return restore(told.story)


@pytest.fixture(scope="module")
def moved(told: Told, restored: Again) -> tuple[Again, Any]:
    """The same backup in a Kimai with other volumes and a first user, and the backup of that one.

    What had a volume of its own comes by Docker now.
    """
    told.story.project.down()
    told.story.vary("documented", DOCUMENTED)
    with (told.story.folder / ".env").open("a") as settings:
        settings.write(f"ADMINPASS={ADMINPASS}\n")
    told.story.up()
    assert told.story.database.query("SELECT username FROM kimai2_users") == [["admin"]]
    again = restore(told.story)
    _, manifest = told.story.backup()
    return again, manifest


def restore(found: Story) -> Again:
    ran = found.restore("latest")
    if ran.code != 0:
        return Again(found, ran.code, ran.said, {}, {}, 0)
    return Again(found, ran.code, ran.said, found.files(), found.database.checksums(), found.login_status())


def content(manifest: Any) -> dict[str, Any]:
    """The files of a manifest, told as `Story.files` tells them."""
    found = {}
    for file in manifest["files"]:
        name = base64.b64decode(file["path_bytes"]) if "path_bytes" in file else file["path"].encode()
        kind = file.get("kind", "file")
        target = file.get("target", "")
        if "target_bytes" in file:
            target = os.fsdecode(base64.b64decode(file["target_bytes"]))
        found[os.fsdecode(name)] = {
            "kind": kind,
            "mode": 0 if kind == "link" else stat.S_IMODE(file["mode"]),
            "owner": [file["uid"], file["gid"]],
            "content": target if kind == "link" else file.get("sha256", ""),
            "mtime": file["mtime"] // 10**9 if kind == "file" else 0,
        }
    assert found.pop("container.env")["mode"] == 0o600
    return found


def expected(told: Told) -> dict[str, Any]:
    """What a Kimai has after a restore: all, but for the links that lead out of it."""
    return as_started({path: each for path, each in told.files.items() if not is_led_outside(path)})


# ── The backup ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_database_that_was_asked_for_is_backed_up(told: Told, flavour: str) -> None:
    version = told.story.database.check_who_answers(*DATABASES[flavour][1])
    print(f"backed up from {flavour} {version}")
    assert told.manifest["database"]["flavour"] == flavour
    assert told.manifest["database"]["server_version"].startswith(version.partition("-")[0])


def test_the_backup_says_which_kimai_it_is_of(told: Told) -> None:
    image = images.kimai()
    assert told.manifest["kimai"] == {
        "version": "2.66.0",
        "version_source": "console",
        "image": image,
        "image_digest": images.image_id(image),
        "git_revision": None,
        # One that says nothing of itself: it has no composer.json.
        "plugins": [{"folder": "DemoBundle", "name": None, "version": None, "requires": None}],
    }
    assert told.manifest["instance"] == "kimai"


def test_the_backup_lacks_nothing(told: Told) -> None:
    for lack in ("missing", "unreadable", "changed"):
        assert told.manifest[lack] == [], lack
    assert told.manifest["database"]["unreadable"] == []
    links = [path for path in told.files if is_led_outside(path)]
    assert len(links) == 5
    named = [warning for warning in told.manifest["warnings"] if "leads to what is not in the backup" in warning]
    assert len(named) == len(links), told.manifest["warnings"]


def test_the_backup_holds_every_file_as_it_is(told: Told) -> None:
    assert len(told.files) > 80
    assert differences(told.files, content(told.manifest)) == {}


def test_the_backup_holds_every_row(told: Told) -> None:
    rows = {table["name"]: table["rows"] for table in told.manifest["database"]["tables"]}
    assert rows == {name: count for name, (count, _) in told.checksums.items()}
    assert sum(rows.values()) > 300
    if SAMPLE:
        assert len(rows) == 37


def test_the_backup_is_one_file_that_only_its_owner_reads(told: Told) -> None:
    archive = told.story.folder / "backups" / f"{told.manifest['id']}.zip"
    assert archive.stat().st_mode & 0o777 == 0o600
    with archive.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == told.manifest["archive"]["sha256"]
    with ZipFile(archive) as zipped:
        environment = zipped.read("container.env").decode()
    assert f"{product.PASSWORD}@sqldb:3306/kimai" in environment
    assert told.app_secret in environment


def test_no_secret_is_anywhere_else(told: Told) -> None:
    """Before anything is taken down: in logs, in what the engine tells of our containers, in the manifest."""
    secrets = (product.PASSWORD, product.ROOT_PASSWORD, told.app_secret)
    logs = told.story.project.compose("logs", "--no-color", "backup", "docker-proxy").said
    inspected = json.dumps(told.story.project.inspect("backup"))
    listed = told.story.command("list", "--json").said + told.story.command("show", "latest", "--json").said
    configured = told.story.command("config").said
    environment = told.story.project.exec("backup", "env").said
    for text in (logs, inspected, listed, configured, environment, json.dumps(told.manifest), told.said):
        assert text
        assert not [secret for secret in secrets if secret in text]


# ── Lost and restored ────────────────────────────────────────────────────────────────────────────────────────


def test_one_command_restores_it(restored: Again) -> None:
    assert restored.code == 0, restored.said
    assert "is restored" in restored.said
    assert restored.login_status == 200
    assert {"running", "healthy"} <= restored.story.project.state("kimai")
    assert restored.story.one_offs() == []


def test_every_table_is_equal(told: Told, restored: Again) -> None:
    assert differences(told.checksums, restored.checksums) == {}


def test_every_file_is_equal(told: Told, restored: Again) -> None:
    assert differences(expected(told), as_started(restored.files)) == {}


def test_a_restore_says_what_it_does_not_bring_back(told: Told, restored: Again) -> None:
    left_out = [path for path in told.files if is_led_outside(path)]
    notes = [line for line in restored.said.splitlines() if line.startswith("! link ")]
    assert len(notes) == len(left_out), restored.said
    assert all("an %E9trange link leads outside of Kimai and is not restored" in note for note in notes)


def test_a_restore_says_whose_secret_is_in_force(restored: Again) -> None:
    assert "APP_SECRET in force comes from var/data/.appsecret, and is the backup's" in restored.said


def test_a_restore_says_no_secret(told: Told, restored: Again) -> None:
    assert told.app_secret not in restored.said
    assert product.PASSWORD not in restored.said


# ── Restored into a Kimai with other volumes ─────────────────────────────────────────────────────────────────


def test_what_has_no_volume_comes_back_through_docker(told: Told, moved: tuple[Again, Any]) -> None:
    again, _ = moved
    assert again.code == 0, again.said
    assert again.login_status == 200
    assert differences(expected(told), as_started(again.files)) == {}
    assert differences(told.checksums, again.checksums) == {}
    assert "ADMINPASS is set" in again.said
    assert ADMINPASS not in again.said
    mounts = {each["Destination"] for each in again.story.project.inspect("backup")["Mounts"]}
    assert "/opt/kimai/var/invoices" not in mounts
    assert "/opt/kimai/var/data" in mounts


def test_a_backup_of_it_holds_the_same(told: Told, moved: tuple[Again, Any]) -> None:
    _, manifest = moved
    assert differences(expected(told), as_started(content(manifest))) == {}
    assert manifest["missing"] == manifest["unreadable"] == []
    before, after = (
        {table["name"]: (table["rows"], table["digest"]) for table in each["database"]["tables"]}
        for each in (told.manifest, manifest)
    )
    assert differences(before, after) == {}
