"""The product's image: small, without a secret or a tool to build with, at home in a locked-down container."""

import json
import os
import re
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar import __version__
from tests.support import docker as images
from tests.support import product
from tests.support.product import Project

# Whoever comes first builds the images.
pytestmark = pytest.mark.timeout(900)

LIMIT = 250_000_000
"""Bytes that the image may have, its base included."""

LOCKED_DOWN = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--tmpfs", "/tmp"]
SETTINGS = ["--env", "BACKUP_INSTANCE=kimai", "--env", "DATABASE_URL=mysql://kimai@127.0.0.1/kimai"]


@pytest.fixture(scope="module")
def image() -> str:
    return product.image()


def run(image: str, *arguments: str, options: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    """One container to its end, without a way out and without a right."""
    return subprocess.run(
        ["docker", "run", "--rm", "--network", "none", *LOCKED_DOWN, *SETTINGS, *(options or []), image, *arguments],
        env=images.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def shell(image: str, script: str) -> str:
    done = run(image, "-c", script, options=["--entrypoint", "sh"])
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def started(image: str, tmp_path: Path) -> Iterator[str]:
    """A container that runs the default command, with what it needs and no capability."""
    (tmp_path / "backups").mkdir()
    name = f"kbtest-image-{uuid.uuid4().hex[:8]}"
    mounts = ["--volume", f"{tmp_path}/backups:/backups", "--tmpfs", "/var/lib/kimai-backup"]
    images.docker("run", "--detach", "--name", name, "--network", "none", *LOCKED_DOWN, *SETTINGS, *mounts, image)
    yield name
    images.docker("rm", "--force", "--volumes", name)


def until_it_says(container: str, words: str) -> str:
    ends = time.monotonic() + 30
    while time.monotonic() < ends:
        done = subprocess.run(
            ["docker", "logs", container],
            env=images.environment(),
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        if words in done.stdout + done.stderr:
            return done.stdout + done.stderr
        time.sleep(0.1)
    raise AssertionError(f"{container} never said {words!r}")


# ── What is in it ────────────────────────────────────────────────────────────────────────────────────────────


def test_the_image_is_small(image: str, capsys: pytest.CaptureFixture[str]) -> None:
    size = int(images.docker("image", "inspect", "--format", "{{.Size}}", image))
    base = int(images.docker("image", "inspect", "--format", "{{.Size}}", images.BASE))
    with capsys.disabled():
        print(f"\nimage size: {image} is {size / 1e6:.0f} MB, {base / 1e6:.0f} MB of them {images.BASE}")
    assert size < LIMIT


def test_no_secret_is_in_history_or_configuration(image: str) -> None:
    history = images.docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
    configuration = json.loads(images.docker("image", "inspect", image))[0]["Config"]
    names = [each.partition("=")[0] for each in configuration["Env"]]
    assert sorted(names) == ["PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"]
    for text in (history, json.dumps(configuration)):
        # A URL with a password in it, a key, a word that introduces either; and where packages came from.
        assert not re.search(r"://[^/\s]*:[^/\s]*@|PRIVATE KEY|SECRET-KEY|(?i:password|passwd|token|secret)[=:]", text)
        assert "index-url" not in text
    for variable, value in os.environ.items():
        if re.search(r"PASSWORD|SECRET|TOKEN|INDEX_URL|API_KEY", variable) and len(value) > 6:
            assert value not in history + json.dumps(configuration), variable


def test_no_layer_holds_settings_of_who_built_it(image: str) -> None:
    found = shell(image, "ls -a /root /etc/pip.conf /root/.config /root/.cache /root/.netrc 2>/dev/null; true")
    assert set(found.split()) <= {"/root:", ".", "..", ".bashrc", ".profile"}


def test_no_compiler_no_pip_and_no_cache_are_left(image: str) -> None:
    for tool in ("gcc", "cc", "g++", "make", "ld", "as", "pip", "pip3", "git", "curl", "mysql", "mariadb", "mysqldump"):
        assert not shell(image, f"command -v {tool} || true"), tool
    assert not shell(
        image, "find / -xdev -name 'pip' -path '*-packages*' -o -xdev -path '*/.cache/*' 2>/dev/null || true"
    )
    assert not shell(image, "ls /var/lib/apt/lists /var/cache/apt/archives 2>/dev/null | grep -v : || true").strip()


def test_it_is_compiled_and_compiles_nothing_at_run_time(image: str) -> None:
    script = """
cd /opt/kimai-backup/lib/python3*/site-packages
for source in $(find sidecar docker pymysql -name '*.py'); do
    compiled=$(dirname $source)/__pycache__/$(basename $source .py).cpython-313.pyc
    [ -f $compiled ] || echo $source
done
"""
    assert shell(image, script) == ""


def test_labels_name_the_product_and_its_version(image: str) -> None:
    labels = json.loads(images.docker("image", "inspect", "--format", "{{json .Config.Labels}}", image))
    assert labels["org.opencontainers.image.title"] == "kimai-backup"
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.licenses"] == "MIT"
    assert run(image, "--version").stdout == f"kimai-backup {__version__}\n"


def test_its_python_is_debians(image: str) -> None:
    assert shell(image, "readlink -f /opt/kimai-backup/bin/python").strip() == "/usr/bin/python3.13"


def test_it_knows_time_zones(image: str) -> None:
    options = ["--env", "TZ=Europe/Vienna", "--env", "BACKUP_DIR="]
    done = run(image, "config", "--json", options=options)
    assert done.returncode == 0, done.stderr
    assert {"name": "TZ", "value": "Europe/Vienna", "source": "environment"} in json.loads(done.stdout)
    assert run(image, "config", options=["--env", "TZ=Europe/Nowhere"]).returncode == 4


# ── How it runs ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_command_is_an_argument(image: str) -> None:
    done = run(image, "--help")
    assert done.returncode == 0
    assert "Usage: kimai-backup" in done.stdout
    assert run(image, "backup", "--help").returncode == 0


def test_the_default_command_says_what_is_scheduled_and_ends_at_sigterm(started: str) -> None:
    said = until_it_says(started, "backup runs next at")
    assert "(10 1 * * *)" in said
    began = time.monotonic()
    images.docker("stop", "--time", "20", started)
    assert time.monotonic() - began < 10
    assert images.docker("inspect", "--format", "{{.State.ExitCode}}", started).strip() == "0"
    assert "Traceback" not in until_it_says(started, "told to end")


def test_it_ends_at_sigint(started: str) -> None:
    until_it_says(started, "backup runs next at")
    images.docker("kill", "--signal", "INT", started)
    assert images.docker("wait", started).strip() == "0"


def test_the_engines_own_init_is_honoured(image: str) -> None:
    done = run(image, "--version", options=["--init"])
    assert (done.returncode, done.stderr) == (0, "")


def test_it_writes_nothing_but_its_state(started: str) -> None:
    until_it_says(started, "backup runs next at")
    images.docker("exec", started, "kimai-backup", "list")
    changed = images.docker("diff", started).split("\n")
    # Where something is mounted, the engine makes the place.
    assert {line[2:] for line in changed if line} <= {"/backups", "/var", "/var/lib", "/var/lib/kimai-backup", "/tmp"}


def test_it_is_healthy(started: str) -> None:
    until_it_says(started, "backup runs next at")
    assert images.docker("exec", started, "kimai-backup", "health").strip() == "healthy"
    said = images.docker("exec", started, "kimai-backup", "health", "--json")
    assert json.loads(said) == {"healthy": True, "problems": [], "notes": []}
    ends = time.monotonic() + 60
    while (seen := images.docker("inspect", "--format", "{{.State.Health.Status}}", started).strip()) == "starting":
        assert time.monotonic() < ends, "the engine never asked"
        time.sleep(1)
    assert seen == "healthy"


def test_it_is_unhealthy_without_its_target(image: str) -> None:
    done = run(image, "health", options=["--tmpfs", "/var/lib/kimai-backup"])
    assert done.returncode == 1
    assert "/backups" in done.stdout


# ── As compose.example.yml runs it ───────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def project(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    swapped = {"docker-proxy": images.haproxy(), "sqldb": images.mariadb()}
    found = Project.make(tmp_path_factory.mktemp("compose"), swapped)
    try:
        found.up("backup")
        yield found
    finally:
        found.down()


def test_the_backup_service_has_one_capability_and_a_read_only_root(project: Project) -> None:
    host = json.loads(images.docker("inspect", "--format", "{{json .HostConfig}}", project.container("backup")))
    assert host["ReadonlyRootfs"] is True
    assert host["Privileged"] is False
    assert host["CapDrop"] == ["ALL"]
    assert [each.removeprefix("CAP_") for each in host["CapAdd"]] == ["DAC_READ_SEARCH"]
    assert any(each.startswith("no-new-privileges") for each in host["SecurityOpt"])
    status = project.compose("exec", "-T", "backup", "cat", "/proc/1/status").stdout
    # As the kernel has it: CAP_DAC_READ_SEARCH is bit 2.
    for kind in ("CapEff", "CapPrm", "CapBnd"):
        assert re.search(rf"^{kind}:\s*0*4$", status, re.MULTILINE), status
    assert re.search(r"^NoNewPrivs:\s*1$", status, re.MULTILINE)
    assert project.compose("exec", "-T", "backup", "touch", "/etc/x").returncode != 0


def test_it_reads_what_only_its_owner_may_and_writes_none_of_it(project: Project) -> None:
    volume = f"{project.name}_data:/data"
    script = "echo secret >/data/.appsecret; chmod 600 /data/.appsecret; chmod 700 /data; chown -R 33:33 /data"
    images.docker("run", "--rm", "--volume", volume, images.BASE, "sh", "-c", script)
    place = "/opt/kimai/var/data"
    assert project.compose("exec", "-T", "backup", "cat", f"{place}/.appsecret").stdout == "secret\n"
    assert project.compose("exec", "-T", "backup", "touch", f"{place}/new").returncode != 0


def test_neither_service_has_the_socket_nor_the_password_in_its_environment(project: Project) -> None:
    found = json.loads(project.compose("--profile", "*", "config", "--format", "json").stdout)
    for name in ("backup", "restore"):
        service = found["services"][name]
        assert "docker.sock" not in json.dumps(service["volumes"])
        assert product.PASSWORD not in json.dumps(service)
    assert product.PASSWORD not in images.docker("inspect", project.container("backup"))
    assert product.PASSWORD not in images.docker("inspect", project.container("sqldb"))


def test_the_restore_service_runs_the_restore_command(project: Project) -> None:
    done = project.compose("run", "--rm", "-T", "restore")
    assert done.returncode == 0, done.stderr
    assert "Usage: kimai-backup restore" in done.stdout
    done = project.compose("run", "--rm", "-T", "restore", "--no-such-option")
    assert done.returncode == 2, done.stderr


PUT_BACK = """
import os

os.chdir("/opt/kimai/var/data")
open(".appsecret").read()
os.mkdir(".staged", 0o700)
file = os.open(".staged/file", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
os.fchown(file, 33, 33)
os.fchmod(file, 0o640)
os.utime(file, ns=(1, 1))
os.mkdir(".staged/folder", 0o700)
folder = os.open(".staged/folder", os.O_RDONLY)
os.fchown(folder, 33, 33)
os.fchmod(folder, 0o2770)
os.utime(folder, ns=(1, 1))
os.rename(".staged/file", "file")
os.rename(".staged/folder", "folder")
found = os.stat("folder"), os.stat("file")
seen = [(oct(each.st_mode), each.st_uid, each.st_mtime_ns) for each in found]
assert seen == [("0o42770", 33, 1), ("0o100640", 33, 1)], seen
"""
"""What a restore does to the files of another user."""


@pytest.mark.parametrize("lacking", [None, "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID"])
def test_the_restore_service_has_just_the_capabilities_that_it_needs(project: Project, lacking: str | None) -> None:
    found = json.loads(project.compose("--profile", "*", "config", "--format", "json").stdout)["services"]["restore"]
    assert found["cap_drop"] == ["ALL"]
    assert found["read_only"] is True
    assert sorted(found["cap_add"]) == ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID"]
    volume = f"kbtest-volume-{uuid.uuid4().hex[:8]}"
    made = "touch /data/.appsecret; chmod 600 /data/.appsecret; chmod 700 /data; chown -R 33:33 /data"
    images.docker("run", "--rm", "--volume", f"{volume}:/data", images.BASE, "sh", "-c", made)
    try:
        rights = [part for each in found["cap_add"] if each != lacking for part in ("--cap-add", each)]
        mount = ["--volume", f"{volume}:/opt/kimai/var/data", "--entrypoint", "python3"]
        done = run(product.IMAGE, "-c", PUT_BACK, options=[*rights, *mount])
        assert (done.returncode == 0) is (lacking is None), done.stderr
    finally:
        images.docker("volume", "rm", volume)


def test_both_share_the_state_folder_and_with_it_the_lock(project: Project) -> None:
    lock = "f = open('/var/lib/kimai-backup/kimai.lock', 'w'); fcntl.flock(f, fcntl.LOCK_EX)"
    hold = f"import fcntl; {lock}; print(1); input()"
    command = ["docker", "exec", "--interactive", project.container("backup"), "python3", "-uc", hold]
    with subprocess.Popen(command, env=images.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"1\n"
        done = project.compose("run", "--rm", "-T", "--entrypoint", "kimai-backup", "restore", "prune")
        holder.stdin.close()
    assert done.returncode == 9, done.stderr


def test_a_missing_backup_folder_is_not_made(project: Project, tmp_path: Path) -> None:
    other = Project.make(tmp_path, {"docker-proxy": images.haproxy(), "sqldb": images.mariadb()})
    (tmp_path / "backups").rmdir()
    try:
        done = other.compose("up", "--detach", "--no-build", "--no-deps", "backup")
        assert done.returncode != 0
        assert "backups" in done.stderr
        assert not (tmp_path / "backups").exists()
    finally:
        other.down()


def test_without_a_password_nothing_that_needs_it_starts(image: str, tmp_path: Path) -> None:
    other = Project.make(tmp_path, {"docker-proxy": images.haproxy(), "sqldb": images.mariadb()})
    (tmp_path / ".env").unlink()
    try:
        done = other.compose("up", "--detach", "--no-build", "backup")
        assert done.returncode != 0
        assert '"DATABASE_PASSWORD" required by secret' in done.stderr
        assert not other.compose("ps", "--quiet", "backup", "sqldb").stdout
    finally:
        other.down()


def test_the_example_is_valid_even_before_anything_was_set(tmp_path: Path) -> None:
    done = subprocess.run(
        ["docker", "compose", "--project-directory", str(tmp_path), "-f", "compose.example.yml", "config", "--quiet"],
        cwd=images.ROOT,
        env={name: value for name, value in images.environment().items() if name != "DATABASE_PASSWORD"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
