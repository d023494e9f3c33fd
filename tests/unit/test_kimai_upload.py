"""Files on their way into a container: nothing hostile is sent, and what was there can be sent back, whole."""

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import Damaged, Unreachable
from sidecar.kimai.upload import BEFORE, NEW, Upload, put_back
from sidecar.manifest import File
from tests.support.container import ROOT, FakeContainer, content_of, held, special, tar_of
from tests.unit.test_kimai_archived import sparse_tar

LONG = "long-" + "x" * 180 + "-ä"
OLD = tar_of(("data", None), ("data/a.pdf", b"old"), (f"data/{LONG}.pdf", b"long and old"), ("data/mine.pdf", b"mine"))


def file(path: str, content: bytes = b"", **given: object) -> File:
    described = {"mode": 0o100644, "mtime": 1_700_000_000 * 10**9, "uid": 33, "gid": 33}
    digest = hashlib.sha256(content).hexdigest()
    return File(path=path, kind="file", size=len(content), sha256=digest, **(described | given))  # type: ignore[arg-type]


def other(path: str, kind: str, target: str | None = None) -> File:
    return File(path=path, kind=kind, size=0, mode=0o040755, mtime=0, uid=0, gid=0, target=target)  # type: ignore[arg-type]


def upload_to(container: FakeContainer, folder: Path, *allowed: str) -> Upload:
    return Upload(container, "app", ROOT, folder / "spool", allowed or ("var/data", ".env.local"))


def test_what_is_sent_and_what_was_there_is_sent_back(tmp_path: Path) -> None:
    container = FakeContainer({"var/data": OLD})
    upload = upload_to(container, tmp_path)
    upload.add(other("var/data", "folder"))
    upload.add(file("var/data/a.pdf", b"new"), [b"n", b"", b"ew"])
    upload.add(other("var/data/newest.pdf", "link", "a.pdf"))
    upload.add(file("var/data/suid", b"x", mode=0o106755), [b"x"])
    assert container.stored == []
    upload.send()
    ((place, sent),) = container.stored
    assert place == ROOT
    found = held(sent)
    assert list(found) == ["var/data", "var/data/a.pdf", "var/data/newest.pdf", "var/data/suid"]
    assert content_of(sent, "var/data/a.pdf") == b"new"
    assert (found["var/data/a.pdf"].uid, found["var/data/a.pdf"].mtime) == (33, 1_700_000_000)
    assert found["var/data/newest.pdf"].linkname == "a.pdf"
    assert found["var/data/suid"].mode == 0o755
    assert upload.kept == [f"var/data/{LONG}.pdf", "var/data/mine.pdf"]
    upload.put_back()
    back = container.stored[1][1]
    assert list(held(back)) == ["var/data", "var/data/a.pdf", f"var/data/{LONG}.pdf", "var/data/mine.pdf"]
    assert content_of(back, f"var/data/{LONG}.pdf") == b"long and old"
    assert content_of(back, "var/data/a.pdf") == b"old"
    assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_all_kinds_of_what_was_there_come_back_as_they_were(tmp_path: Path, form: int) -> None:
    latin = b"M\xfcller".decode("utf-8", "surrogateescape")
    tar = tar_of(
        ("data", None),
        (f"data/{LONG}/{LONG}", b"long"),
        (f"data/{latin}", b"latin"),
        special("data/second", tarfile.LNKTYPE, f"data/{LONG}/{LONG}"),
        special("data/link", tarfile.SYMTYPE, f"../{LONG}{LONG}"),
        special("data/pipe", tarfile.FIFOTYPE),
        form=form,
    )
    container = FakeContainer({"var/data": tar})
    upload = upload_to(container, tmp_path)
    upload.add(file("var/data/new", b"1"), [b"1"])
    upload.send()
    upload.put_back()
    back = container.stored[1][1]
    found = held(back)
    assert list(found) == [
        "var/data",
        f"var/data/{LONG}/{LONG}",
        f"var/data/{latin}",
        "var/data/second",
        "var/data/link",
        "var/data/pipe",
    ]
    assert found["var/data/second"].linkname == f"var/data/{LONG}/{LONG}"
    assert found["var/data/link"].linkname == f"../{LONG}{LONG}"
    assert found["var/data/pipe"].isfifo()
    assert content_of(back, f"var/data/{latin}") == b"latin"


def test_a_sparse_file_comes_back_whole_and_rights_in_attributes_too(tmp_path: Path) -> None:
    able = tarfile.TarInfo("data/able")
    able.pax_headers = {"SCHILY.xattr.security.capability": "\x01\x00\x00\x02"}
    for tar, name in ((sparse_tar(), "var/data/holes.bin"), (tar_of(able), "var/data/able")):
        container = FakeContainer({"var/data": tar})
        upload = upload_to(container, tmp_path)
        upload.add(file("var/data/new", b"1"), [b"1"])
        upload.send()
        upload.put_back()
        back = container.stored[1][1]
        if name.endswith("able"):
            assert held(back)[name].pax_headers["SCHILY.xattr.security.capability"] == "\x01\x00\x00\x02"
        else:
            assert content_of(back, name) == bytes(9488) + b"x" * 512


def test_only_paths_that_something_goes_to_are_kept(tmp_path: Path) -> None:
    container = FakeContainer({"var/data": OLD, ".env.local": tar_of((".env.local", b"A=1"))})
    upload = upload_to(container, tmp_path)
    upload.add(file(".env.local", b"A=2"), [b"A=2"])
    upload.send()
    assert container.asked == [".env.local"]
    assert upload.kept == []


def test_what_was_not_there_is_named_as_it_stays(tmp_path: Path) -> None:
    container = FakeContainer({"var/data": OLD})
    upload = upload_to(container, tmp_path)
    upload.add(file("var/data/brought.pdf", b"1"), [b"1"])
    upload.add(file("var/data/a.pdf", b"1"), [b"1"])
    upload.send()
    [sentence] = upload.put_back()
    assert "var/data/brought.pdf" in sentence
    assert "var/data/a.pdf" not in sentence


def test_a_name_that_is_not_utf_8_can_be_said(tmp_path: Path) -> None:
    upload = upload_to(FakeContainer({"var/data": OLD}), tmp_path)
    upload.add(file("var/data/%E9.pdf", b"1", path_bytes=b"var/data/\xe9.pdf"), [b"1"])
    upload.add(file("var/data/two%0Alines.pdf", b"1", path_bytes=b"var/data/two\nlines.pdf"), [b"1"])
    upload.send()
    [sentence] = upload.put_back()
    assert "var/data/two\\nlines.pdf, var/data/\\xe9.pdf" in sentence
    assert str(Unreachable(os.fsdecode(b"\xe9.pdf is not there"))).encode() == b"\\udce9.pdf is not there"


def test_nothing_to_send_asks_for_nothing(tmp_path: Path) -> None:
    container = FakeContainer({})
    upload = upload_to(container, tmp_path)
    upload.send()
    upload.put_back()
    assert (container.asked, container.stored) == ([], [])


def test_files_that_never_were_sent_put_nothing_back(tmp_path: Path) -> None:
    container = FakeContainer({"var/data": OLD})
    upload = upload_to(container, tmp_path)
    upload.add(file("var/data/a", b"1"), [b"1"])
    upload.put_back()
    assert (container.asked, container.stored) == ([], [])
    assert not (tmp_path / "spool").exists()


def test_a_send_that_fails_can_be_put_back_and_by_the_next_process_too(tmp_path: Path) -> None:
    container = FakeContainer({"var/data": OLD})
    container.refuses = True
    upload = upload_to(container, tmp_path)
    upload.add(file("var/data/a.pdf", b"1"), [b"1"])
    with pytest.raises(Unreachable):
        upload.send()
    with pytest.raises(Unreachable):
        upload.put_back()
    assert (tmp_path / "spool" / BEFORE).exists()
    container.refuses = False
    put_back(container, "app", ROOT, tmp_path / "spool")
    assert content_of(container.stored[0][1], "var/data/a.pdf") == b"old"


def end_of(tar: bytes) -> int:
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        last = opened.getmembers()[-1]
        return int(last.offset_data + -(-last.size // 512) * 512)


@given(cut=st.integers(0, end_of(OLD)))
def test_what_was_there_is_kept_whole_or_nothing_is_sent(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("cut")
    container = FakeContainer({"var/data": OLD[:cut]})
    upload = upload_to(container, folder)
    upload.add(file("var/data/a.pdf", b"1"), [b"1"])
    with pytest.raises(Unreachable):
        upload.send()
    assert not (folder / "spool" / BEFORE).exists()
    upload.put_back()
    assert container.stored == []
    assert not (folder / "spool").exists()


# ── Backups that are not what they should be ─────────────────────────────────────────────────────────────────


def refused(container: FakeContainer, upload: Upload, described: File, *chunks: bytes) -> None:
    with pytest.raises(Damaged):
        upload.add(described, chunks)
    upload.put_back()
    assert container.stored == []


@pytest.mark.parametrize(
    "path",
    [
        "../x",
        "var/data/../../etc/passwd",
        "/etc/passwd",
        "var/data/./x",
        "var/data//x",
        "",
        "public/index.php",
        "var/database",
    ],
)
def test_a_path_that_no_backup_holds(tmp_path: Path, path: str) -> None:
    container = FakeContainer({"var/data": OLD})
    refused(container, upload_to(container, tmp_path), file(path, b"x"), b"x")


def test_a_path_whose_bytes_lead_elsewhere(tmp_path: Path) -> None:
    container = FakeContainer({"var/data": OLD})
    refused(container, upload_to(container, tmp_path), file("var/data/x", b"x", path_bytes=b"../x"), b"x")


def test_a_path_twice(tmp_path: Path) -> None:
    container = FakeContainer({"var/data": OLD})
    upload = upload_to(container, tmp_path)
    upload.add(file("var/data/x", b"1"), [b"1"])
    refused(container, upload, file("var/data/x", b"2"), b"2")


@pytest.mark.parametrize("above", [other("var/data/l", "link", "/etc"), file("var/data/l", b"")])
def test_a_path_through_a_link_or_a_file(tmp_path: Path, above: File) -> None:
    container = FakeContainer({"var/data": OLD})
    upload = upload_to(container, tmp_path)
    upload.add(above)
    refused(container, upload, file("var/data/l/deep/passwd", b"x"), b"x")


@pytest.mark.parametrize("chunks", [[], [b"12"], [b"123", b"4"], [b"1234"], [b"124"], [b"", b"12", b""]])
def test_content_that_is_not_as_described(tmp_path: Path, chunks: list[bytes]) -> None:
    container = FakeContainer({"var/data": OLD})
    refused(container, upload_to(container, tmp_path), file("var/data/x", b"123"), *chunks)


def test_an_empty_file_that_is_none(tmp_path: Path) -> None:
    container = FakeContainer({"var/data": OLD})
    refused(container, upload_to(container, tmp_path), file("var/data/x", b""), b"x")


@given(
    pieces=st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 255)), max_size=6),
)
def test_chunks_of_any_size(tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[int, int]]) -> None:
    chunks = [bytes([value]) * size for size, value in pieces]
    content = b"".join(chunks)
    container = FakeContainer({})
    upload = upload_to(container, tmp_path_factory.mktemp("chunks"))
    upload.add(file("var/data/x", content), chunks)
    upload.send()
    assert content_of(container.stored[0][1], "var/data/x") == content
    upload.clean_up()


@pytest.mark.slow
def test_tens_of_thousands_of_files_are_written_and_forgotten(tmp_path: Path) -> None:
    upload = upload_to(FakeContainer({}), tmp_path)
    for number in range(20_000):
        upload.add(file(f"var/data/{number}", b""))
    assert upload._tar is not None
    assert not upload._tar.members  # type: ignore[attr-defined]
    assert (tmp_path / "spool" / NEW).stat().st_size > 20_000 * 512
    upload.clean_up()
