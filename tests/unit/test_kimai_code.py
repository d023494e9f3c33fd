"""What Kimai's code says of itself: its newest migration and its plugins, on this machine and through Docker."""

import json
from pathlib import Path

import pytest

from sidecar.errors import Unreachable
from sidecar.kimai.beneath import small_files
from sidecar.kimai.code import (
    archived_newest_migration,
    archived_plugins,
    local_newest_migration,
    local_plugins,
    newest_migration,
    plugins_among,
    version_id,
)
from sidecar.manifest import Plugin
from tests.support.container import FakeContainer, tar_of

COMPOSER = {"name": "keleo/demo", "version": "1.0", "extra": {"kimai": {"require": 26600, "name": "Demo"}}}


def test_the_newest_migration_is_told_by_names_alone() -> None:
    names = ["Version20180701120000.php", "Version20260802183206.php", "Version2099.php", "MigrationTemplate.txt", "x"]
    assert newest_migration(names) == "Version20260802183206"
    assert newest_migration(["MigrationTemplate.txt", "Version20260802183206.php.bak"]) is None


@pytest.mark.parametrize(
    ("version", "number"),
    [("2.66.0", 26600), ("2.66.1-beta.2", 26601), ("2.66", 26600), ("1.30.11", 13011), ("next", None)],
)
def test_versions_are_counted_as_kimai_does(version: str, number: int | None) -> None:
    assert version_id(version) == number


def described(content: bytes) -> Plugin:
    (found,) = plugins_among(["var/plugins/DemoBundle/composer.json"], lambda path: content)
    return found


def test_a_plugin_is_what_its_composer_json_says() -> None:
    wanted = Plugin(folder="DemoBundle", name="keleo/demo", version="1.0", requires=26600)
    assert described(json.dumps(COMPOSER).encode()) == wanted
    own = COMPOSER | {"extra": {"kimai": {"require": 26600, "version": "2.0"}}}
    assert described(json.dumps(own).encode()).version == "2.0", "Kimai's own key counts before composer's"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"[]",
        b"null",
        b'{"name": 5, "version": [], "extra": []}',
        b'{"extra": {"kimai": 7}}',
        b'{"extra": {"kimai": {"require": "26600"}}}',
        b'{"extra": {"kimai": {"require": -1}}}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_plugin_that_says_nothing_usable_is_still_there(content: bytes) -> None:
    assert described(content) == Plugin(folder="DemoBundle")


def test_half_a_character_can_stand_in_no_manifest() -> None:
    assert described(b'{"name": "a\\ud800b", "version": "%s"}' % (b"9" * 500)) == Plugin(
        folder="DemoBundle", name="a?b", version="9" * 200
    )


def test_only_what_kimai_loads_is_a_plugin() -> None:
    paths = [
        "var/plugins/.gitkeep",
        "var/plugins/FileBundle",
        "var/plugins/DemoBundle-1.0/composer.json",
        "var/plugins/Demo/composer.json",
        "var/plugins/Ümlaut Bundle/composer.json",
        "var/plugins/EmptyBundle/",
        "var/plugins/OffBundle/composer.json",
        "var/plugins/OffBundle/.disabled",
        "var/data/OtherBundle/composer.json",
    ]
    assert plugins_among(paths, lambda path: None) == [Plugin(folder="EmptyBundle")]


def test_on_this_machine(tmp_path: Path) -> None:
    read = small_files(tmp_path)
    assert (local_plugins(tmp_path, read), local_newest_migration(tmp_path)) == ([], None)
    for folder in ("BBundle", "ABundle", "OffBundle"):
        (tmp_path / "var/plugins" / folder).mkdir(parents=True)
    (tmp_path / "var/plugins/BBundle/composer.json").write_text(json.dumps(COMPOSER))
    (tmp_path / "var/plugins/OffBundle/.disabled").touch()
    (tmp_path / "var/plugins/FileBundle").touch()
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations/Version20260802183206.php").touch()
    found = local_plugins(tmp_path, read)
    assert found == [
        Plugin(folder="ABundle"),
        Plugin(folder="BBundle", name="keleo/demo", version="1.0", requires=26600),
    ]
    assert local_newest_migration(tmp_path) == "Version20260802183206"
    (tmp_path / "var/plugins/ABundle/composer.json").mkdir()
    assert local_plugins(tmp_path, read) is None, "what can't be read is not known"


def test_in_a_container() -> None:
    files = FakeContainer(
        {
            "migrations": tar_of(
                ("migrations", None),
                ("migrations/Version20180701120000.php", b"<?php"),
                ("migrations/Version20260802183206.php", b"<?php"),
                ("migrations/MigrationTemplate.txt", b"x"),
            ),
            "var/plugins": tar_of(
                ("plugins", None),
                ("plugins/DemoBundle", None),
                ("plugins/DemoBundle/composer.json", json.dumps(COMPOSER).encode()),
                ("plugins/DemoBundle/vendor/x/composer.json", b"{}"),
                ("plugins/OffBundle", None),
                ("plugins/OffBundle/.disabled", b""),
                ("plugins/HugeBundle", None),
                ("plugins/HugeBundle/composer.json", b" " * (1 << 20) + b"{}"),
            ),
        }
    )
    assert archived_newest_migration(files, "app", "/opt/kimai") == "Version20260802183206"
    demo = Plugin(folder="DemoBundle", name="keleo/demo", version="1.0", requires=26600)
    assert archived_plugins(files, "app", "/opt/kimai") == [demo, Plugin(folder="HugeBundle")]
    nothing = FakeContainer({})
    assert archived_newest_migration(nothing, "app", "/opt/kimai") is None
    assert archived_plugins(nothing, "app", "/opt/kimai") == []


def test_an_answer_that_is_cut_off_is_no_answer() -> None:
    whole = tar_of(("plugins", None), ("plugins/DemoBundle", None), ("plugins/DemoBundle/composer.json", b"x" * 5000))
    files = FakeContainer({"var/plugins": whole[:3000]})
    with pytest.raises(Unreachable, match="cut off or damaged"):
        archived_plugins(files, "app", "/opt/kimai")
