"""Encrypted backups in Docker: the key is no container's, and is brought along for a restore as README says."""

import json
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from tests.support import docker as images
from tests.support.cli import Ran
from tests.support.keys import Key, age_decrypt, age_key
from tests.support.story import Story, differences, story

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    return age_key(tmp_path_factory.mktemp("elsewhere"))


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory, key: Key) -> Iterator[Story]:
    """One backup of a Kimai with files of every kind, encrypted to the key by both services' settings."""
    with story(tmp_path_factory.mktemp("sealed"), "mariadb") as found:
        setting = f"{{environment: {{BACKUP_ENCRYPT_TO: {key.recipient}}}}}"
        found.vary("encrypted", f"services:\n  backup: {setting}\n  restore: {setting}\n")
        found.up()
        found.load_sample()
        found.write_files()
        found.backup()
        yield found


def with_key(found: Story, key: Key, *arguments: str) -> Ran:
    """README's line, word by word."""
    line = '--volume "$PWD/key.txt:/key.txt:ro" --env BACKUP_IDENTITY_FILE=/key.txt restore latest'
    assert f"docker compose run --rm {line}" in (images.ROOT / "README.md").read_text()
    options = ["--volume", f"{key.file}:/key.txt:ro", "--env", "BACKUP_IDENTITY_FILE=/key.txt"]
    return found.project.run("restore", "latest", *arguments, options=options, deadline=240)


def archives(found: Story) -> list[str]:
    return [name for name in found.backups() if name.endswith((".zip", ".age"))]


def contents(found: Story) -> dict[str, str]:
    """Whose the files are, Kimai's start may change; links that lead outside come back from no backup."""
    files = {name: each["content"] for name, each in found.files().items()}
    return {name: content for name, content in files.items() if content != "/etc/hostname"}


def test_what_lies_there_names_nothing_and_the_stock_program_opens_it(sealed: Story, key: Key) -> None:
    [archive] = archives(sealed)
    assert archive.endswith(".zip.age")
    beside = (sealed.folder / "backups" / archive).with_name(archive.removesuffix(".zip.age") + ".json").read_text()
    assert "kimai2_" not in beside
    assert "var/" not in beside
    with zipfile.ZipFile(BytesIO(age_decrypt(sealed.folder / "backups" / archive, key))) as opened:
        assert {"database.sql", "manifest.json", "container.env"} <= set(opened.namelist())
        assert json.loads(opened.read("manifest.json"))["database"]["tables"]


def test_without_the_key_a_restore_touches_nothing(sealed: Story) -> None:
    before = sealed.app(), sealed.database.checksums()
    ran = sealed.restore("latest")
    assert ran.code == 4, ran.said
    assert "BACKUP_IDENTITY" in ran.errors[0]
    assert (sealed.app(), sealed.database.checksums()) == before


def test_with_the_key_it_comes_back_whole(sealed: Story, key: Key) -> None:
    checksums, files = sealed.database.checksums(), contents(sealed)
    sealed.install_anew()
    ran = with_key(sealed, key)
    assert ran.code == 0, ran.said
    assert differences(checksums, sealed.database.checksums()) == {}
    assert contents(sealed) == files
    assert sealed.login_status() == 200


def test_a_safety_backup_is_encrypted_as_well(sealed: Story, key: Key) -> None:
    sealed.database.query("INSERT INTO kimai2_tags (name) VALUES ('since the backup')")
    ran = with_key(sealed, key, "--replace")
    assert ran.code == 0, ran.said
    assert all(name.endswith(".zip.age") for name in archives(sealed))
    assert [name for name in archives(sealed) if "_safety" in name]


def test_no_container_that_stays_knows_the_key(sealed: Story, key: Key) -> None:
    secret = key.identity.strip().splitlines()[-1]
    assert secret.startswith("AGE-SECRET-KEY-")
    for service in ("backup", "kimai"):
        assert secret not in json.dumps(sealed.project.inspect(service))
        assert secret not in sealed.project.exec(service, "env").out
    assert not Path(sealed.folder / "key.txt").exists()
