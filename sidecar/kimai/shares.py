"""Which of Kimai's files the sidecar has before it as volumes that it shares, and which it must ask the engine for."""

from collections.abc import Iterable
from typing import NamedTuple

from sidecar.errors import ConfigurationError
from sidecar.kimai.beneath import is_within
from sidecar.kimai.project import Container, Mount


class Shares(NamedTuple):
    """Paths of user data, relative to Kimai's root: read on this machine, or through the engine.

    `hidden`: what lies within a local path, on a volume of the app that is not shared; it is fetched as well.
    `layer`: the remote ones that lie in the container's own layer, and go with the container.
    """

    local: tuple[str, ...]
    remote: tuple[str, ...]
    hidden: tuple[str, ...]
    layer: tuple[str, ...]

    def is_local(self, path: str) -> bool:
        """Whether a path relative to the root is read on this machine."""
        inside = any(_covers(top, path) for top in self.local)
        return inside and not any(_covers(top, path) for top in self.hidden)


def find_shares(root: str, paths: Iterable[str], app: Container, own: Container | None) -> Shares:
    """Compare the mounts of both containers below Kimai's root, which is the same path in both.

    Raises `ConfigurationError` where another volume is mounted here than in the app: its files would be backed up
    as if they were Kimai's.
    """
    theirs = {each.destination: each for each in app.mounts}
    ours = {each.destination: each for each in own.mounts} if own else {}
    named = sorted(paths)
    _check_same(root, named, theirs, ours)
    local = [path for path in named if _is_shared(f"{root}/{path}", theirs, ours)]
    remote = [path for path in named if path not in local]
    hidden = sorted(
        destination.removeprefix(f"{root}/")
        for destination in theirs
        if destination not in ours and any(_covers(f"{root}/{path}", destination) for path in local)
    )
    layer = [path for path in remote if _mount_of(f"{root}/{path}", theirs) is None]
    return Shares(tuple(local), tuple(remote), tuple(hidden), tuple(layer))


def _check_same(root: str, paths: Iterable[str], theirs: dict[str, Mount], ours: dict[str, Mount]) -> None:
    for destination, mount in sorted(ours.items()):
        concerned = any(_covers(destination, f"{root}/{p}") or _covers(f"{root}/{p}", destination) for p in paths)
        if not concerned or not _covers(root, destination):
            continue
        other = theirs.get(destination)
        if not _are_same(other, mount):
            there = f"has {other.source or other.kind}" if other else "has nothing mounted"
            raise ConfigurationError(
                f"kimai-backup has {mount.source or mount.kind} at {destination}, Kimai's container {there} there",
                mend="Give both services the same volume, or none to kimai-backup: it then asks Docker for the files.",
            )


def _is_shared(path: str, theirs: dict[str, Mount], ours: dict[str, Mount]) -> bool:
    mount = _mount_of(path, theirs)
    return mount is not None and _are_same(ours.get(mount.destination), mount)


def _are_same(one: Mount | None, other: Mount) -> bool:
    """Whether two mounts have the same files; memory has no source, and is each container's own."""
    return one is not None and bool(one.source) and one.source == other.source


def _mount_of(path: str, mounts: dict[str, Mount]) -> Mount | None:
    """The innermost mount that a path lies on."""
    return max(
        (mount for destination, mount in mounts.items() if _covers(destination, path)),
        key=lambda mount: len(mount.destination),
        default=None,
    )


def _covers(folder: str, path: str) -> bool:
    return is_within(path.encode(), folder.encode())
