"""A second copy off the machine, in Docker: set up as README says, missed and made up for, one day all that is left.

One project, on MariaDB, with SeaweedFS beside it. Each test leaves a Kimai with the rows and files that it began with.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support import docker as images
from tests.support import readme
from tests.support.cli import poll
from tests.support.offsite import BUCKET, KEY, PREFIX, SERVICE, Bucket, override, uncommented
from tests.support.story import SECRETS, SERVICES, Story, as_started, differences, is_led_outside, story

pytestmark = pytest.mark.timeout(900)

OLD = "kimai_kimai_2.66.0_20200101T000000Z"
"""A backup that retention gives up, where anything is pruned at all."""


class Kept(NamedTuple):
    """A Kimai with a bucket, what was in it when its one first backup was made, and what README's commands said."""

    story: Story
    bucket: Bucket
    files: dict[str, Any]
    checksums: dict[str, tuple[int, int]]
    app_secret: str
    first: str
    said: str


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """A Kimai that runs already, and then gets its bucket by what README and the example's comments say."""
    with story(tmp_path_factory.mktemp("offsite"), "mariadb") as found:
        found.secrets = (*SECRETS, KEY.secret)
        found.vary("s3", override())
        found.up(*SERVICES, SERVICE)
        found.load_sample()
        found.write_files()
        bucket = Bucket(found.project)
        bucket.wait()
        files, checksums, secret = as_started(found.files()), found.database.checksums(), found.app_secret()
        said = set_up(found)
        yield Kept(found, bucket, files, checksums, secret, found.manifest()["id"], said)


def set_up(found: Story) -> str:
    """README's "Off the machine", its two blocks of commands around what is done with an editor."""
    files = ":".join(str(path) for path in found.project.files)
    environment = {
        **found.project.environment(),
        "COMPOSE_PROJECT_NAME": found.project.name,
        "COMPOSE_FILE": files,
    }
    make_files, try_it = readme.blocks("Off the machine")
    readme.follow(make_files, found.folder, environment)
    for name, value in (("s3_access_key_id", KEY.access), ("s3_secret_access_key", KEY.secret)):
        path = found.folder / "secrets" / name
        assert path.stat().st_mode & 0o777 == 0o600
        path.write_text(f"{value}\n")
    compose = found.folder / "compose.yml"
    compose.write_text(uncommented(compose.read_text()))
    return readme.follow(try_it, found.folder, environment)


def listed(kept: Kept) -> dict[str, list[str]]:
    """The targets that hold each backup, as `list` says."""
    ran = kept.story.command("list", "--json")
    assert ran.code == 0, ran.said
    return {row["id"]: row["targets"] for row in ran.json()}


def newest(kept: Kept) -> str:
    """The backup that lies on the local target and is the newest there."""
    found: str = kept.story.manifest()["id"]
    return found


def local_objects(kept: Kept) -> set[str]:
    """What the folder for backups holds, told as the bucket's keys."""
    return {f"{PREFIX}/{name}" for name in kept.story.backups()}


def grow_old(kept: Kept) -> set[str]:
    """Lay the first backup once more on both targets, as one of years ago; the names of its two objects."""
    folder = kept.story.folder / "backups"
    source = max(folder.glob("*.zip"), key=lambda path: path.name)
    manifest = json.loads(source.with_suffix(".json").read_text()) | {"id": OLD}
    objects = {f"{OLD}.zip": source.read_bytes(), f"{OLD}.json": json.dumps(manifest).encode()}
    for name, content in objects.items():
        (folder / name).write_bytes(content)
        kept.bucket.put(f"{PREFIX}/{name}", content)
    return {f"{PREFIX}/{name}" for name in objects}


def check_restored(kept: Kept) -> None:
    """Kimai is well and has every row and file, but for the links that lead out of it."""
    found = kept.story
    assert {"running", "healthy"} <= found.project.state("kimai")
    assert found.login_status() == 200
    assert found.one_offs() == []
    assert differences(kept.checksums, found.database.checksums()) == {}
    lacking = differences(kept.files, as_started(found.files()))
    assert [path for path in lacking if not is_led_outside(path)] == []


# ── Set up ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_readmes_steps_lead_to_a_backup_on_both_targets(kept: Kept) -> None:
    assert "FAIL" not in kept.said
    seen = {tuple(line.split(None, 3)[:3]): line for line in kept.said.splitlines()}
    assert seen["ok", "target", "local"].endswith("writes, reads, lists and deletes")
    assert seen["ok", "target", "s3"].endswith("writes, reads, lists and deletes")
    assert seen["ok", "clock", "of"].endswith("as ours")
    assert "are off: whoever has the key can destroy every backup there" in seen["note", "versions", "in"]
    [row] = [line for line in kept.said.splitlines() if line.startswith(f"{kept.first}  ")]
    assert "local, s3" in row
    assert {f"{PREFIX}/{kept.first}.zip", f"{PREFIX}/{kept.first}.json"} <= kept.bucket.keys()
    assert not [secret for secret in kept.story.secrets if secret in kept.said]


def test_verify_reads_both_copies(kept: Kept) -> None:
    ran = kept.story.command("verify", kept.first, "--json")
    assert ran.code == 0, ran.said
    assert [(row["id"], row["target"], row["whole"]) for row in ran.json()] == [
        (kept.first, "local", True),
        (kept.first, "s3", True),
    ]


def test_a_large_archive_went_in_parts(kept: Kept) -> None:
    found = kept.bucket.client.head_object(Bucket=BUCKET, Key=f"{PREFIX}/{kept.first}.zip")
    archive = kept.story.folder / f"backups/{kept.first}.zip"
    assert found["ContentLength"] == archive.stat().st_size > 30 << 20
    parts = int(found["ETag"].strip('"').rpartition("-")[2])
    assert parts >= 4


def test_the_secret_of_the_bucket_is_in_its_file_alone(kept: Kept) -> None:
    found = kept.story
    told = json.dumps(found.project.inspect("backup")) + found.project.exec("backup", "env").said
    told += found.command("config").said + found.project.logs("backup", "docker-proxy")
    assert "/run/secrets/s3_secret_access_key" in told
    assert KEY.secret not in told


# ── Away, and made up for ────────────────────────────────────────────────────────────────────────────────────


def test_what_the_store_missed_for_three_runs_it_gets_from_the_next(kept: Kept) -> None:
    found = kept.story
    old = grow_old(kept)
    before = kept.bucket.keys()
    with kept.bucket.away():
        for _ in range(3):
            already, began = local_objects(kept), time.monotonic()
            ran = found.command("backup")
            print(f"without the store a run took {time.monotonic() - began:.0f} s")
            assert ran.code == 3, ran.said
            assert time.monotonic() - began < 60
            assert "target s3 failed" in ran.err
            assert "nothing is pruned: a target failed" in ran.err
            made = newest(kept)
            assert local_objects(kept) - already == {f"{PREFIX}/{made}.zip", f"{PREFIX}/{made}.json"}
            assert already < local_objects(kept), "nothing is pruned"
        ran = found.command("list", "--json")
        assert ran.code == 3, ran.said
        assert ran.json()[0] == {**ran.json()[0], "id": made, "targets": ["local"]}
        assert found.command("health").code == 1
    missed = local_objects(kept) - before
    assert len(missed) == 2 * 3
    assert kept.bucket.keys() == before
    ran = found.command("backup")
    assert ran.code == 0, ran.said
    assert ran.err.count("which target s3 had missed, is there now") == 3
    # All went well, so retention is applied again, on both.
    assert kept.bucket.keys() == local_objects(kept) > missed | before - old
    assert not old & local_objects(kept)
    assert set(map(tuple, listed(kept).values())) == {("local", "s3")}
    assert len(listed(kept)) >= 5
    ran = found.command("verify", "--json")
    assert ran.code == 0, ran.said
    assert len(ran.json()) == 2 * len(listed(kept))


def test_prune_decides_for_both_targets_and_leaves_what_is_not_ours(kept: Kept) -> None:
    found = kept.story
    # As many as RETENTION_MIN_KEEP, so that the old one is not among them.
    while len(listed(kept)) < 3:
        found.backup()
    whole = listed(kept)
    old = grow_old(kept)
    foreign = {"notes.txt", f"{PREFIX}/notes.txt", f"{PREFIX}/kimai_other_2.66.0_20200101T000000Z.zip", f"{PREFIX}/a/b"}
    for key in foreign:
        kept.bucket.put(key, b"not ours")
    before = kept.bucket.keys()
    ran = found.command("prune", "--dry-run", "--json")
    assert ran.code == 0, ran.said
    decided = {(row["target"], row["id"]): row for row in ran.json()}
    for target in ("local", "s3"):
        assert {id_: decided[target, id_]["keep"] for id_ in whole} == dict.fromkeys(whole, True)
        assert decided[target, OLD]["keep"] is False
        assert all(row["reasons"] for row in decided.values())
    assert not any(row["deleted"] for row in decided.values())
    assert kept.bucket.keys() == before, "a dry run deletes nothing"
    ran = found.command("prune", "--json")
    assert ran.code == 0, ran.said
    assert {(row["target"], row["id"]) for row in ran.json() if row["deleted"]} == {("local", OLD), ("s3", OLD)}
    assert kept.bucket.keys() == before - old
    assert foreign <= kept.bucket.keys()
    for key in foreign:
        kept.bucket.client.delete_object(Bucket=BUCKET, Key=key)


def test_a_store_that_freezes_under_an_upload_is_given_up_in_time_and_healed_by_the_next_run(kept: Kept) -> None:
    found = kept.story
    before = kept.bucket.keys()
    running = found.project.start_command("exec", "--no-TTY", "backup", "kimai-backup", "backup")
    try:
        with kept.bucket.slow():
            poll(kept.bucket.uploads, "an upload is under way")
            with kept.bucket.frozen():
                began = time.monotonic()
                out, _ = running.communicate(timeout=120)
                print(f"the frozen store was given up after {time.monotonic() - began:.0f} s")
                check_health_is_told_in_time(found)
    finally:
        running.kill()
        running.communicate(timeout=30)
    said = out.decode()
    assert running.returncode == 3, said
    assert "target s3 failed" in said
    assert "Traceback" not in said
    made = newest(kept)
    kept.bucket.wait()
    assert f"{PREFIX}/{made}.zip" not in before
    assert kept.bucket.keys() == before, "nothing is there in part"
    assert listed(kept)[made] == ["local"]
    ran, _ = found.backup()
    assert f"{made}, which target s3 had missed, is there now" in ran.err
    assert listed(kept)[made] == ["local", "s3"]
    ran = found.command("verify", made)
    assert ran.code == 0, ran.said


# ── Brought back ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_damaged_local_copy_is_passed_over_for_that_in_the_bucket(kept: Kept) -> None:
    found = kept.story
    backup = newest(kept)
    archive = found.folder / f"backups/{backup}.zip"
    flip(archive)
    # What is fetched has no room there, and none on the root file system, which is read-only.
    found.vary("small", "services:\n  restore: {tmpfs: !override ['/tmp:size=1m']}\n")
    found.install_anew()
    try:
        ran = found.restore("latest")
    finally:
        found.vary("small")
        flip(archive)
    assert ran.code == 0, ran.said
    assert "the copy on local is passed over" in ran.out
    assert f"{backup} is restored" in ran.said
    check_restored(kept)
    left = found.project.exec("backup", "ls", "/var/lib/kimai-backup/spool")
    assert (left.code, left.out) == (0, ""), "what was fetched is gone again"


def test_where_the_machine_is_lost_the_bucket_is_enough(kept: Kept) -> None:
    """Every volume but the bucket's is gone, and the folder for backups is empty."""
    found = kept.story
    backup, there = newest(kept), kept.bucket.keys()
    lose(found)
    found.up(*SERVICES, SERVICE)
    kept.bucket.wait()
    assert found.app_secret() != kept.app_secret, "it is another Kimai"
    assert found.backups() == []
    assert listed(kept)[backup] == ["s3"]
    ran = found.restore("latest", "--dry-run")
    assert ran.code == 0, ran.said
    assert found.database.checksums()["kimai2_timesheet"][0] == 0
    ran = found.restore("latest")
    assert ran.code == 0, ran.said
    assert f"{backup} is restored" in ran.said
    check_restored(kept)
    assert found.app_secret() == kept.app_secret
    # And so life goes on: the next backup is on both, the old ones stay where they are.
    _, manifest = found.backup()
    assert listed(kept)[manifest["id"]] == ["local", "s3"]
    assert listed(kept)[backup] == ["s3"]
    assert there <= kept.bucket.keys()


def check_health_is_told_in_time(found: Story) -> None:
    """HEALTHCHECK ends a check after 30 s, and then nobody reads why: with RETRY_DEADLINE as it is by default, too."""
    began = time.monotonic()
    ran = found.project.exec("backup", "kimai-backup", "health", options=["--env", "RETRY_DEADLINE=300"])
    assert ran.code == 1, ran.said
    assert "target s3: can't list the backups" in ran.said
    assert time.monotonic() - began < 20


def flip(archive: Path) -> None:
    """Turn one byte in the middle over; once more, and it is as it was."""
    with archive.open("r+b") as file:
        middle = archive.stat().st_size // 2
        file.seek(middle)
        [byte] = file.read(1)
        file.seek(middle)
        file.write(bytes([byte ^ 0xFF]))


def lose(found: Story) -> None:
    """All that lay on the machine; the bucket was elsewhere."""
    # With their anonymous volumes, which nobody could tell to be ours once the containers are gone.
    found.project.compose("rm", "--stop", "--force", "--volumes")
    found.project.down(volumes=False)
    ours = images.docker("volume", "ls", "-q", "--filter", f"label=com.docker.compose.project={found.project.name}")
    volumes = [name for name in ours.split() if not name.endswith("_bucket")]
    assert len(volumes) == 7, volumes
    images.docker("volume", "rm", *volumes)
    for path in (found.folder / "backups").iterdir():
        path.unlink()
