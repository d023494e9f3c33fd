"""Single files that are mounts of their own, as Docker makes them of `-v ./local.yaml:…`: no rename goes there."""

import shutil
import subprocess

import pytest

from tests.support.cli import Ran, Site

LOCAL_YAML = "config/packages/local.yaml"


def restore(site: Site, path: str, content: bytes) -> Ran:
    """A restore of the latest backup while a file of this content is mounted at the path, in a namespace of its own."""
    outside = site.folder / "mounted"
    outside.write_bytes(content)
    shutil.copystat(site.root / ".env", outside)
    place = site.root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        place.touch()
    # Who isn't root is it in a user namespace, where mounts may be made as well.
    rights = [] if _may_mount() else ["--map-root-user"]
    mount = ["sh", "-c", f'mount --bind "{outside}" "{place}" && exec "$@"', "sh"]
    prefix = ["unshare", *rights, "--mount", "--propagation", "private", *mount]
    ran = site.run("restore", "latest", prefix=prefix)
    assert outside.read_bytes() == content
    return ran


def _may_mount() -> bool:
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("path", [LOCAL_YAML, "var/data/rates.csv"])
def test_a_mounted_file_of_other_content_is_refused_before_anything_is_touched(site: Site, path: str) -> None:
    (site.root / path).write_bytes(b"kimai: { timesheet: { rounding: { } } }\n")
    site.backup()
    site.lose_database()
    (site.root / path).write_bytes(b"")
    site.remember()
    ran = restore(site, path, b"kimai: { }\n")
    assert ran.code == 8, ran.said
    assert f"{path} is a mount" in ran.errors[0]
    assert "--only database" in ran.errors[0]
    assert "Unmount" in ran.errors[0]
    assert "database is empty" not in ran.said
    assert site.objects() == []
    site.assert_restored()


@pytest.mark.parametrize("path", [LOCAL_YAML, ".env", "var/data/rates.csv"])
def test_a_mounted_file_that_is_equal_already_is_left_alone(site: Site, path: str) -> None:
    if not (site.root / path).exists():
        (site.root / path).write_bytes(b"1;2\n")
    content = (site.root / path).read_bytes()
    rows = site.rows()
    site.backup()
    site.lose_all()
    ran = restore(site, path, content)
    assert ran.code == 0, ran.said
    assert f"{path} is mounted" in ran.said
    assert "not in the backup" not in ran.said
    assert site.rows() == rows
    assert (site.root / "var/data/newest.pdf").is_symlink()
    assert site.traces() == []


def test_a_mounted_env_that_differs_stays_and_the_backups_is_laid_beside_it(site: Site) -> None:
    old = (site.root / ".env").read_bytes()
    site.backup()
    site.lose_all()
    ran = restore(site, ".env", old + b"MAILER_FROM=kimai@example.com\n")
    assert ran.code == 0, ran.said
    assert (site.root / ".env.from-backup").read_bytes() == old
    assert ".env is not in the backup" not in ran.said


def test_an_env_that_differs_is_not_said_to_be_lacking(site: Site) -> None:
    site.backup()
    site.lose_all()
    with (site.root / ".env").open("a") as file:
        file.write("MAILER_FROM=kimai@example.com\n")
    ran = site.run("restore", "latest")
    assert ran.code == 0, ran.said
    assert ".env is not in the backup" not in ran.said
    assert (site.root / ".env.from-backup").is_file()
