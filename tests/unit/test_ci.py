"""CI is green only where every test ran and passed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
ROOT = CONFTEST.parents[1]

TESTS = {
    "skips": "import pytest\ndef test_it(): pytest.skip('no server')",
    "is_marked": "import pytest\n@pytest.mark.skipif(True, reason='no')\ndef test_it(): pass",
    "may_fail": "import pytest\n@pytest.mark.xfail\ndef test_it(): assert False",
    "passes_though_it_may_fail": "import pytest\n@pytest.mark.xfail\ndef test_it(): pass",
    "module_skips": "import pytest\npytest.importorskip('no_such_module')\ndef test_it(): pass",
}


def run(folder: Path, source: str, ci: str) -> int:
    (folder / "tests").mkdir()
    (folder / "tests/conftest.py").write_bytes(CONFTEST.read_bytes())
    (folder / "tests/test_it.py").write_text(source + "\n")
    environment = {**os.environ, "CI": ci, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=.", "tests"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=60, check=False).returncode


@pytest.mark.slow
@pytest.mark.parametrize("source", TESTS.values(), ids=TESTS.keys())
def test_what_was_not_run_to_a_pass_is_a_failure_in_ci(tmp_path: Path, source: str) -> None:
    assert run(tmp_path, source, "true") != 0


@pytest.mark.slow
def test_on_a_laptop_a_test_may_skip_and_in_ci_one_may_pass(tmp_path: Path) -> None:
    for name, source, ci in (("laptop", TESTS["skips"], ""), ("ci", "def test_it(): pass", "true")):
        (tmp_path / name).mkdir()
        assert run(tmp_path / name, source, ci) == 0
