"""Kimai's files out of the engine's tar streams: every one, or named, however the streams are written or broken."""

import hashlib
import io
import tarfile
from collections.abc import Iterator
from typing import IO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.archive.names import escape_name
from sidecar.errors import ConfigurationError, Unreachable
from sidecar.kimai.archived import LINKS_FOLLOWED, ArchivedFiles, members, owner_of, read_archived
from sidecar.kimai.beneath import SMALL_LIMIT, exact_path
from sidecar.kimai.survey import Survey
from sidecar.manifest import File
from tests.support.container import ROOT, FakeContainer, special, tar_of

LONG = "long-" + "x" * 180 + "-ä"
FILES = tar_of(("data", None), ("data/a.pdf", b"A" * 700), ("data/b.pdf", b"B" * 5), ("data/c.pdf", b""))


def survey_of(container: FakeContainer, *paths: str) -> Survey:
    survey = Survey()
    ArchivedFiles(container, "app", ROOT, survey, escape_name).walk(paths, paths)
    return survey


def read_all(survey: Survey) -> dict[str, bytes]:
    """Every file's bytes by path, with the record that came of reading them checked against those."""
    found = {}
    for entry in survey.entries:
        if entry.kind == "file" and (reading := survey.open(entry)) is not None:
            with reading:
                content = b"".join(reading)
            if entry.path not in survey.unreadable:
                assert reading.file.sha256 == hashlib.sha256(content).hexdigest()
                assert reading.file.size == len(content)
            found[entry.path] = content
    return found


def troubles(survey: Survey) -> list[list[str]]:
    return [survey.missing, survey.unreadable, survey.changed, survey.skipped, survey.uncovered_links]


NO_TROUBLE: list[list[str]] = [[], [], [], [], []]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_of_any_length_and_any_bytes(form: int) -> None:
    latin = b"M\xfcller.pdf".decode("utf-8", "surrogateescape")
    tar = tar_of(("data", None), (f"data/{LONG}/{LONG}.pdf", b"long"), (f"data/{latin}", b"latin"), form=form)
    survey = survey_of(FakeContainer({"var/data": tar}), "var/data")
    assert [exact_path(entry) for entry in survey.entries] == [
        b"var/data",
        f"var/data/{LONG}/{LONG}.pdf".encode(),
        b"var/data/M\xfcller.pdf",
    ]
    assert [*read_all(survey).values()] == [b"long", b"latin"]
    assert troubles(survey) == NO_TROUBLE


def test_what_a_record_says() -> None:
    link = special("data/newest.pdf", tarfile.SYMTYPE, "a.pdf")
    survey = survey_of(FakeContainer({"var/data": tar_of(("data/", None), ("data/a.pdf", b"abc"), link)}), "var/data")
    folder, file, found = survey.entries
    assert (folder.kind, folder.mode, folder.size) == ("folder", 0o040755, 0)
    assert (file.kind, file.mode, file.size, file.mtime) == ("file", 0o100640, 3, 1_700_000_000 * 10**9)
    assert (file.uid, file.gid, file.sha256) == (33, 33, None)
    assert (found.kind, found.target, found.target_bytes) == ("link", "a.pdf", None)
    assert troubles(survey) == NO_TROUBLE


def test_a_second_name_of_a_file_comes_with_its_content() -> None:
    second = special("data/b.pdf", tarfile.LNKTYPE, "data/a.pdf")
    whole = tar_of(("data", None), ("data/a.pdf", b"both"), second, ("data/c.pdf", b"next"))
    container = FakeContainer({"var/data": whole, "var/data/b.pdf": tar_of(("b.pdf", b"both"))})
    survey = survey_of(container, "var/data")
    assert read_all(survey) == {"var/data/a.pdf": b"both", "var/data/b.pdf": b"both", "var/data/c.pdf": b"next"}
    assert troubles(survey) == NO_TROUBLE
    assert container.asked == ["var/data", "var/data", "var/data/b.pdf"]


def test_devices_pipes_and_links_to_elsewhere_are_named() -> None:
    odd = b"\xff".decode("utf-8", "surrogateescape")
    tar = tar_of(
        ("data", None),
        special("data/pipe", tarfile.FIFOTYPE),
        special("data/disk", tarfile.BLKTYPE),
        special("data/tty", tarfile.CHRTYPE),
        special("data/out", tarfile.SYMTYPE, "../../../../etc/passwd"),
        special("data/up", tarfile.SYMTYPE, "../plugins"),
        special(f"data/{odd}", tarfile.SYMTYPE, "/srv/elsewhere"),
        special("data/inside", tarfile.SYMTYPE, f"{ROOT}/var/data/x"),
    )
    survey = survey_of(FakeContainer({"var/data": tar}), "var/data")
    assert survey.skipped == ["var/data/pipe", "var/data/disk", "var/data/tty"]
    assert len(survey.uncovered_links) == 3
    assert [entry.kind for entry in survey.entries] == ["folder", "link", "link", "link", "link"]


def test_a_path_that_is_a_link_to_elsewhere_is_missing() -> None:
    survey = survey_of(FakeContainer({"var/data": tar_of(special("data", tarfile.SYMTYPE, "/srv/data"))}), "var/data")
    assert survey.missing == ["var/data (a link to /srv/data, which is not in the backup)"]


def sparse_tar() -> bytes:
    """One block of a file of 10,000 bytes at its end, as GNU tar writes it."""
    info = tarfile.TarInfo("data/holes.bin")
    info.size = 512
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[156:157] = b"S"
    block[386:398], block[398:410] = b"%011o\0" % 9488, b"%011o\0" % 512
    block[482], block[483:495] = 0, b"%011o\0" % 10_000
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + b"x" * 512 + bytes(1024)


def test_a_sparse_file_has_its_holes() -> None:
    survey = survey_of(FakeContainer({"var/data": sparse_tar()}), "var/data")
    assert survey.entries[0].size == 10_000
    assert read_all(survey) == {"var/data/holes.bin": bytes(9488) + b"x" * 512}


@pytest.mark.parametrize("name", ["../x", "data/../../x", "/data/x", "datafile", "other/x", "data//x", "data/./x"])
def test_names_that_lead_elsewhere_end_the_walk(name: str) -> None:
    survey = survey_of(FakeContainer({"var/data": tar_of(("data", None), (name, b"x"), ("data/y", b"y"))}), "var/data")
    assert [entry.path for entry in survey.entries] == ["var/data"]
    assert survey.unreadable == ["var/data"]


def test_a_name_that_comes_twice_is_kept_once_and_named() -> None:
    tar = tar_of(("data", None), ("data/a", b"first"), ("data/a", b"second"), ("data/b", b"b"))
    survey = survey_of(FakeContainer({"var/data": tar}), "var/data")
    assert [entry.path for entry in survey.entries] == ["var/data", "var/data/a", "var/data/b"]
    assert survey.changed == ["var/data/a"]
    assert read_all(survey) == {"var/data/a": b"first", "var/data/b": b"b"}


def test_what_is_not_there_is_not_missing() -> None:
    survey = survey_of(FakeContainer({"var/data": FILES}), "var/export", "var/data", ".env.local")
    assert len(survey.entries) == 4
    assert troubles(survey) == NO_TROUBLE


# ── Cut, damaged, changed in between ─────────────────────────────────────────────────────────────────────────


def end_of_content(tar: bytes) -> int:
    """From where on only the end's blocks of zeros follow."""
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        last = opened.getmembers()[-1]
        return int(last.offset_data + -(-last.size // 512) * 512)


MIXED = tar_of(("data", None), (f"data/{LONG}", b"L" * 600), ("data/a", b"A" * 512), ("data/b", b"B" * 20))


@given(cut=st.integers(0, end_of_content(MIXED)))
def test_a_listing_cut_anywhere_is_named(cut: int) -> None:
    """At a member's very edge, too, where tarfile sees nothing but the end."""
    survey = survey_of(FakeContainer({"var/data": MIXED[:cut]}), "var/data")
    assert survey.unreadable == ["var/data"]


@given(cut=st.integers(0, end_of_content(MIXED)))
def test_files_cut_anywhere_are_had_one_by_one_or_named(cut: int) -> None:
    alone = {"var/data/a": tar_of(("a", b"A" * 512)), "var/data/b": tar_of(("b", b"B" * 20))}
    container = FakeContainer({"var/data": [MIXED, MIXED[:cut]], **alone})
    survey = survey_of(container, "var/data")
    assert troubles(survey) == NO_TROUBLE
    found = read_all(survey)
    wanted = {f"var/data/{LONG}": b"L" * 600, "var/data/a": b"A" * 512, "var/data/b": b"B" * 20}
    for path, content in wanted.items():
        named = path in survey.unreadable or path in survey.changed
        assert named or found[path] == content
    # Broken off once, it isn't read again from its beginning for each file.
    assert len(container.asked) <= 2 + len(wanted)


@given(place=st.integers(512, end_of_content(MIXED) - 1), value=st.integers(0, 255))
def test_a_damaged_header_is_not_the_end(place: int, value: int) -> None:
    broken = bytearray(MIXED)
    broken[place] = value
    survey = survey_of(FakeContainer({"var/data": bytes(broken)}), "var/data")
    lost = len(survey.entries) < 4
    assert not lost or survey.unreadable


def test_a_file_that_vanished_does_not_cost_the_others_anything() -> None:
    after = tar_of(("data", None), ("data/a.pdf", b"A" * 700), ("data/c.pdf", b""))
    container = FakeContainer({"var/data": [FILES, after], "var/data/c.pdf": tar_of(("c.pdf", b""))})
    survey = survey_of(container, "var/data")
    assert read_all(survey) == {"var/data/a.pdf": b"A" * 700, "var/data/c.pdf": b""}
    assert (survey.changed, survey.unreadable) == (["var/data/b.pdf"], [])


def test_a_new_file_in_between_and_another_order() -> None:
    after = tar_of(
        ("data", None), ("data/new", b"new"), ("data/c.pdf", b""), ("data/b.pdf", b"B" * 5), ("data/a.pdf", b"A")
    )
    alone = {"var/data/b.pdf": tar_of(("b.pdf", b"B" * 5)), "var/data/c.pdf": tar_of(("c.pdf", b""))}
    survey = survey_of(FakeContainer({"var/data": [FILES, after], **alone}), "var/data")
    assert read_all(survey) == {"var/data/a.pdf": b"A", "var/data/b.pdf": b"B" * 5, "var/data/c.pdf": b""}
    assert troubles(survey) == NO_TROUBLE


@pytest.mark.parametrize(
    "now",
    [("data/b.pdf", None), special("data/b.pdf", tarfile.SYMTYPE, "a.pdf"), special("data/b.pdf", tarfile.FIFOTYPE)],
)
def test_a_file_that_became_something_else(now: tuple[str, None] | tarfile.TarInfo) -> None:
    after = tar_of(("data", None), ("data/a.pdf", b"A" * 700), now, ("data/c.pdf", b""))
    survey = survey_of(FakeContainer({"var/data": [FILES, after]}), "var/data")
    assert set(read_all(survey)) == {"var/data/a.pdf", "var/data/c.pdf"}
    assert survey.changed == ["var/data/b.pdf"]


def test_a_file_left_half_read_leaves_the_next_one_whole() -> None:
    survey = survey_of(FakeContainer({"var/data": FILES}), "var/data")
    _, first, second, _ = survey.entries
    reading = survey.open(first)
    assert reading is not None
    reading.close()
    opened = survey.open(second)
    assert opened is not None
    assert b"".join(opened) == b"B" * 5


@pytest.mark.slow
def test_a_hundred_thousand_files_are_passed_and_forgotten() -> None:
    def blocks() -> Iterator[bytes]:
        for number in range(100_000):
            yield tarfile.TarInfo(f"data/{number}").tobuf(tarfile.GNU_FORMAT)
        yield bytes(1024)

    class Stream(io.RawIOBase):
        left = b""
        more = blocks()

        def read(self, size: int = -1) -> bytes:
            while len(self.left) < size and (block := b"".join(next(self.more, b"") for _ in range(200))):
                self.left += block
            found, self.left = self.left[:size], self.left[size:]
            return found

    passed = 0
    for tar, _, _ in members(cast("IO[bytes]", Stream()), "var/data"):
        assert not tar.members  # type: ignore[attr-defined]
        passed += 1
    assert passed == 100_000


# ── Settings files and owners ────────────────────────────────────────────────────────────────────────────────


def settings(container: FakeContainer, path: str = ".env") -> bytes | None:
    return read_archived(container, "app", f"{ROOT}/{path}")


def test_a_settings_file_is_read_through_links_and_none_is_none() -> None:
    container = FakeContainer(
        {
            ".env": tar_of(special(".env", tarfile.SYMTYPE, "config/env")),
            "config/env": tar_of(special("env", tarfile.SYMTYPE, f"{ROOT}/shared/.env")),
            "shared/.env": tar_of((".env", b"A=1\n")),
        }
    )
    assert settings(container) == b"A=1\n"
    assert settings(container, ".env.local") is None


def test_a_settings_file_that_is_none() -> None:
    circle = FakeContainer({".env": tar_of(special(".env", tarfile.SYMTYPE, ".env"))})
    with pytest.raises(ConfigurationError, match="circle"):
        settings(circle)
    assert len(circle.asked) == LINKS_FOLLOWED
    large = tar_of((".env", bytes(SMALL_LIMIT + 1)))
    for tar in (tar_of((".env", None)), tar_of(special(".env", tarfile.FIFOTYPE)), large, b"", b"no tar" * 200):
        with pytest.raises(ConfigurationError):
            settings(FakeContainer({".env": tar}))


@given(cut=st.integers(0, 1023))
def test_a_settings_file_cut_anywhere_is_never_half_read(cut: int) -> None:
    whole = tar_of((".env", b"B" * 512), form=tarfile.GNU_FORMAT)
    with pytest.raises(ConfigurationError, match="can't be read"):
        settings(FakeContainer({".env": whole[:cut]}))


def test_an_owner() -> None:
    assert owner_of(FakeContainer({"var": tar_of(("var", None), owner=(82, 83))}), "app", f"{ROOT}/var") == (82, 83)
    for tar in (b"", bytes(1024), b"no tar" * 200):
        with pytest.raises(Unreachable):
            owner_of(FakeContainer({"var": tar}), "app", f"{ROOT}/var")


def test_an_entry_of_another_source_is_not_asked_here() -> None:
    survey = survey_of(FakeContainer({"var/data": FILES}), "var/data")
    survey.add_source(["var/data/own"], lambda _: None)
    assert survey.open(File(path="var/data/own/x", kind="file", size=0, mode=0o100644, mtime=0, uid=0, gid=0)) is None
    assert survey.changed == []
