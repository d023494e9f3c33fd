"""The console as a process of this machine: whose it is, what it sees, and that it ends."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.errors import ConfigurationError, Unreachable
from sidecar.kimai.console import OUTPUT_LIMIT
from sidecar.kimai.local import LocalConsole, git_revision, version_file

STRANGER = 65534


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder that every user can reach, which pytest's own is not."""
    folder = Path(tempfile.mkdtemp(prefix="kimai-"))
    folder.chmod(0o755)
    (folder / "bin").mkdir()
    (folder / "var").mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def console(root: Path) -> Callable[[str], LocalConsole]:
    """Makes a `bin/console` out of a shell script."""

    def make(script: str) -> LocalConsole:
        path = root / "bin" / "console"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return LocalConsole(root, environment={"DATABASE_URL": "mysql://kimai:hunter2@db/kimai"})

    return make


Make = Callable[[str], LocalConsole]


def alive(group: int) -> list[str]:
    """The processes of a group that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                found.append(path.parent.name)
    return found


def test_what_it_prints_and_how_it_ends_comes_back(console: Make) -> None:
    outcome = console('echo "$1 $2"; printf "\\377!" >&2; exit 3').run("kimai:version", "--short", deadline=10)
    assert outcome == (3, "kimai:version --short\n", "\ufffd!")


def test_it_runs_as_the_owner_of_var_with_that_ones_groups(root: Path, console: Make) -> None:
    if os.geteuid() == 0:
        os.chown(root / "var", STRANGER, STRANGER)
    owner = (root / "var").stat()
    outcome = console("id -u; id -g; id -G").run(deadline=10)
    groups = f"{owner.st_gid}\n" if os.geteuid() == 0 else " ".join(map(str, os.getgroups()))
    assert outcome.stdout.startswith(f"{owner.st_uid}\n{owner.st_gid}\n")
    assert str(owner.st_gid) in groups
    if os.geteuid() == 0:
        assert outcome.stdout.splitlines()[2] == str(owner.st_gid)


def test_it_sees_what_it_needs_and_none_of_our_secrets(console: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_SECRET_ACCESS_KEY", "hunter3")
    outcome = console("env; cat /proc/$$/cmdline; pwd; read line || echo no input").run(deadline=10)
    assert "DATABASE_URL=mysql://kimai:hunter2@db/kimai" in outcome.stdout
    assert "hunter3" not in outcome.stdout
    names = {line.partition("=")[0] for line in outcome.stdout.splitlines() if "=" in line}
    assert names <= {"DATABASE_URL", "HOME", "LANG", "PATH", "PWD", "SHLVL", "_", "OLDPWD"}
    assert "no input" in outcome.stdout


def test_the_database_url_is_in_no_argument(console: Make) -> None:
    outcome = console("tr '\\0' ' ' </proc/$$/cmdline").run("kimai:user:list", deadline=10)
    assert "kimai:user:list" in outcome.stdout
    assert "hunter2" not in outcome.stdout


@pytest.mark.parametrize("script", ["sleep 600", "trap '' TERM; sleep 600 & wait; wait", "sleep 600 & exec sleep 600"])
def test_at_its_deadline_it_is_killed_with_all_that_it_started(
    script: str, root: Path, console: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.kimai.local.TERMINATION_GRACE", 0.3)
    begun = time.monotonic()
    with pytest.raises(Unreachable, match=r"console kimai:version did not end within 0\.5 seconds"):
        console(f"echo $$ > {root}/var/pid; {script}").run("kimai:version", deadline=0.5)
    assert time.monotonic() - begun < 5
    group = int((root / "var/pid").read_text())
    # SIGKILL takes a moment to be done; a zombie, which its new parent has yet to reap, is dead.
    until = time.monotonic() + 5
    while alive(group) and time.monotonic() < until:
        time.sleep(0.02)
    assert alive(group) == []


def test_a_child_that_keeps_the_pipes_open_does_not_keep_us_waiting(
    console: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.kimai.local.PIPE_GRACE", 0.2)
    begun = time.monotonic()
    outcome = console("sleep 600 & echo done").run(deadline=60)
    assert outcome.stdout == "done\n"
    assert time.monotonic() - begun < 5


def test_floods_on_both_pipes_are_drained_and_bounded(console: Make) -> None:
    script = "head -c 5000000 /dev/zero; head -c 5000000 /dev/zero >&2; head -c 5000000 /dev/zero; exit 7"
    outcome = console(script).run(deadline=60)
    assert (outcome.exit_code, len(outcome.stdout), len(outcome.stderr)) == (7, OUTPUT_LIMIT, OUTPUT_LIMIT)


def test_an_endless_flood_ends_at_the_deadline(console: Make) -> None:
    with pytest.raises(Unreachable, match="did not end"):
        console("cat /dev/zero").run(deadline=0.5)


def test_a_folder_or_console_that_is_not_there_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"KIMAI_DIR .*/nowhere holds no Kimai: .*/nowhere: No such file"):
        LocalConsole(tmp_path / "nowhere").run("list", deadline=5)
    with pytest.raises(ConfigurationError, match="bin/console: No such file"):
        LocalConsole(tmp_path).run("list", deadline=5)


def test_a_console_that_can_not_be_executed_goes_through_php(
    root: Path, console: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = console("true")
    (root / "bin/console").chmod(0o644)
    php = root / "bin" / "php"
    php.write_text('#!/bin/sh\necho "php $*"\n')
    php.chmod(0o755)
    monkeypatch.setenv("PATH", f"{root}/bin:{os.environ['PATH']}")
    assert local.run("list", deadline=10).stdout == f"php {root}/bin/console list\n"


def test_an_interpreter_that_is_missing_is_said(root: Path, console: Make) -> None:
    local = console("true")
    (root / "bin/console").write_text("#!/no/such/php\n")
    with pytest.raises(Unreachable, match=r"can't be started: No such file.*Install PHP"):
        local.run("list", deadline=10)


def test_the_revision_of_a_checkout_is_told_whoever_owns_it(root: Path) -> None:
    assert git_revision(root) is None
    git = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    assert git_revision(root) is None
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    expected = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    if os.geteuid() == 0:
        for path in (root, *root.rglob("*")):
            os.chown(path, STRANGER, STRANGER)
    assert git_revision(root) == expected


def test_without_git_there_is_no_revision(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / ".git").mkdir()
    monkeypatch.setenv("PATH", str(root))
    assert git_revision(root) is None


def test_version_txt_is_read_where_there_is_one(root: Path) -> None:
    assert version_file(root) is None
    (root / "version.txt").write_text("2.66.0\n")
    assert version_file(root) == "2.66.0\n"


def test_a_kimai_on_this_machine_loads_nothing_of_dockers() -> None:
    """A third of the time that such a command takes to start."""
    code = "import sys, sidecar.kimai.bare; print(*({'docker', 'requests', 'urllib3'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], check=True, timeout=30, capture_output=True, text=True)
    assert ran.stdout.strip() == ""
