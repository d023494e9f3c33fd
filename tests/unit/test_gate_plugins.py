"""A backup's plugins and those that are installed: what passes, what is said, and what is refused."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from sidecar.archive.source import open_source
from sidecar.errors import Refused
from sidecar.gate import Passed
from sidecar.gate_plugins import check_plugins, plugins_of
from sidecar.manifest import Plugin
from sidecar.wish import Allowed
from tests.support.archives import SAMPLE, file_of, folder_of, write_backup

DEMO = Plugin(folder="DemoBundle", name="a/demo", version="1.0")
OTHER = Plugin(folder="OtherBundle", name="a/other", version="2.0")
COMPOSER = json.dumps({"name": "a/demo", "version": "1.0"}).encode()
PATH = "var/plugins/DemoBundle/composer.json"


class Kimai:
    def __init__(self, installed: list[Plugin] | None, *, keeps: bool = False) -> None:
        self._installed = installed
        self._keeps = keeps

    def plugins(self) -> list[Plugin] | None:
        return self._installed

    def keeps(self, path: str) -> bool:
        assert path == "var/plugins"
        return self._keeps


def check(
    installed: list[Plugin] | None, backed: list[Plugin], only: Any = None, *, keeps: bool = False, said: bool = False
) -> Passed:
    kimai: Any = Kimai(installed, keeps=keeps)
    source: Any = type("Source", (), {"manifest": type("M", (), {"kimai": type("K", (), {"plugins": backed})})})
    return check_plugins(kimai, source, Allowed(version_mismatch=said), only=only, running="2.66.0")


def test_a_backup_from_before_manifests_named_plugins(tmp_path: Path) -> None:
    """They are read from the archive's own files."""
    path = tmp_path / "backup.zip"
    plugin = (file_of(PATH.encode(), COMPOSER), COMPOSER)
    write_backup(path, [*SAMPLE, (folder_of("var/plugins/EmptyBundle"), b""), plugin])
    with open_source(path) as source:
        assert source.manifest is not None
        assert source.manifest.kimai.plugins is None
        assert plugins_of(source) == [DEMO, Plugin(folder="EmptyBundle")]


def test_a_zip_of_another_tool(tmp_path: Path) -> None:
    path = tmp_path / "2026-11-22_01-10.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("kimai2-2026-11-22_01-10.sql", "SELECT 1;\n-- Dump completed\n")
        archive.writestr(PATH, COMPOSER)
    with open_source(path) as source:
        assert plugins_of(source) == [DEMO]


def test_none_on_either_side_say_nothing() -> None:
    assert check([], []) == Passed()


def test_what_can_not_be_seen_is_said() -> None:
    assert "can't be seen" in check(None, [DEMO]).warnings[0]


@pytest.mark.parametrize("only", [None, "database"])
def test_what_would_stay_beside_a_database_without_its_tables(only: Any) -> None:
    """Where files go by upload, nothing that lies there can be deleted."""
    with pytest.raises(Refused, match=r"OtherBundle 2\.0 is .*not in the backup"):
        check([DEMO, OTHER], [DEMO], only, keeps=True)
    assert "run its installer" in check([DEMO, OTHER], [DEMO], only, keeps=True, said=True).warnings[0]


def test_files_alone_bring_plugins_that_the_database_may_not_know() -> None:
    passed = check([DEMO], [DEMO, OTHER], "files")
    assert [line for line in passed.warnings if "without its database" in line] == [
        line for line in passed.warnings if line.startswith("plugin OtherBundle 2.0")
    ]
    assert check([DEMO], [DEMO], "files").warnings == []


def test_a_plugin_of_a_newer_kimai_is_named_with_what_it_needs() -> None:
    greedy = Plugin(folder="DemoBundle", version="2.0", requires=27005)
    with pytest.raises(Refused, match=r"DemoBundle 2\.0 needs 2\.70\.5"):
        check([], [greedy])
    assert check([], [Plugin(folder="DemoBundle", requires=26600)]).warnings == []
