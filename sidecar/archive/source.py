"""A zip to restore from, whoever wrote it: ours, the documented script's, EasyBackup's."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sidecar.archive.legacy import LegacyArchive, identify, open_legacy
from sidecar.archive.reader import ArchiveReader
from sidecar.errors import NoSuchBackup
from sidecar.manifest import DATABASE_NAME, ENVIRONMENT_NAME, File, Manifest, decode

_SHOWN = 5


@dataclass(frozen=True)
class Source:
    """What a restore reads: the zip's label, Kimai's version where it says so, the dump and the files.

    `manifest` is None for a zip that isn't ours; `database_size` in bytes. `open` raises `Damaged`. Verify first:
    `warnings` are complete only then.
    """

    label: str
    kind: str
    kimai_version: str | None
    manifest: Manifest | None
    database_name: str
    database_size: int
    files: tuple[File, ...]
    open: Callable[[str], BinaryIO]
    verify: Callable[[Callable[[int], None]], None]
    warnings: list[str]

    @property
    def size(self) -> int:
        """Bytes that `verify` reads."""
        return self.database_size + sum(file.size for file in self.files)


@contextmanager
def open_source(path: Path, manifest: Manifest | None = None) -> Iterator[Source]:
    """Open a zip; `manifest` is the one beside it, where there is one. Raises `Damaged`, `NoSuchBackup`."""
    # Unlike Path's, it raises for no name: too long, or below a folder that this user may not enter.
    if not os.path.isfile(path):  # noqa: PTH113
        raise NoSuchBackup(
            f"there is no file {path} that this user can see", mend="Give an ID, `latest`, or the path of a zip."
        )
    if manifest is not None or identify(path) == "ours":
        with ArchiveReader(path) as reader:
            yield _ours(reader, path, manifest or _beside(path))
    else:
        with open_legacy(path) as archive:
            yield _legacy(archive, path)


def _beside(path: Path) -> Manifest | None:
    outer = path.with_suffix(".json")
    return decode(outer.read_bytes()) if path.suffix == ".zip" and outer.is_file() else None


def _ours(reader: ArchiveReader, path: Path, outer: Manifest | None) -> Source:
    manifest = outer or reader.read_manifest()
    reader.check(manifest)
    return Source(
        label=manifest.id if outer else path.name,
        kind="kimai-backup",
        kimai_version=manifest.kimai.version,
        manifest=manifest,
        database_name=DATABASE_NAME,
        database_size=manifest.database.size,
        files=tuple(file for file in manifest.files if file.path != ENVIRONMENT_NAME),
        open=reader.open,
        verify=lambda advance: reader.verify(manifest, advance),
        warnings=[],
    )


def _legacy(archive: LegacyArchive, path: Path) -> Source:
    if archive.ignored:
        names = ", ".join(archive.ignored[:_SHOWN])
        archive.warnings.append(
            f"not restored, as it is none of Kimai's user data: {len(archive.ignored)} paths: {names}"
        )
    return Source(
        label=path.name,
        kind=archive.kind,
        kimai_version=archive.kimai_version,
        manifest=None,
        database_name=archive.database_name,
        database_size=archive.database_size,
        files=tuple(archive.files),
        open=archive.open,
        verify=archive.verify,
        warnings=archive.warnings,
    )
