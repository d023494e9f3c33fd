"""The plugins' gate: whether those of a backup fit the Kimai that they come into, and its database those that stay."""

from collections.abc import Collection, Mapping
from typing import Literal

from sidecar.archive.source import Source
from sidecar.errors import Refused
from sidecar.gate import Passed
from sidecar.kimai.beneath import SMALL_LIMIT
from sidecar.kimai.code import PLUGINS, plugins_among, version_id
from sidecar.kimai.target import Target
from sidecar.manifest import Plugin
from sidecar.wish import Allowed

_INSTALLER = "its installer (`bin/console list kimai:bundle` names it)"


def check_lost_plugins(source: Source, folders: Collection[str], *, running: str | None) -> Passed:
    """Raise `Refused` where one of the plugins that come back in these folders needs a newer Kimai."""
    backed = [each for each in plugins_of(source) if each.folder in folders]
    _check_required(backed, running)
    return Passed(
        warnings=[f"plugin {_shown(each)} comes back without its database: run {_INSTALLER}" for each in backed]
    )


def check_plugins(
    kimai: Target,
    source: Source,
    allowed: Allowed,
    *,
    only: Literal["database", "files"] | None,
    running: str | None,
) -> Passed:
    """Raise `Refused` where a plugin would keep Kimai from starting, or meet tables that aren't its own.

    Plugins come back with the backup's files. So they can differ from the restored database only where those that are
    installed stay: with `only` the database, and where nothing can be deleted (`Target.keeps`).
    """
    passed = Passed()
    backed = plugins_of(source)
    if only != "database":
        _check_required(backed, running)
    installed = kimai.plugins()
    if installed is None:
        passed.warnings.append("which plugins are installed can't be seen, so they are not compared with the backup's")
        return passed
    before, after = _by_folder(installed), _by_folder(backed)
    if not before and not after:
        return passed
    if only == "database":
        _check_staying(before, after, allowed, passed)
        return passed
    extra = [before[folder] for folder in sorted(before.keys() - after.keys())]
    if only is None and extra and kimai.keeps(PLUGINS):
        _refuse_or_warn(
            [f"{_shown(each)} is not in the backup, and can't be removed" for each in extra], allowed, passed
        )
    else:
        passed.warnings += [f"plugin {_shown(each)} is not in the backup: it goes" for each in extra]
    for folder in sorted(after.keys() & before.keys()):
        if not _are_same(before[folder], after[folder]):
            passed.warnings.append(f"plugin {_shown(before[folder])} is installed, {_shown(after[folder])} comes back")
    if only == "files":
        changed = [each for each in backed if not _are_same(each, before.get(each.folder))]
        passed.warnings += [
            f"plugin {_shown(each)} comes back without its database: run {_INSTALLER} if its tables don't fit"
            for each in changed
        ]
    same = sum(_are_same(each, before.get(each.folder)) for each in backed)
    passed.found.append(f"{len(backed)} plugins come back with the files, {same} of them as they are installed")
    return passed


def plugins_of(source: Source) -> list[Plugin]:
    """A backup's plugins, by its manifest; by its files where that was made before manifests told of plugins."""
    if source.manifest is not None and source.manifest.kimai.plugins is not None:
        return source.manifest.kimai.plugins
    there = {file.path: file.kind for file in source.files}

    def read(path: str) -> bytes | None:
        if there.get(path) != "file":
            return None
        with source.open(path) as stream:
            return stream.read(SMALL_LIMIT)

    return plugins_among((f"{path}/" if kind == "folder" else path for path, kind in there.items()), read)


def _check_required(backed: list[Plugin], running: str | None) -> None:
    """Kimai ends every command where a plugin asks for a newer one."""
    has = version_id(running) if running else None
    asking = [each for each in backed if has is not None and each.requires is not None and each.requires > has]
    if asking:
        named = ", ".join(f"{_shown(each)} needs {_version(each.requires or 0)}" for each in asking)
        raise Refused(
            f"the backup's plugins need a newer Kimai than {running}, which would not start with them: {named}",
            mend="Install the backup's version of Kimai first, or restore with --only database.",
        )


def _check_staying(before: Mapping[str, Plugin], after: Mapping[str, Plugin], allowed: Allowed, passed: Passed) -> None:
    """The installed plugins stay, and get the tables of the backup's."""
    wrong = []
    for folder, plugin in sorted(before.items()):
        backed = after.get(folder)
        if backed is None:
            wrong.append(f"{_shown(plugin)} is installed, and its tables are not in the backup")
        elif not _are_same(plugin, backed):
            wrong.append(f"{_shown(plugin)} is installed, the backup's tables are of {_shown(backed)}")
    _refuse_or_warn(wrong, allowed, passed)
    gone = [_shown(after[folder]) for folder in sorted(after.keys() - before.keys())]
    if gone:
        passed.warnings.append(f"the backup's plugins are not installed, and their tables lie idle: {', '.join(gone)}")
    same = len(before) - len(wrong)
    if same:
        passed.found.append(f"{same} plugins are installed as the backup has them")


def _refuse_or_warn(wrong: list[str], allowed: Allowed, passed: Passed) -> None:
    if wrong and not allowed.version_mismatch:
        raise Refused(
            f"plugins would meet a database that isn't theirs: {'; '.join(wrong)}",
            mend="Install, update or remove them to be as the backup's, or restore the files as well; "
            f"with --accept-version-mismatch it goes on, and each needs {_INSTALLER} afterwards.",
        )
    passed.warnings += [f"plugin {line}: run {_INSTALLER}" for line in wrong]


def _by_folder(plugins: list[Plugin]) -> dict[str, Plugin]:
    return {each.folder: each for each in plugins}


def _are_same(one: Plugin, other: Plugin | None) -> bool:
    return other is not None and (one.name, one.version) == (other.name, other.version)


def _shown(plugin: Plugin) -> str:
    return f"{plugin.folder} {plugin.version}" if plugin.version else plugin.folder


def _version(number: int) -> str:
    return f"{number // 10_000}.{number // 100 % 100}.{number % 100}"
