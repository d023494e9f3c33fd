"""What is installed holds every file that the code reads."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_file_that_is_no_module_is_declared_as_package_data() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["sidecar"]
    package = ROOT / "sidecar"
    given = {path for pattern in declared for path in package.glob(pattern)}
    there = {path for path in package.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}}
    assert there
    assert there == given
