"""Which container is the Kimai to back up, and what is made of the engine's answers, however little they say."""

from pathlib import Path
from typing import Any

import pytest

from sidecar.errors import ConfigurationError, Exit
from sidecar.kimai.contained import find_app
from sidecar.kimai.docker import Engine
from sidecar.kimai.project import Container, Listed, choose, own_id, read_container, read_listed

ID = "0a1b2c3d4e5f" + "7" * 52


def listed(name: str, image: str, service: str = "", project: str = "acme", **labels: str) -> Listed:
    found = {"com.docker.compose.project": project, "com.docker.compose.service": service or name}
    return Listed(f"id of {name}", name, image, found | {f"com.docker.compose.{key}": labels[key] for key in labels})


def container(name: str, project: str | None = "acme", image: str = "kimai/kimai2:apache") -> Container:
    labels = {"com.docker.compose.project": project} if project else {}
    return Container(f"id of {name}", name, image, "sha256:1", True, "running", None, labels, {}, ())


OWN = container("backup", image="kimai-backup")
DATABASE = listed("sqldb", "mysql:8.3")
APP = listed("kimai", "kimai/kimai2:apache")


@pytest.mark.parametrize(
    "image",
    [
        "kimai/kimai2",
        "kimai/kimai2:apache-2.66.0",
        "docker.io/kimai/kimai2:fpm",
        "mirror.example:5000/hub/kimai/kimai2:apache@sha256:" + "1" * 64,
        "kimai/kimai2@sha256:" + "1" * 64,
    ],
)
def test_the_image_tells_the_app(image: str) -> None:
    app = listed("web", image)
    assert choose([DATABASE, app, listed("backup", "kimai-backup")], own=OWN, service=None) == app


@pytest.mark.parametrize("image", ["kimai/kimai2-dev:1", "notkimai/kimai2:1", "acme/kimai2", "kimai/kimai", "sha256:1"])
def test_other_images_are_not_the_app(image: str) -> None:
    with pytest.raises(ConfigurationError, match=r"none of project acme.*sqldb \(mysql:8.3\)"):
        choose([DATABASE, listed("web", image)], own=OWN, service=None)


def test_a_service_tells_the_app_whatever_its_image() -> None:
    custom = listed("acme-php-1", "acme/our-kimai:7", service="php")
    assert choose([DATABASE, APP, custom], own=OWN, service="php") == custom


def test_one_off_containers_and_ones_own_are_not_the_app() -> None:
    once = listed("acme-kimai-run-1", "kimai/kimai2:apache", service="kimai", oneoff="True")
    own = container("kimai-backup", image="kimai/kimai2:with-backup")
    itself = Listed(own.id, own.name, own.image, own.labels)
    assert choose([once, itself, APP], own=own, service=None) == APP
    assert choose([once, itself, APP], own=own, service="kimai") == APP
    with pytest.raises(ConfigurationError):
        choose([once, itself], own=own, service=None)


def test_a_neighbour_projects_kimai_is_never_taken() -> None:
    neighbour = listed("other-kimai-1", "kimai/kimai2:apache", service="kimai", project="other")
    stray = Listed("3", "byhand", "kimai/kimai2:apache", {})
    for service in (None, "kimai"):
        with pytest.raises(ConfigurationError) as caught:
            choose([neighbour, stray, DATABASE], own=OWN, service=service)
        assert caught.value.exit_code is Exit.CONFIGURATION
        assert "sqldb" in str(caught.value)
        assert "other" not in caught.value.what.replace("no other", "")
        assert "byhand" not in str(caught.value)
    assert choose([neighbour, stray, APP], own=OWN, service=None) == APP


def test_several_are_named_and_none_is_guessed() -> None:
    second = listed("kimai-test", "kimai/kimai2:fpm")
    with pytest.raises(ConfigurationError, match=r"several.*kimai \(.*kimai-test \(") as caught:
        choose([APP, second, DATABASE], own=OWN, service=None)
    assert caught.value.exit_code is Exit.CONFIGURATION
    assert "KIMAI_CONTAINER" in caught.value.mend
    assert "sqldb" not in caught.value.what
    scaled = [listed(f"kimai-{number}", "kimai/kimai2", service="kimai") for number in (1, 2)]
    with pytest.raises(ConfigurationError, match="several"):
        choose(scaled, own=OWN, service="kimai")


def test_alone_in_its_project() -> None:
    with pytest.raises(ConfigurationError, match="no other container"):
        choose([Listed(OWN.id, OWN.name, OWN.image, OWN.labels)], own=OWN, service=None)


@pytest.mark.parametrize("own", [None, container("backup", project=None)])
def test_outside_of_a_compose_project_a_name_is_needed(own: Container | None) -> None:
    with pytest.raises(ConfigurationError) as caught:
        choose([APP], own=own, service="kimai")
    assert caught.value.exit_code is Exit.CONFIGURATION
    assert "KIMAI_CONTAINER" in caught.value.mend


class Inspected(Engine):
    """An engine that only knows containers; the list shows an ID where a newer image took the tag."""

    def __init__(self, shown: list[Listed], known: dict[str, Container]) -> None:
        self.shown = shown
        self.known = known

    def containers(self) -> list[Listed]:
        return self.shown

    def inspect(self, container: str) -> Container:
        return self.known[container]


def test_an_app_whose_tag_went_to_a_newer_image_is_found_all_the_same() -> None:
    """After `docker compose pull` the list names the running container's image by its ID alone."""
    moved = listed("kimai", "sha256:" + "1" * 64)
    shortened = listed("sqldb", "0123456789ab")
    neighbour = listed("other-kimai-1", "sha256:" + "1" * 64, project="other")
    known = {
        "id of kimai": container("kimai"),
        "id of sqldb": container("sqldb", image="mysql:8.3"),
    }
    known["id of other-kimai-1"] = container("other-kimai-1", project="other")
    assert find_app(Inspected([moved, shortened, neighbour], known), None, None, OWN).name == "kimai"


# ── What the engine's answers lack ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"Config": None, "State": None, "Mounts": None, "Name": None, "Image": None},
        {"Config": {"Labels": None, "Env": None, "Image": None}, "State": {"Health": None}, "Mounts": []},
    ],
)
def test_what_an_answer_lacks_is_empty(document: dict[str, Any]) -> None:
    found = read_container({"Id": ID, **document})
    assert found == Container(ID, ID, "", "", False, "unknown", None, {}, {}, ())
    assert found.project is None


def test_a_whole_answer() -> None:
    found = read_container(
        {
            "Id": ID,
            "Name": "/acme-kimai-1",
            "Image": "sha256:" + "2" * 64,
            "Config": {
                "Image": "kimai/kimai2:apache",
                "Labels": {"com.docker.compose.project": "acme"},
                "Env": ["DATABASE_URL=mysql://a:b=c@sqldb/kimai?x=1", "EMPTY=", "BARE"],
            },
            "State": {"Running": True, "Paused": False, "Status": "running", "Health": {"Status": "starting"}},
            "Mounts": [
                {"Type": "volume", "Name": "data", "Source": "/d/_data", "Destination": "/k/var/data/", "RW": False},
                {"Type": "bind", "Source": "/srv/local.yaml", "Destination": "/k/local.yaml"},
                {"Type": "tmpfs", "Source": None, "Destination": "/run"},
            ],
            "HostConfig": {"RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0}},
        }
    )
    assert found.restart_policy == "unless-stopped"
    assert (found.name, found.project, found.health, found.is_running) == ("acme-kimai-1", "acme", "starting", True)
    assert found.environment == {"DATABASE_URL": "mysql://a:b=c@sqldb/kimai?x=1", "EMPTY": "", "BARE": ""}
    assert [(each.destination, each.source, each.is_writable) for each in found.mounts] == [
        ("/k/var/data", "data", False),
        ("/k/local.yaml", "/srv/local.yaml", True),
        ("/run", "", True),
    ]


def test_a_paused_container_does_not_run() -> None:
    state = {"Running": True, "Paused": True, "Status": "paused"}
    found = read_container({"Id": ID, "State": state})
    assert (found.is_running, found.status) == (False, "paused")


@pytest.mark.parametrize("health", [None, {}, {"Status": None}, {"Status": "none"}])
def test_no_health_check_is_no_health(health: dict[str, Any] | None) -> None:
    assert read_container({"Id": ID, "State": {"Running": True, "Health": health}}).health is None


def test_a_line_of_the_list_that_lacks_fields() -> None:
    assert read_listed({"Id": ID, "Names": None, "Image": None, "Labels": None}) == Listed(ID, ID[:12], "", {})
    assert read_listed({"Id": ID, "Names": ["/a"], "Image": "i", "Labels": {"x": "y"}}) == Listed(
        ID, "a", "i", {"x": "y"}
    )


# ── Which container this is ──────────────────────────────────────────────────────────────────────────────────

OVERLAY = "700 600 0:60 / / rw,relatime master:1 - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/ABC\n"
OTHER = "f" * 64


def bound(source: str, place: str) -> str:
    return f"720 700 8:1 {source} {place} rw,relatime - ext4 /dev/sda1 rw\n"


def all_three(folder: str) -> str:
    return "".join(bound(f"{folder}/{name}", f"/etc/{name}") for name in ("resolv.conf", "hostname", "hosts"))


INSIDE = {
    "Docker 20.10": OVERLAY + all_three(f"/var/lib/docker/containers/{ID}"),
    "Docker's folder a file system of its own": OVERLAY + all_three(f"/containers/{ID}"),
    "Docker 28 with containerd's image store": OVERLAY.replace("docker/overlay2", "containerd/snapshots")
    + all_three(f"/var/lib/docker/containers/{ID}"),
    "rootless": OVERLAY + all_three(f"/home/me/.local/share/docker/containers/{ID}"),
    "podman": OVERLAY + all_three(f"/var/lib/containers/storage/overlay-containers/{ID}/userdata"),
    "podman, rootless": OVERLAY + all_three(f"/user/1000/overlay-containers/{ID}/userdata"),
}


@pytest.mark.parametrize("engine", INSIDE)
def test_the_mounts_tell_ones_own_container(engine: str, tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text(INSIDE[engine])
    (tmp_path / "hostname").write_text("backup\n")
    assert own_id(tmp_path / "mountinfo", tmp_path / "hostname") == ID


def test_another_containers_folder_mounted_here_is_not_ones_own(tmp_path: Path) -> None:
    foreign = bound(f"/var/lib/docker/containers/{OTHER}/log", f"/logs/{OTHER}/log")
    (tmp_path / "mountinfo").write_text(foreign + all_three(f"/var/lib/docker/containers/{ID}"))
    assert own_id(tmp_path / "mountinfo", tmp_path / "nothing") == ID


def test_a_host_that_runs_docker_is_no_container(tmp_path: Path) -> None:
    """The mounts of all its containers' shared memory are in the host's list."""
    shared = f"811 29 0:48 / /var/lib/docker/containers/{OTHER}/mounts/shm rw - tmpfs shm rw,size=65536k\n"
    (tmp_path / "mountinfo").write_text("29 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n" + shared)
    (tmp_path / "hostname").write_text("server.example.com\n")
    assert own_id(tmp_path / "mountinfo", tmp_path / "hostname") is None


@pytest.mark.parametrize(
    ("hostname", "expected"),
    [("0a1b2c3d4e5f\n", "0a1b2c3d4e5f"), ("backup\n", None), ("0a1b2c3d4e5f0\n", None), ("", None)],
)
def test_where_the_mounts_say_nothing_the_host_name_may(tmp_path: Path, hostname: str, expected: str | None) -> None:
    (tmp_path / "mountinfo").write_text(OVERLAY)
    (tmp_path / "hostname").write_text(hostname)
    assert own_id(tmp_path / "mountinfo", tmp_path / "hostname") == expected


def test_a_system_without_either(tmp_path: Path) -> None:
    assert own_id(tmp_path / "mountinfo", tmp_path / "hostname") is None
    (tmp_path / "hostname").write_text("0a1b2c3d4e5f\n")
    assert own_id(tmp_path / "mountinfo", tmp_path / "hostname") == "0a1b2c3d4e5f"
