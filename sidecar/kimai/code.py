"""What Kimai's code says of itself: the newest migration that it knows, and the plugins that it loads."""

import json
import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sidecar.errors import ConfigurationError
from sidecar.kimai.archived import members, tar_faults_named
from sidecar.kimai.beneath import SMALL_LIMIT, ReadSmall
from sidecar.kimai.containerfiles import ContainerFiles, NotThere
from sidecar.manifest import Plugin

log = logging.getLogger(__name__)

MIGRATIONS = "migrations"
"""Where Kimai keeps its migrations, a file each, relative to its root."""

PLUGINS = "var/plugins"
_COMPOSER = "composer.json"
_DISABLED = ".disabled"
_BUNDLE = re.compile(r"\w+Bundle", re.ASCII)
"""The name of a folder that Kimai takes for a plugin; it names a class of PHP."""
_MIGRATION = re.compile(r"(?P<name>Version[0-9]{14})\.php")
_TEXT_LIMIT = 200
"""Characters of a name or version that are kept."""


def newest_migration(names: Iterable[str]) -> str | None:
    """The newest of the migrations by the names of their files, as it stands in `migration_versions`."""
    found = [match["name"] for name in names if (match := _MIGRATION.fullmatch(name))]
    return max(found, default=None)


def version_id(version: str) -> int | None:
    """A version as Kimai counts them: 26600 for 2.66.0, and for 2.66.0-beta. None for what is no version."""
    match = re.match(r"([0-9]+)\.([0-9]+)(?:\.([0-9]+))?", version)
    return int(match[1]) * 10_000 + int(match[2]) * 100 + int(match[3] or 0) if match else None


def plugins_among(paths: Iterable[str], read: ReadSmall) -> list[Plugin]:
    """The plugins among paths relative to Kimai's root, by what `read` finds in them.

    As Kimai does it, folders that aren't called `…Bundle` are none, nor are those with a `.disabled` in them.
    """
    there = set(paths)
    folders = sorted({path.split("/")[2] for path in there if path.startswith(f"{PLUGINS}/") and path.count("/") > 2})
    return [
        _described(folder, read(_path(folder, _COMPOSER)) if _path(folder, _COMPOSER) in there else None)
        for folder in folders
        if _BUNDLE.fullmatch(folder) and _path(folder, _DISABLED) not in there
    ]


def _path(folder: str, name: str) -> str:
    return f"{PLUGINS}/{folder}/{name}"


def _described(folder: str, content: bytes | None) -> Plugin:
    try:
        said: Any = json.loads(content) if content is not None else {}
    except (ValueError, RecursionError):
        said = {}  # Kimai won't load it either
    said = said if isinstance(said, dict) else {}
    extra = said.get("extra")
    own: Any = extra.get("kimai") if isinstance(extra, dict) else None
    own = own if isinstance(own, dict) else {}
    requires = own.get("require")
    return Plugin(
        folder=folder,
        name=_text(said.get("name")),
        # As Kimai reads it: its own key before composer's.
        version=_text(own.get("version")) or _text(said.get("version")),
        requires=requires if isinstance(requires, int) and 0 < requires < 2**31 else None,
    )


def _text(value: Any) -> str | None:
    # JSON may hold half a character, which no manifest can.
    return value[:_TEXT_LIMIT].encode(errors="replace").decode() if isinstance(value, str) and value else None


# ── On this machine ──────────────────────────────────────────────────────────────────────────────────────────


def local_newest_migration(root: Path) -> str | None:
    """The newest migration of the code below the root."""
    try:
        return newest_migration(os.listdir(root / MIGRATIONS))  # noqa: PTH208 - names are wanted
    except OSError as error:
        log.debug("Kimai's migrations can't be seen: %s", error)
        return None


def local_plugins(root: Path, read: ReadSmall) -> list[Plugin] | None:
    """The plugins below the root; None, with a warning, where they can't be read."""
    try:
        folder = root / PLUGINS
        bundles = [each for each in folder.iterdir() if each.is_dir()] if folder.is_dir() else []
        paths = [_path(each.name, name) for each in bundles for name in ("", *_names_in(each))]
        return plugins_among(paths, read)
    except (OSError, ConfigurationError) as error:
        log.warning("Which plugins Kimai has can't be seen: %s", error)
        return None


def _names_in(bundle: Path) -> list[str]:
    return [name for name in (_COMPOSER, _DISABLED) if (bundle / name).exists()]


# ── In a container ───────────────────────────────────────────────────────────────────────────────────────────


def archived_newest_migration(engine: ContainerFiles, container: str, root: str) -> str | None:
    """The newest migration of the code in a container. Raises `Unreachable`."""
    try:
        with engine.fetch(container, f"{root}/{MIGRATIONS}") as stream:
            return newest_migration(
                os.fsdecode(exact).rpartition("/")[2] for _, _, exact in members(stream, MIGRATIONS)
            )
    except NotThere:
        return None


def archived_plugins(engine: ContainerFiles, container: str, root: str) -> list[Plugin]:
    """The plugins in a container, read in one pass. Raises `Unreachable`."""
    paths: list[str] = []
    contents: dict[str, bytes] = {}
    try:
        with engine.fetch(container, f"{root}/{PLUGINS}") as stream:
            for tar, member, exact in members(stream, PLUGINS):
                path = os.fsdecode(exact)
                if path.count("/") > 3:
                    continue
                paths.append(f"{path}/" if member.isdir() else path)
                if path.endswith(f"/{_COMPOSER}") and member.isreg() and member.size <= SMALL_LIMIT:
                    with tar_faults_named(path):
                        content = tar.extractfile(member)
                        contents[path] = content.read() if content is not None else b""
    except NotThere:
        return []
    return plugins_among(paths, contents.get)
