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


def test_no_two_files_of_tests_have_one_name() -> None:
    """pytest ends with an error where it collects both, which `make check` does not."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


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


# ── Without MySQL ────────────────────────────────────────────────────────────────────────────────────────────

CLIENT = """#!/bin/sh
# An engine that has what it is asked for but builds nothing, as where Debian's sid can't be installed.
case "$1" in
build) echo "E: Unable to locate package mysql-server-core"; exit 1 ;;
*) echo what-it-was-before ;;
esac
"""
SUITES = {
    "tests/services/test_round_trip.py": {"KIMAI_TEST_SERVERS": "mariadb mysql"},
    "tests/e2e_docker/test_engine_tls.py": {},
}


def collect(folder: Path, suite: str, **settings: str) -> tuple[int, str]:
    """Collect a suite on a machine that can make no image of MySQL."""
    client = folder / "docker"
    client.write_text(CLIENT)
    client.chmod(0o755)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("KIMAI_", "PYTEST_"))}
    environment = {**inherited, "PATH": f"{folder}:{os.environ['PATH']}", **settings}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", "-q", suite]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("suite", SUITES)
def test_without_mysql_ci_is_not_green(tmp_path: Path, suite: str) -> None:
    code, said = collect(tmp_path, suite, CI="true", **SUITES[suite])
    assert code == pytest.ExitCode.USAGE_ERROR, said
    assert "CI forbids to go on without MySQL" in said
    assert "Unable to locate package mysql-server-core" in said


@pytest.mark.slow
def test_what_leaves_mysql_out_is_not_green_either(tmp_path: Path) -> None:
    code, said = collect(tmp_path, "tests/e2e_docker/test_engine_tls.py", CI="true", KIMAI_TEST_FLAVOURS="mariadb")
    assert code == pytest.ExitCode.USAGE_ERROR, said
    assert "KIMAI_TEST_FLAVOURS leaves it out" in said


@pytest.mark.slow
@pytest.mark.parametrize("suite", SUITES)
def test_by_hand_the_rest_goes_on_without_mysql_below_a_banner(tmp_path: Path, suite: str) -> None:
    code, said = collect(tmp_path, suite, CI="", **SUITES[suite])
    assert code == pytest.ExitCode.OK, said
    assert "[mariadb" in said
    assert "[mysql" not in said
    assert "TESTED" in said
    assert "Unable to locate package mysql-server-core" in said
