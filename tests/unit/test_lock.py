"""requirements.lock, which the image is built from, gives what pyproject.toml asks for, and nothing unseen.

requirements-dev.lock, which the tests run with, has the same versions, and those of the tools.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TEXT = (ROOT / "requirements.lock").read_text()
DEVELOPMENT = (ROOT / "requirements-dev.lock").read_text()
WANTED = [Requirement(each) for each in PROJECT["dependencies"]]
TOOLS = [Requirement(each) for each in PROJECT["optional-dependencies"]["dev"]]


def locked() -> Mapping[str, tuple[str, list[str]]]:
    """Each package's version and the hashes of its files."""
    found: dict[str, tuple[str, list[str]]] = {}
    for entry in re.split(r"\n(?=\S)", re.sub(r"^ *#.*\n", "", TEXT, flags=re.MULTILINE)):
        match = re.match(r"([A-Za-z0-9._-]+)==([^ ;\\]+)", entry)
        assert match, entry
        name = canonicalize_name(match[1])
        assert name not in found, f"{name} stands there twice"
        found[name] = (match[2], re.findall(r"--hash=(\S+)", entry))
    return found


@pytest.mark.parametrize("wanted", WANTED, ids=str)
def test_what_is_asked_for_is_locked_within_its_bounds(wanted: Requirement) -> None:
    version, _ = locked()[canonicalize_name(wanted.name)]
    assert wanted.specifier.contains(version)


def test_extras_bring_their_packages() -> None:
    assert any(wanted.extras for wanted in WANTED)
    assert "cryptography" in locked()  # PyMySQL[rsa]


def test_every_package_has_hashes_of_a_strong_kind() -> None:
    for name, (_, hashes) in locked().items():
        assert hashes, name
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), name


def test_nobody_is_there_whom_nothing_asks_for() -> None:
    for entry in re.split(r"\n(?=\S)", TEXT.partition("\n")[2].partition("\n")[2].strip()):
        assert "# via" in entry, entry.splitlines()[0]


def test_the_tests_run_with_the_versions_that_the_image_has() -> None:
    tested = dict(re.findall(r"^(\S+)==(\S+)", DEVELOPMENT, re.MULTILINE))
    assert {name: version for name, (version, _) in locked().items()}.items() <= tested.items()


@pytest.mark.parametrize("wanted", TOOLS, ids=str)
def test_the_tools_are_locked_within_their_bounds(wanted: Requirement) -> None:
    tested = dict(re.findall(r"^(\S+)==(\S+)", DEVELOPMENT, re.MULTILINE))
    assert wanted.specifier.contains(tested[canonicalize_name(wanted.name)])


@pytest.mark.parametrize("text", [TEXT, DEVELOPMENT], ids=["image", "development"])
def test_it_names_no_place_to_get_packages_from(text: str) -> None:
    assert not re.search(r"https?:|file:|--(?:extra-)?index-url|--find-links|@ ", text)


def test_the_image_is_labelled_with_the_projects_version() -> None:
    match = re.search(r"^ARG VERSION=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert match
    assert match[1] == PROJECT["version"]
