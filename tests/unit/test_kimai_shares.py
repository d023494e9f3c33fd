"""What of Kimai's files lies before the sidecar, and what it must ask the engine for, whatever is mounted where."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import ConfigurationError, Exit
from sidecar.kimai.project import Container, Mount
from sidecar.kimai.shares import find_shares
from sidecar.kimai.userdata import USER_DATA

ROOT = "/opt/kimai"


def mounts(places: dict[str, str]) -> Container:
    """A container with these volumes (or folders of the host) at these places."""
    found = tuple(
        Mount(place, source, "bind" if source.startswith("/") else "volume", is_writable=True)
        for place, source in places.items()
    )
    return Container("1", "c", "i", "", True, "running", None, {}, {}, found)


def below(places: dict[str, str]) -> Container:
    return mounts({f"{ROOT}/{place}": source for place, source in places.items()})


DOCUMENTED = {"var": "anonymous", "var/data": "data", "var/plugins": "plugins"}
"""The documented compose file's mounts, and the image's own anonymous volume below them."""


def test_the_documented_compose_file_with_data_and_plugins_shared() -> None:
    shared = below({"var/data": "data", "var/plugins": "plugins"})
    found = find_shares(ROOT, USER_DATA, below(DOCUMENTED), shared)
    assert found.local == ("var/data", "var/plugins")
    assert found.hidden == ()
    assert {"var/invoices", "var/export", "config/packages/local.yaml", ".env.local"} <= {*found.remote}
    assert "config/packages/local.yaml" in found.layer
    assert not {"var/invoices", "var/export", "var/data"} & {*found.layer}
    assert found.is_local("var/data/invoices/1.pdf")
    assert not found.is_local("var/database.txt")


def test_the_whole_of_var_shared() -> None:
    found = find_shares(ROOT, USER_DATA, below({"var": "var"}), below({"var": "var"}))
    assert {*found.local} == {path for path in USER_DATA if path.startswith("var/")}
    assert {*found.remote} == {*found.layer} == {path for path in USER_DATA if not path.startswith("var/")}


def test_volumes_of_the_app_below_a_shared_one_that_are_not_shared() -> None:
    app = below({"var": "var", "var/data": "data", "var/plugins/Demo": "demo"})
    found = find_shares(ROOT, ["var/data", "var/plugins", "var/export"], app, below({"var": "var"}))
    assert tuple(found) == (("var/export", "var/plugins"), ("var/data",), ("var/plugins/Demo",), ())
    assert found.is_local("var/plugins/Other/a.php")
    assert found.is_local("var/plugins/Demolition")
    assert not found.is_local("var/plugins/Demo/a.php")
    assert not found.is_local("var/plugins/Demo")


def test_a_single_file_of_the_host() -> None:
    path = "config/packages/local.yaml"
    app = below({path: "/srv/kimai/local.yaml"})
    assert find_shares(ROOT, [path], app, app).local == (path,)
    alone = find_shares(ROOT, [path], app, mounts({}))
    assert (alone.local, alone.remote, alone.layer) == ((), (path,), ())


@pytest.mark.parametrize(
    ("app", "own"),
    [
        ({"var/data": "data"}, {"var/data": "other"}),
        ({}, {"var/data": "data"}),
        ({"var": "var"}, {"var": "var", "var/data": "data"}),
        ({"var": "var", "var/data": "data"}, {"var": "other", "var/data": "data"}),
        ({"var/data": "data"}, {"var/data": "data", "var/data/invoices": "data"}),
    ],
)
def test_another_volume_at_a_place_of_kimais_is_refused(app: dict[str, str], own: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=f"kimai-backup has .* at {ROOT}/var") as caught:
        find_shares(ROOT, USER_DATA, below(app), below(own))
    assert caught.value.exit_code is Exit.CONFIGURATION


def test_nothing_of_memory_is_shared() -> None:
    """Two tmpfs have no source that could tell them apart, and never the same files."""
    memory = Container(
        "1", "c", "i", "", True, "running", None, {}, {}, (Mount(f"{ROOT}/var/data", "", "tmpfs", is_writable=True),)
    )
    with pytest.raises(ConfigurationError):
        find_shares(ROOT, ["var/data"], memory, memory)


def test_mounts_of_ones_own_that_have_nothing_to_do_with_kimai() -> None:
    own = mounts({"/backups": "/srv/backups", "/var/lib/kimai-backup": "state", f"{ROOT}/var/data": "data"})
    found = find_shares(ROOT, USER_DATA, below({"var/data": "data"}), own)
    assert found.local == ("var/data",)
    elsewhere = mounts({f"{ROOT}/var/log": "ours", f"{ROOT}-old": "old"})
    assert find_shares(ROOT, USER_DATA, below({}), elsewhere).local == ()


def test_a_volume_above_kimais_root_is_shared_only_if_it_is_the_same() -> None:
    assert find_shares(ROOT, ["var/data"], mounts({"/opt": "opt"}), mounts({"/opt": "opt"})).local == ("var/data",)
    other = find_shares(ROOT, ["var/data"], mounts({"/opt": "opt"}), mounts({"/opt": "tools"}))
    assert (other.local, other.remote, other.layer) == ((), ("var/data",), ())


def test_outside_of_a_container_nothing_is_shared() -> None:
    found = find_shares(ROOT, USER_DATA, below(DOCUMENTED), None)
    assert found.local == ()
    assert {*found.remote} == {*USER_DATA}
    assert found.hidden == ()


# ── Whatever is mounted where ────────────────────────────────────────────────────────────────────────────────

_part = st.sampled_from(["var", "data", "plugins", "a", "config", "data2"])
_place = st.lists(_part, min_size=1, max_size=4).map("/".join)
_volume = st.sampled_from(["v1", "v2", "v3", "/srv/x"])
_mounts = st.dictionaries(_place, _volume, max_size=6)
_paths = st.sets(_place, min_size=1, max_size=5)


def innermost(path: str, there: dict[str, str]) -> tuple[str, str] | None:
    """Where the mount begins that a path lies on, and what it is, worked out by walking upwards."""
    parts = path.split("/")
    for length in range(len(parts), 0, -1):
        if (place := "/".join(parts[:length])) in there:
            return place, there[place]
    return None


@given(app=_mounts, chosen=st.sets(_place), paths=_paths, inside=_place)
def test_a_path_is_local_exactly_where_both_see_the_same_volume(
    app: dict[str, str], chosen: set[str], paths: set[str], inside: str
) -> None:
    own = {place: source for place, source in app.items() if place in chosen}
    found = find_shares(ROOT, paths, below(app), below(own))
    assert {*found.local} | {*found.remote} == paths
    assert not {*found.local} & {*found.remote}
    assert {*found.layer} == {path for path in paths if innermost(path, app) is None}
    for path in paths:
        assert (path in found.local) == (
            innermost(path, app) is not None and innermost(path, app) == innermost(path, own)
        )
    for top in found.local:
        file = f"{top}/{inside}"
        if found.is_local(file):
            assert innermost(file, app) == innermost(file, own)
    for place in found.hidden:
        assert place in app
        assert place not in own
        assert any(place.startswith(f"{path}/") for path in found.local)
        assert not found.is_local(place)


@given(app=_mounts, own=_mounts, paths=_paths, inside=_place)
def test_a_file_that_only_the_sidecar_sees_is_never_taken_for_kimais(
    app: dict[str, str], own: dict[str, str], paths: set[str], inside: str
) -> None:
    try:
        found = find_shares(ROOT, paths, below(app), below(own))
    except ConfigurationError:
        assert any(app.get(place) != source for place, source in own.items())
        return
    for top in (*found.local, *(f"{path}/{inside}" for path in found.local)):
        if found.is_local(top):
            assert innermost(top, own) == innermost(top, app)
