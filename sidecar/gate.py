"""The version gate: whether a backup's database and plugins fit the Kimai that it is to be restored into."""

import logging
import re
from dataclasses import dataclass, field
from typing import Literal

from sidecar.archive.source import Source
from sidecar.errors import Refused, Unreachable
from sidecar.kimai import console as asked
from sidecar.kimai.target import Target
from sidecar.wish import Allowed

log = logging.getLogger(__name__)

Fit = Literal["same", "older", "newer", "unknown"]
"""How a backup's newest migration stands to the one that the installed code knows."""


@dataclass
class Passed:
    """What a gate found in order, and what it found worth a warning; `running`: the installed version, if known."""

    found: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    running: str | None = None


@dataclass(frozen=True)
class Versions:
    """Of the backup and of what is installed: Kimai's version and the newest migration; None for what nobody knows."""

    wanted: str | None
    running: str | None
    restored: str | None
    known: str | None
    image: str = "apache"

    @property
    def fit(self) -> Fit:
        """What becomes of the backup's schema under this code."""
        if self.restored is None or self.known is None:
            return "unknown"
        if self.restored == self.known:
            return "same"
        return "older" if self.restored < self.known else "newer"

    @property
    def is_down(self) -> bool:
        """Whether the installed Kimai is older than the backup's."""
        return bool(self.wanted and self.running) and _order(self.running or "") < _order(self.wanted or "")

    @property
    def differ(self) -> str:
        """Both versions, in a sentence."""
        return f"the backup is of Kimai {self.wanted}, Kimai {self.running} is installed"

    @property
    def install(self) -> str:
        """What to install, by its tags."""
        return f"Install Kimai {self.wanted} first (git tag {self.wanted}, image tag {self.image}-{self.wanted})"


def may_migrate(source: Source, allowed: Allowed) -> bool:
    """Whether Kimai may migrate what was loaded: told to, or at its start where nobody knows how old it is."""
    return allowed.upgrade or source.manifest is None or source.manifest.database.newest_migration is None


def check_version(
    kimai: Target, source: Source, allowed: Allowed, *, only: Literal["database", "files"] | None
) -> Passed:
    """Raise `Refused` unless the installed Kimai is of the backup's version, or differs in a way that was allowed.

    A database that is newer than the code is refused whatever was allowed: no Kimai leads down again.
    """
    passed = Passed()
    seen = _look(kimai, source, allowed, passed, with_schema=only != "files")
    passed.running = seen.running
    if seen.fit == "newer":
        raise _too_new(seen)
    if seen.wanted is None or seen.running is None:
        _check_unknown(source, seen, allowed, passed)
    elif seen.wanted != seen.running:
        _check_mismatch(seen, allowed, passed, with_schema=only != "files")
    else:
        passed.found.append(f"Kimai {seen.running} is installed, and the backup is of that version")
    if seen.fit == "unknown" and only != "files":
        passed.warnings.append("nobody knows whether the backup's database is at the migration of Kimai's code")
    if seen.fit == "older" and not allowed.upgrade:
        raise Refused(
            f"the backup's database is at migration {seen.restored}, Kimai's code is at {seen.known}: "
            "it was backed up before it was migrated",
            mend="Pass --upgrade, and Kimai migrates it once it is loaded and compared.",
        )
    if allowed.upgrade:
        way = {"same": f"at {seen.known} already", "older": f"from migration {seen.restored} to {seen.known}"}
        passed.found.append(
            f"Kimai migrates the loaded database: {way.get(seen.fit, 'from where, it finds out itself')}"
        )
    return passed


def _look(kimai: Target, source: Source, allowed: Allowed, passed: Passed, *, with_schema: bool) -> Versions:
    """Versions and migrations. Raises `Refused` where the installed version can't be learnt, unless that is allowed."""
    running: str | None = None
    try:
        running, _ = asked.read_version(kimai.console, kimai.version_file())
    except Unreachable as error:
        if not allowed.unknown_version:
            raise Refused(
                f"Kimai's version can't be learnt, so nobody knows whether the backup fits it: {error.what}",
                mend="Mend Kimai first, or pass --accept-unknown-version.",
            ) from error
        passed.warnings.append(f"Kimai's version could not be learnt: {error.what}")
    manifest = source.manifest
    newest = manifest.database.newest_migration if manifest else None
    image = manifest.kimai.image if manifest else None
    return Versions(
        wanted=source.kimai_version,
        running=running,
        restored=migration_of(newest) if newest and with_schema else None,
        known=kimai.newest_migration() if with_schema else None,
        image="fpm" if image and "fpm" in image.rpartition(":")[2] else "apache",
    )


def _check_unknown(source: Source, seen: Versions, allowed: Allowed, passed: Passed) -> None:
    """One of the versions is not known; that of Kimai was passed over already where it is."""
    if seen.running is None:
        return
    if not allowed.unknown_version:
        raise Refused(
            f"{source.label} doesn't say which version of Kimai it is of; Kimai {seen.running} is installed",
            mend="If you are sure that it is of that version, pass --accept-unknown-version.",
        )
    passed.warnings.append(f"the backup's version is unknown; Kimai {seen.running} is installed")


def _check_mismatch(seen: Versions, allowed: Allowed, passed: Passed, *, with_schema: bool) -> None:
    if allowed.upgrade and seen.is_down:
        raise Refused(
            f"{seen.differ}: --upgrade leads up, never down", mend=f"{seen.install}, restore without --upgrade."
        )
    if allowed.upgrade:
        passed.warnings.append(
            f"{seen.differ}: the documented way is to restore into {seen.wanted}, look around, and update then"
        )
        return
    if not allowed.version_mismatch:
        raise Refused(seen.differ, mend=f"{seen.install}, restore, then update.{_other_ways(seen, with_schema)}")
    if with_schema and seen.fit != "same":
        why = {
            "older": f"its database is at migration {seen.restored}, the code at {seen.known}",
            "unknown": "nobody knows whether its database fits that code",
        }
        up = "" if seen.is_down else " Or pass --upgrade, and Kimai migrates what was loaded."
        raise Refused(f"{seen.differ}, and {why[seen.fit]}", mend=f"{seen.install}, restore, then update.{up}")
    what = f", and both are at migration {seen.known}" if with_schema else ""
    passed.warnings.append(f"{seen.differ}{what}: it goes on, as --accept-version-mismatch says")


def _other_ways(seen: Versions, with_schema: bool) -> str:
    """The options that would let this backup pass, if it is any."""
    if with_schema and seen.fit == "same":
        return f" Or pass --accept-version-mismatch: both are at migration {seen.known}."
    if with_schema and not seen.is_down:
        return f" Or pass --upgrade, and Kimai {seen.running} migrates what was loaded."
    return "" if with_schema else " Or pass --accept-version-mismatch."


def _too_new(seen: Versions) -> Refused:
    newer = f"the backup's database is at migration {seen.restored}, newer than Kimai's code, which knows {seen.known}"
    if seen.wanted and seen.running and seen.wanted != seen.running:
        return Refused(f"{seen.differ}: {newer}", mend=f"{seen.install}, restore, then update.")
    which = (
        f"{seen.wanted} (git tag {seen.wanted}, image tag {seen.image}-{seen.wanted})" if seen.wanted else "a newer one"
    )
    return Refused(newer, mend=f"Install the Kimai that the backup was made of: {which}, with the code that fits it.")


def migration_of(stored: str) -> str | None:
    """A migration as its file is called; an old Doctrine stored its number alone. None for what is no migration."""
    match = re.fullmatch(r"(?:.*\\)?(?:Version)?([0-9]{14})", stored)
    return f"Version{match[1]}" if match else None


def _order(version: str) -> tuple[tuple[int, ...], bool, str]:
    """What versions are compared by: `2.66.0-beta` comes before `2.66.0`."""
    numbers, _, suffix = version.partition("-")
    parts = [int(each) for each in re.findall(r"[0-9]+", numbers)]
    return tuple([*parts, 0, 0, 0][:3]), not suffix, suffix
