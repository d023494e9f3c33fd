"""A zip to restore from, whoever wrote it: ours, the documented script's, EasyBackup's."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from sidecar.archive.decrypting import NO_KEYS, Keyring
from sidecar.archive.legacy import LegacyArchive, identify, open_legacy
from sidecar.archive.reader import ArchiveReader
from sidecar.errors import Damaged, NoSuchBackup, StorageFailed
from sidecar.manifest import DATABASE_NAME, ENVIRONMENT_NAME, Archive, File, Manifest, decode, encode, withhold
from sidecar.names import ARCHIVE_SUFFIXES, MANIFEST_SUFFIX, is_encrypted, split

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
def open_source(path: Path, manifest: Manifest | None = None, keys: Keyring = NO_KEYS) -> Iterator[Source]:
    """Open a zip, or an encrypted one by its key; `manifest` is the one beside it, where there is one.

    Raises `Damaged`, `NoSuchBackup`, and what `Keyring.opened` does.
    """
    # Unlike Path's, it raises for no name: too long, or below a folder that this user may not enter.
    if not os.path.isfile(path):  # noqa: PTH113
        raise NoSuchBackup(
            f"there is no file {path} that this user can see", mend="Give an ID, `latest`, or the path of a zip."
        )
    outer = manifest or _beside(path)
    with decrypted(path, outer, keys) as plain:
        if manifest is not None or identify(plain) == "ours":
            with open_ours(plain, outer) as (reader, full):
                yield _ours(reader, full, path.name if outer is None else full.id)
        else:
            with open_legacy(plain) as archive:
                yield _legacy(archive, path)


@contextmanager
def decrypted(
    path: Path, outer: Manifest | None, keys: Keyring, advance: Callable[[int], None] = lambda _: None
) -> Iterator[Path]:
    """The zip itself: where it is encrypted, held against the manifest beside it and then decrypted."""
    encrypted = is_encrypted(path.name)
    if outer is not None and (outer.withheld is not None) != encrypted:
        one, other = ("is", "is not") if encrypted else ("is not", "is")
        raise Damaged(f"{path.name} {one} encrypted, and the manifest beside it is that of an archive that {other}")
    if not encrypted:
        yield path
        return
    if outer is not None and keys:
        check_stored(path, outer)
    with keys.opened(path, advance) as plain:
        yield plain


@contextmanager
def open_ours(path: Path, outer: Manifest | None) -> Iterator[tuple[ArchiveReader, Manifest]]:
    """One of our zips, checked against the manifest beside it, if any, and the whole manifest.

    That is the one inside where the one beside it withholds most of it. Raises `Damaged`.
    """
    with ArchiveReader(path) as reader:
        if outer is None:
            full = reader.read_manifest()
        elif outer.withheld is None:
            full = outer
        else:
            full = reader.read_manifest()
            if encode(withhold(full)) != encode(msgspec.structs.replace(outer, archive=None)):
                raise Damaged(f"{path.name} holds another manifest than the one beside it")
        reader.check(full)
        yield reader, full


def check_stored(path: Path, outer: Manifest) -> Archive:
    """Hold an archive's size and SHA-256, as it lies there, against the manifest beside it: no key is needed for that.

    Raises `Damaged`, `NoSuchBackup`, `StorageFailed`.
    """
    found = measure(path)
    if outer.archive is None:
        raise Damaged(f"the manifest beside {path.name} does not say what the archive is")
    if found.size != outer.archive.size:
        raise Damaged(f"{path.name} has {found.size} bytes, its manifest says {outer.archive.size}")
    if found.sha256 != outer.archive.sha256:
        raise Damaged(f"{path.name} is not the archive that was stored: its SHA-256 differs")
    return found


def measure(path: Path) -> Archive:
    """An archive's size in bytes and SHA-256, as it lies there. Raises `NoSuchBackup`, `StorageFailed`."""
    try:
        with path.open("rb", buffering=0) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return Archive(size=file.seek(0, os.SEEK_END), sha256=digest)
    except FileNotFoundError as error:
        raise NoSuchBackup(f"{path.name} is not there") from error
    except OSError as error:
        raise StorageFailed(f"{path.name} can't be read: {error.strerror}") from error


def _beside(path: Path) -> Manifest | None:
    """The manifest beside a zip; not one of another archive of that stem, encrypted where this one is not."""
    stem, suffix = split(path.name)
    outer = path.with_name(stem + MANIFEST_SUFFIX)
    if suffix not in ARCHIVE_SUFFIXES or not outer.is_file():
        return None
    found = decode(outer.read_bytes())
    return found if (found.withheld is not None) == is_encrypted(path.name) else None


def _ours(reader: ArchiveReader, manifest: Manifest, label: str) -> Source:
    return Source(
        label=label,
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
