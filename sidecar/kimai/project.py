"""What Docker tells of containers, and which of them is the Kimai to back up."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecar.errors import ConfigurationError

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
ONE_OFF = "com.docker.compose.oneoff"
"""Compose's labels: whose container it is, and whether `docker compose run` made it."""

KIMAI_IMAGE = re.compile(r"(?:.*/)?kimai/kimai2(?:[:@].*)?")

_OWN_ID = re.compile(
    r"^\S+ \S+ \S+ \S*/([0-9a-f]{64})/(?:\S+/)?(?:hostname|hosts|resolv\.conf) "
    r"/etc/(?:hostname|hosts|resolv\.conf) ",
    re.MULTILINE,
)
"""A line of mountinfo by which an engine gives a container its own such file: root within its disk, mount point."""

_SHOWN = 10


@dataclass(frozen=True)
class Mount:
    """What is mounted in a container: where, and which volume or folder of the host it is."""

    destination: str
    source: str
    kind: str
    is_writable: bool


@dataclass(frozen=True)
class Container:
    """A container as `inspect` tells of it. `health` is None where its image has no health check.

    `restarts`: how often the engine has started it again, by its restart policy, since it was started.
    `restart_policy`: by `always` even one that was stopped by hand starts, once the engine itself is started again.
    """

    id: str
    name: str
    image: str
    image_id: str
    is_running: bool
    status: str
    health: str | None
    labels: Mapping[str, str]
    environment: Mapping[str, str]
    mounts: tuple[Mount, ...]
    restarts: int = 0
    restart_policy: str = ""

    @property
    def project(self) -> str | None:
        """The compose project that it belongs to."""
        return self.labels.get(PROJECT)


def read_container(document: Mapping[str, Any]) -> Container:
    """Read the answer of `inspect`. What is not there is taken for empty: engines differ in what they leave out."""
    config, state = document.get("Config") or {}, document.get("State") or {}
    health = state.get("Health") or {}
    return Container(
        id=document["Id"],
        name=str(document.get("Name") or document["Id"]).lstrip("/"),
        image=config.get("Image") or "",
        image_id=document.get("Image") or "",
        is_running=bool(state.get("Running")) and not state.get("Paused"),
        status=state.get("Status") or "unknown",
        health=health.get("Status") if health.get("Status") not in (None, "none") else None,
        labels=config.get("Labels") or {},
        environment=dict(each.partition("=")[::2] for each in config.get("Env") or ()),
        mounts=tuple(_mount(each) for each in document.get("Mounts") or ()),
        restarts=int(document.get("RestartCount") or 0),
        restart_policy=((document.get("HostConfig") or {}).get("RestartPolicy") or {}).get("Name") or "",
    )


def _mount(document: Mapping[str, Any]) -> Mount:
    return Mount(
        destination=(document.get("Destination") or "").rstrip("/"),
        # A volume is known by its name; where its driver keeps it is no one's business.
        source=document.get("Name") or document.get("Source") or "",
        kind=document.get("Type") or "",
        is_writable=bool(document.get("RW", True)),
    )


@dataclass(frozen=True)
class Listed:
    """A container as a list of them shows it."""

    id: str
    name: str
    image: str
    labels: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.name} ({self.image})"


def read_listed(document: Mapping[str, Any]) -> Listed:
    """Read one line of the engine's list of containers."""
    names = document.get("Names") or [document["Id"][:12]]
    return Listed(document["Id"], names[0].lstrip("/"), document.get("Image") or "", document.get("Labels") or {})


def own_id(mountinfo: Path = Path("/proc/self/mountinfo"), hostname: Path = Path("/etc/hostname")) -> str | None:
    """The ID of the container that this process runs in, or its beginning; None outside of one.

    The engine mounts each container's own `/etc/hostname` from a folder of that name; a container's host name is
    its ID's beginning unless someone gave it another. Folders of containers that are mounted elsewhere are others':
    a host that runs Docker has them all in its list.
    """
    if match := _OWN_ID.search(_text_of(mountinfo)):
        return match[1]
    name = _text_of(hostname).strip()
    return name if re.fullmatch(r"[0-9a-f]{12}", name) else None


def _text_of(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def choose(listed: Iterable[Listed], *, own: Container | None, service: str | None) -> Listed:
    """The app's container in the sidecar's own compose project: of that service, or of Kimai's image without one.

    Raises `ConfigurationError`, with what was seen, for none and for several; never takes a neighbour project's.
    """
    if own is None or own.project is None:
        raise ConfigurationError(
            "kimai-backup doesn't run in a container of a compose project, so it can't know which Kimai is meant",
            mend="Set KIMAI_CONTAINER to the name of Kimai's container.",
        )
    of_project = [
        each
        for each in listed
        if each.labels.get(PROJECT) == own.project and each.labels.get(ONE_OFF) != "True" and each.id != own.id
    ]
    if service is None:
        found = [each for each in of_project if KIMAI_IMAGE.fullmatch(each.image)]
        wanted = "a container of the image kimai/kimai2"
    else:
        found = [each for each in of_project if each.labels.get(SERVICE) == service]
        wanted = f"a container of the service {service}"
    if len(found) == 1:
        return found[0]
    seen = ", ".join(str(each) for each in (found or of_project)[:_SHOWN]) or "no other container"
    raise ConfigurationError(
        f"{'several' if found else 'none'} of project {own.project} is {wanted}: there is {seen}",
        mend="Have Kimai's container made (docker compose up --no-start), or set KIMAI_SERVICE to its service, "
        "or KIMAI_CONTAINER to its container's name.",
    )
