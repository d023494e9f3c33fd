"""Which paths below Kimai's root are an instance's own, and where its settings have moved them to."""

import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from sidecar.errors import ConfigurationError
from sidecar.kimai.beneath import ReadSmall, is_within, small_files
from sidecar.kimai.environment import COMPILED, app_environment

log = logging.getLogger(__name__)

LOCAL_YAML = "config/packages/local.yaml"

BY_SETTING = " (kimai.data_dir)"
"""Ends the name of what only a setting leads to."""

USER_DATA = (
    ".env",
    ".env.local",
    "config/bundles-local.php",
    LOCAL_YAML,
    "templates/export",
    "templates/invoice",
    "var/data",
    "var/export",
    "var/invoices",
    "var/packages",
    "var/plugins",
)
"""What an instance is made of beside its database, relative to Kimai's root."""

NOT_USER_DATA = ("var/cache", "var/log", "var/sessions", "var/installed")
"""What Kimai makes anew by itself."""

_DATA_DIR = re.compile(
    r"""^[^#\n]*?(?<![\w.-])["']?data_dir["']?[ \t]*:[ \t]*(?:"([^"\n]*)"|'([^'\n]*)'|([^\s#,}]+))""",
    re.MULTILINE,
)
_PROJECT = "%kernel.project_dir%"


class UserData(NamedTuple):
    """The paths to back up, relative to Kimai's root, and what of Kimai's data lies where no backup reaches."""

    paths: tuple[str, ...]
    uncovered: tuple[str, ...]


def user_data(root: Path, read: ReadSmall | None = None, app_env: str | None = None) -> UserData:
    """The paths of this instance: the fixed ones, those of its APP_ENV, and where local.yaml puts `data_dir`.

    `read` reads its settings where they don't lie on this machine, `app_env` is its process's APP_ENV. A path may
    not exist. No path lies within another one.
    """
    read = read or small_files(root)
    name = app_environment(read, app_env)
    paths = {*USER_DATA, f".env.{name}", f".env.{name}.local", COMPILED}
    uncovered = []
    for value in _data_dirs(read):
        inside = _inside(value, root)
        if inside is None or any(is_within(inside.encode(), each.encode()) for each in NOT_USER_DATA):
            uncovered.append(value + BY_SETTING)
        else:
            paths.add(inside)
    return UserData(tuple(outermost(paths)), tuple(sorted(uncovered)))


def moved_data(root: Path, local_yaml: bytes) -> list[str]:
    """Where a `local.yaml`, perhaps a backup's, puts `data_dir`, relative to the root; nothing for a place outside."""
    inside = (_inside(value, root) for value in _data_dirs_in(local_yaml))
    return sorted(path for path in inside if path is not None)


def _covers(folder: str, path: str) -> bool:
    return is_within(os.fsencode(path), os.fsencode(folder))


def _data_dirs(read: ReadSmall) -> set[str]:
    """Every `data_dir` of local.yaml, read without a YAML parser: one too many is only one path more."""
    try:
        content = read(LOCAL_YAML) or b""
    except ConfigurationError as error:
        # The survey names the file itself as unreadable.
        log.debug("kimai.data_dir is not known: %s", error)
        return set()
    return _data_dirs_in(content)


def _data_dirs_in(content: bytes) -> set[str]:
    return {first or second or third for first, second, third in _DATA_DIR.findall(content.decode(errors="replace"))}


def _inside(value: str, root: Path) -> str | None:
    """A data_dir relative to the root; None where it lies elsewhere or can't be told."""
    path = Path(value.replace(_PROJECT, str(root.resolve())))
    if "%" in value.replace(_PROJECT, "") or not path.is_absolute():
        return None
    for base in (root.resolve(), root.absolute()):
        normal = Path(os.path.normpath(path))
        if normal != base and normal.is_relative_to(base):
            return str(normal.relative_to(base))
    return None


def outermost(paths: Iterable[str]) -> list[str]:
    """Those of the paths that lie within no other one: what a backup holds at its top."""
    found: list[str] = []
    for path in sorted({path.rstrip("/") for path in paths}, key=lambda path: path.split("/")):
        if not found or not _covers(found[-1], path):
            found.append(path)
    return found
