"""Which of a backup's files are lost, there as they were, or taken by something else."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from sidecar.errors import Refused
from sidecar.kimai.lost import Compared, compare_local
from sidecar.manifest import File


def file(path: str, content: bytes = b"x", **fields: Any) -> File:
    given = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "mode": 0o644, "mtime": 0}
    return File(**{"path": path, "uid": 0, "gid": 0, **given, **fields})


def compare(root: Path, *files: File) -> tuple[list[str], list[str], list[str]]:
    compared = Compared()
    compare_local(root, files, compared)
    return tuple([each.path for each in group] for group in (compared.lost, compared.equal, compared.taken))  # type: ignore[return-value]


def test_each_file_is_lost_equal_or_taken(tmp_path: Path) -> None:
    (tmp_path / "equal").write_bytes(b"x")
    (tmp_path / "other").write_bytes(b"y")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("equal")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    link, folder = {"kind": "link", "sha256": None}, {"kind": "folder", "sha256": None}
    found = compare(
        tmp_path,
        *(file(name) for name in ("equal", "other", "lost", "none/lost", "folder", "link", "dangling", "pipe")),
        file("link", **link, target="equal"),
        file("link", **link, target="other"),
        file("dangling", **link, target="nowhere"),
        file("folder", **folder),
        file("equal", **folder),
        file("lost", **folder),
    )
    assert found == (
        ["lost", "none/lost", "lost"],
        ["equal", "link", "dangling", "folder"],
        ["other", "folder", "link", "dangling", "pipe", "link", "equal"],
    )


def test_a_file_without_a_digest_is_taken_whatever_lies_there(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert compare(tmp_path, file("empty", b"", sha256=None), file("lost", sha256=None)) == (["lost"], [], ["empty"])


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/tmp"), lambda path: path.write_bytes(b"")])
def test_what_lies_below_no_folder_is_refused(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "above")
    with pytest.raises(Refused, match="above/file"):
        compare(tmp_path, file("above/file"))


def test_names_that_are_no_utf8_are_looked_for_as_they_are(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff")).write_bytes(b"x")
    assert compare(tmp_path, file("%FF", path_bytes=b"\xff"), file("%FE", path_bytes=b"\xfe")) == (["%FE"], ["%FF"], [])
