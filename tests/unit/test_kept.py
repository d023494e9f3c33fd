"""What of a backup a restore leaves out because the target's own start writes it."""

import io
import stat
from types import SimpleNamespace
from typing import Any

import pytest

from sidecar.kept import made_anew, settings_beside
from sidecar.manifest import File
from sidecar.restore_files import _tame

SECRET = {"var/data/.appsecret": b"c0ffee", ".env.local": b"APP_SECRET=c0ffee\n"}


def backup_of(contents: dict[str, bytes]) -> Any:
    files = [
        File(path=path, size=len(content), mode=stat.S_IFREG | 0o600, mtime=0, uid=0, gid=0)
        for path, content in contents.items()
    ]
    return SimpleNamespace(files=files, open=lambda path: io.BytesIO(contents[path]))


def kimai(*, mirrors_secret: bool, there: dict[str, bytes] | None = None) -> Any:
    return SimpleNamespace(mirrors_secret=mirrors_secret, read=(there or {}).get)


@pytest.mark.parametrize(
    ("contents", "mirrors", "left_out"),
    [
        (SECRET, True, [".env.local"]),
        (SECRET, False, []),
        ({".env.local": SECRET[".env.local"]}, True, []),
        ({**SECRET, ".env.local": b"APP_SECRET=c0ffee\nMAILER_URL=smtp://mail\n"}, True, []),
        ({**SECRET, ".env.local": b"no assignment\n"}, True, []),
        ({**SECRET, ".env.local": b""}, True, [".env.local"]),
    ],
    ids=["mirrored", "bare metal", "without its source", "with more in it", "nonsense", "empty"],
)
def test_only_a_mirror_of_the_secret_is_left_to_the_start(
    contents: dict[str, bytes], mirrors: bool, left_out: list[str]
) -> None:
    assert made_anew(kimai(mirrors_secret=mirrors), backup_of(contents)) == left_out


def test_what_is_left_out_is_not_laid_beside_either() -> None:
    fresh = {".env.local": b"APP_SECRET=another\n"}
    url = "mysql://kimai@sqldb/kimai"
    assert settings_beside(kimai(mirrors_secret=True, there=fresh), backup_of(SECRET), url) == {}
    beside = settings_beside(kimai(mirrors_secret=False, there=fresh), backup_of(SECRET), url)
    assert beside == {".env.local": ".env.local.from-backup"}


@pytest.mark.parametrize(
    ("mode", "restored"),
    [
        (stat.S_IFREG | 0o6755, 0o755),
        (stat.S_IFDIR | 0o2770, 0o2770),
        (stat.S_IFDIR | 0o4755, 0o755),
        (stat.S_IFDIR | 0o1777, 0o1777),
    ],
    ids=["a file's setuid and setgid", "a folder's setgid", "a folder's setuid", "a folder's sticky bit"],
)
def test_no_file_lends_its_owners_rights_and_folders_keep_theirs(mode: int, restored: int) -> None:
    kind = "folder" if stat.S_ISDIR(mode) else "file"
    entry = File(path="var/data/x", kind=kind, mode=mode, mtime=0, uid=-1, gid=-1)
    tame = _tame(entry, (33, 82))
    assert (stat.S_IMODE(tame.mode), tame.uid, tame.gid) == (restored, 33, 82)
