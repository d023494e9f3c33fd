"""Zips as the documented script and EasyBackup make them."""

import json
import zipfile
from pathlib import Path

from tests.support.cli import Site

FILES = ("var/data", "var/plugins", "var/invoices", "var/export")


def files_of(site: Site) -> dict[str, bytes]:
    return {
        str(path.relative_to(site.root)): path.read_bytes()
        for top in FILES
        for path in sorted((site.root / top).rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def pack(site: Site, name: str, dump_name: str, dump: bytes, note: dict[str, str] | None = None) -> Path:
    """A zip as `zip -r` and PHP's ZipArchive write it: relative names, no owners."""
    folder = site.folder / "old backups"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(dump_name, dump)
        if note is not None:
            archive.writestr("manifest.json", json.dumps(note))
        archive.write(site.root / ".env", ".env")
        for path in files_of(site):
            archive.write(site.root / path, path)
    return folder / name


def script_zip(site: Site, dump: bytes | None = None) -> Path:
    dump = site.server.native_dump(site.database) if dump is None else dump
    return pack(site, "2026-11-20_02-00.zip", "kimai2-2026-11-20_02-00.sql", dump)
