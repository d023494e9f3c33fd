"""What of a backup a restore leaves out because the target's own start writes it."""

import io
import stat
from types import SimpleNamespace
from typing import Any

import pytest

from sidecar.kept import made_anew, settings_beside
from sidecar.manifest import File

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
