"""The Docker engine that tests use: its client, and the test images, made of Debian's packages where they are lacking.

Nothing here asks an image registry. `scripts/docker-engine` sees to an engine that answers.
"""

import contextlib
import fcntl
import functools
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "tests" / "docker"
STANDIN = ROOT / "tests" / "standin"
WEED = Path(sys.executable).parent / "weed"

BASE = "debian:trixie-slim"
MARIADB = "kimai-backup-test/mariadb:11.8"
MYSQL = "kimai-backup-test/mysql:9"
HAPROXY = "kimai-backup-test/haproxy:3"
SEAWEEDFS = "kimai-backup-test/seaweedfs:4"
KIMAI = "kimai/kimai2:standin-{version}"
KIMAI_MIGRATIONS = {
    "2.65.0": "Version20260802173206",
    "2.66.0": "Version20260802183206",
    # Made up: no Kimai has it.
    "2.67.0": "Version20261015120000",
}

CONTENT = "io.github.kimai-backup.test-content"
"""The label that says what an image was built from."""

COMMAND_DEADLINE = 120
BUILD_DEADLINE = 600
"""Seconds: without a package mirror nearby a base image takes minutes."""


class DockerError(Exception):
    """A docker command that failed, with what it said."""


class Unavailable(Exception):
    """An image that can't be made here, and why: the caller says so loudly and goes on without it."""


# ── The client ───────────────────────────────────────────────────────────────────────────────────────────────


@functools.cache
def environment() -> Mapping[str, str]:
    """What docker commands run with: Compose as the user has it, else the one that scripts/docker-engine put here."""
    own = {**os.environ, "DOCKER_CLI_HINTS": "false"}
    if _succeeds(["docker", "compose", "version"], own):
        return own
    ours = {**own, "DOCKER_CONFIG": str(ROOT / ".venv" / "docker")}
    if not _succeeds(["docker", "compose", "version"], ours):
        raise DockerError("there is no `docker compose`: run scripts/docker-engine first")
    return ours


@functools.cache
def builder() -> tuple[str, Mapping[str, str]]:
    """The client that has BuildKit, and its environment: buildx where there is one, else a client from before 23."""
    with_buildkit = {**environment(), "DOCKER_BUILDKIT": "1"}
    if _succeeds(["docker", "buildx", "version"], with_buildkit):
        return "docker", with_buildkit
    for folder in [*os.get_exec_path(), "/usr/bin"]:
        client = str(Path(folder) / "docker")
        if not os.access(client, os.X_OK):
            continue
        said = subprocess.run([client, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
        version = re.match(r"Docker version (\d+)\.", said)
        if version and int(version[1]) < 23:
            return client, with_buildkit
    raise DockerError("no docker client here can build with BuildKit: run scripts/docker-engine first")


def _succeeds(command: Sequence[str], variables: Mapping[str, str]) -> bool:
    try:
        return subprocess.run(command, env=variables, capture_output=True, timeout=30, check=False).returncode == 0
    except FileNotFoundError:
        return False


def docker(*arguments: str, stdin: bytes = b"", deadline: float = COMMAND_DEADLINE) -> str:
    """One docker command's output; raises DockerError if it fails, TimeoutExpired after the deadline in seconds."""
    command = ["docker", *arguments]
    done = subprocess.run(command, input=stdin, env=environment(), capture_output=True, timeout=deadline, check=False)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise DockerError(f"docker {' '.join(arguments)}: exit code {done.returncode}: {said[-4000:]}")
    return done.stdout.decode(errors="replace")


# ── Building ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Recipe:
    """What an image is built from: files or folders by their place in the context, and build arguments."""

    tag: str
    context: Mapping[str, Path]
    arguments: Mapping[str, str] = field(default_factory=dict)

    def pack(self) -> bytes:
        """The context as a tar that is the same, byte for byte, whenever the files are."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for name, path in sorted(self._files()):
                entry = tarfile.TarInfo(name)
                entry.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
                content = path.read_bytes()
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        return packed.getvalue()

    def _files(self) -> Iterator[tuple[str, Path]]:
        for place, path in self.context.items():
            if path.is_file():
                yield place, path
                continue
            for each in path.rglob("*"):
                if each.is_file() and "__pycache__" not in each.parts:
                    yield str(Path(place) / each.relative_to(path)), each


def build(recipe: Recipe) -> str:
    """Build the image unless the engine holds it as it would become; returns its tag."""
    with _one_at_a_time():
        context = recipe.pack()
        wanted = _content(recipe, context)
        if label(recipe.tag, CONTENT) != wanted:
            before = image_id(recipe.tag)
            _build(recipe, context, wanted)
            # The older state would fill the disk, change by change. One that a container still uses stays.
            if before is not None:
                with contextlib.suppress(DockerError):
                    docker("image", "rm", before)
    return recipe.tag


def _content(recipe: Recipe, context: bytes) -> str:
    digest = hashlib.sha256(
        "\n".join([image_id(BASE) or "", *(f"{key}={value}" for key, value in recipe.arguments.items())]).encode()
    )
    digest.update(context)
    return digest.hexdigest()


def _build(recipe: Recipe, context: bytes, content: str) -> None:
    client, variables = builder()
    arguments = [part for key, value in recipe.arguments.items() for part in ("--build-arg", f"{key}={value}")]
    command = [client, "build", "--progress=plain", "--tag", recipe.tag, "--label", f"{CONTENT}={content}"]
    done = subprocess.run(
        [*command, *arguments, "-"],
        input=context,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=BUILD_DEADLINE,
        check=False,
    )
    if done.returncode != 0:
        raise DockerError(f"building {recipe.tag} failed:\n{done.stdout.decode(errors='replace')[-6000:]}")


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Several test processes want the same images: the first one builds, the others find them."""
    with (Path(tempfile.gettempdir()) / f"kimai-backup-images-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def image_id(tag: str) -> str | None:
    """The image's ID, or None where the engine has no such image."""
    return _inspect(tag, "{{.Id}}")


def label(tag: str, name: str) -> str | None:
    """A label's value; None without the image, empty without the label."""
    return _inspect(tag, f'{{{{with .Config}}}}{{{{index .Labels "{name}"}}}}{{{{end}}}}')


def _inspect(tag: str, what: str) -> str | None:
    try:
        return docker("image", "inspect", "--format", what, tag).strip()
    except DockerError as error:
        if "No such image" in str(error):
            return None
        raise


# ── The images ───────────────────────────────────────────────────────────────────────────────────────────────


def base() -> str:
    """Debian trixie: the engine's own, else made of the packages of the APT mirror that this machine uses."""
    with _one_at_a_time():
        if image_id(BASE) is None:
            _make_base()
    return BASE


def _make_base() -> None:
    if shutil.which("mmdebstrap") is None:
        raise DockerError(f"there is no {BASE}: `docker pull {BASE}`, or scripts/docker-engine for what makes one here")
    # This machine's own authorities, where it has any, let pip and apt through a proxy that ends TLS.
    authorities = (
        'mkdir -p "$1/usr/local/share/ca-certificates" && '
        'find /usr/local/share/ca-certificates -name "*.crt" -exec cp {} "$1/usr/local/share/ca-certificates/" \\; ; '
        'chroot "$1" update-ca-certificates'
    )
    excluded = [f"--dpkgopt=path-exclude=/usr/share/{each}/*" for each in ("man", "locale", "doc")]
    command = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates", *excluded]
    with tempfile.TemporaryFile() as archive, tempfile.TemporaryFile() as log:
        made = subprocess.run(
            [*command, f"--customize-hook={authorities}", "trixie", "-", apt_mirror()],
            stdin=subprocess.DEVNULL,
            stdout=archive,
            stderr=log,
            timeout=BUILD_DEADLINE,
            check=False,
        )
        if made.returncode != 0:
            log.seek(0)
            raise DockerError(f"mmdebstrap failed:\n{log.read().decode(errors='replace')[-4000:]}")
        archive.seek(0)
        subprocess.run(
            ["docker", "import", "--change", 'CMD ["bash"]', "-", BASE],
            stdin=archive,
            stdout=subprocess.DEVNULL,
            env=environment(),
            timeout=BUILD_DEADLINE,
            check=True,
        )


def apt_mirror(folder: Path = Path("/etc/apt")) -> str:
    """The package mirror that this machine itself uses; raises DockerError where there is none to be found."""
    for path in [folder / "sources.list.d" / "debian.sources", folder / "sources.list"]:
        for line in path.read_text().splitlines() if path.exists() else []:
            if found := re.match(r"(?:URIs:|deb\s+(?:\[[^]]*\]\s*)?)\s*(\S+)", line):
                return found[1]
    raise DockerError(f"{folder} names no Debian mirror: `docker pull {BASE}` first")


def _database(flavour: str) -> Mapping[str, Path]:
    return {"": IMAGES / "database", "Dockerfile": IMAGES / flavour / "Dockerfile"}


def mariadb() -> str:
    """MariaDB 11.8, with the official image's variables, user and paths."""
    base()
    return build(Recipe(MARIADB, _database("mariadb")))


def mysql() -> str:
    """MySQL 9 from Debian's sid, likewise; raises Unavailable where sid can't be installed."""
    base()
    try:
        return build(Recipe(MYSQL, _database("mysql")))
    except DockerError as error:
        raise Unavailable(f"no MySQL here: {error}") from error


def haproxy() -> str:
    """Haproxy, as the official image runs it; not as root."""
    base()
    return build(Recipe(HAPROXY, {"": IMAGES / "haproxy"}))


def seaweedfs() -> str:
    """SeaweedFS: the binary that the tests without Docker start too."""
    base()
    return build(Recipe(SEAWEEDFS, {"": IMAGES / "seaweedfs", "weed": WEED}))


def kimai(version: str = "2.66.0") -> str:
    """The stand-in for Kimai's image, as one of the versions that KIMAI_MIGRATIONS lists."""
    base()
    context = {"": IMAGES / "kimai", "standin/console.py": STANDIN / "console.py"}
    arguments = {"VERSION": version, "MIGRATION": KIMAI_MIGRATIONS[version]}
    return build(Recipe(KIMAI.format(version=version), context, arguments))


def banner(*lines: str) -> str:
    """Text that nobody misses in a log."""
    width = max(len(line) for line in lines) + 4
    edge = "!" * (width + 4)
    return "\n".join(["", edge, *(f"!!  {line.ljust(width - 4)}  !!" for line in lines), edge, ""])
