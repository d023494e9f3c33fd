"""Which tables and files of a backup somebody means by the names on the command line, and what belongs to them."""

import difflib
import os
import posixpath
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from sidecar.brief import some
from sidecar.database.picked import trigger_table
from sidecar.errors import UsageError
from sidecar.kimai.beneath import exact_path, is_within
from sidecar.manifest import Database, File

_NEAR = 3
_LOOKED_AT = 2000
"""Names that are compared letter by letter to find what is near: comparing costs, and a backup may hold 100,000."""


def pick_tables(given: Iterable[str], database: Database) -> Database:
    """What the manifest says of these tables and their triggers. A name may be several, with commas between them.

    Raises `UsageError` for one that the backup doesn't have, with those that are near.
    """
    there = {table.name: table for table in database.tables}
    names = [name for text in given for name in _names(text, there)]
    if not names:
        raise UsageError("no table is named", mend="`kimai-backup show` lists a backup's tables.")
    unknown = [name for name in names if name not in there]
    if unknown:
        raise UsageError(
            f"the backup has no table {unknown[0]!r}{_near(unknown[0], there)}",
            mend="`kimai-backup show` lists its tables.",
        )
    chosen = set(names)
    triggers = [
        each
        for each in database.objects
        if each.kind == "trigger" and trigger_table(each.definition["sql"].encode(), there.keys()) in chosen
    ]
    return replace(database, tables=[there[name] for name in sorted(chosen)], objects=triggers)


def _names(text: str, there: Iterable[str]) -> list[str]:
    names = [text] if text in there else [name.strip() for name in text.split(",")]
    return [name for name in names if name]


def pick_files(given: Iterable[str], files: Sequence[File], root: str) -> list[File]:
    """The files, links and folders of these names, with what lies in the folders; paths relative to Kimai's `root`.

    Raises `UsageError` for one that the backup doesn't have, with those that are near.
    """
    found: dict[str, File] = {}
    for text in given:
        path = _relative(text, root)
        chosen = [file for file in files if path and _is_meant(file, os.fsencode(path))]
        if not chosen:
            raise UsageError(
                f"the backup has no file or folder {text!r}{_near(path, _neighbours(path, files))}",
                mend="`kimai-backup show ID --json` lists its files.",
            )
        found |= {file.path: file for file in chosen}
    return list(found.values())


def _is_meant(file: File, path: bytes) -> bool:
    """Whether a file is at or below a path, as the manifest spells it or as it lies on the disk."""
    return is_within(file.path.encode(), path) or is_within(exact_path(file), path)


def folders_above(chosen: Iterable[File], files: Sequence[File]) -> list[File]:
    """The backup's folders on the way to the chosen files: they come back as they were where they are lost as well."""
    above: set[str] = set()
    for file in chosen:
        folder = posixpath.dirname(file.path)
        while folder and folder not in above:
            above.add(folder)
            folder = posixpath.dirname(folder)
    return [file for file in files if file.kind == "folder" and file.path in above]


def _relative(text: str, root: str) -> str:
    """A path as the manifest writes it: an absolute one below the root, one that ends with a slash, `./` before it."""
    path = posixpath.normpath(text) if text else ""
    if path.startswith("/"):
        path = posixpath.relpath(path, root) if is_within(os.fsencode(path), os.fsencode(root.rstrip("/"))) else path
    return "" if path == "." else path


def _neighbours(path: str, files: Sequence[File]) -> list[str]:
    """What may have been meant: of the same name elsewhere, else in the folder or, without it, in one above."""
    name = posixpath.basename(path)
    same = [file.path for file in files if posixpath.basename(file.path) == name]
    if same:
        return same
    folder = path.strip("/")
    while folder:
        folder = posixpath.dirname(folder)
        inside = [file.path for file in files if _is_meant(file, os.fsencode(folder))]
        if inside:
            return inside
    return [file.path for file in files]


def _near(name: str, there: Iterable[str]) -> str:
    """`, did you mean …?` where something is near."""
    known = list(there)
    near = difflib.get_close_matches(name, known[:_LOOKED_AT], n=_NEAR, cutoff=0.5)
    near = near or [each for each in known if posixpath.basename(each) == posixpath.basename(name)][:_NEAR]
    return f"; did you mean {some(near, _NEAR)}?" if near else ""
