"""Archives encrypted while they are written: the stock `age` opens them, and no failure to write is lost."""

import hashlib
import os
import threading
from pathlib import Path

import pytest

from sidecar.archive.encrypting import encrypted
from sidecar.archive.writer import write_archive
from sidecar.errors import SpoolFailed
from tests.support.archives import SQL, write_backup
from tests.support.keys import Key, age_decrypt, age_key, ssh_key

CHUNK = 64 << 10
"""Bytes that age encrypts at once: sizes about its multiples are where mistakes would be."""


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    return age_key(tmp_path_factory.mktemp("keys"))


class Full:
    """A disk that takes so many bytes."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, piece: bytes, /) -> int:
        self.room -= len(piece)
        if self.room < 0:
            raise SpoolFailed("the disk is full")
        return len(piece)


def write(path: Path, content: bytes, *recipients: str, step: int = 1 << 20) -> None:
    with path.open("wb", buffering=0) as file, encrypted(file, recipients) as put:
        for at in range(0, len(content), step):
            put(content[at : at + step])


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK, 3_000_001])
def test_the_stock_program_opens_what_is_written(key: Key, tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    write(tmp_path / "it.age", content, key.recipient)
    assert age_decrypt(tmp_path / "it.age", key) == content


@pytest.mark.parametrize("step", [7, 1000, CHUNK, 400_000])
def test_it_may_be_written_in_pieces_of_any_size(key: Key, tmp_path: Path, step: int) -> None:
    content = os.urandom(500_000 if step > 7 else 20_000)
    write(tmp_path / "it.age", content, key.recipient, step=step)
    assert age_decrypt(tmp_path / "it.age", key) == content


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_each_recipient_opens_it_by_itself(key: Key, tmp_path: Path, kind: str) -> None:
    other = ssh_key(tmp_path, kind)
    write(tmp_path / "it.age", b"secret", key.recipient, other.recipient)
    assert age_decrypt(tmp_path / "it.age", key) == age_decrypt(tmp_path / "it.age", other) == b"secret"
    assert b"secret" not in (tmp_path / "it.age").read_bytes()


@pytest.mark.parametrize(("size", "room"), [(10, 0), (10, 200), (3_000_000, 1_000_000), (3_000_000, 2_999_999)])
def test_a_disk_that_fills_is_told_even_by_the_last_bytes(key: Key, size: int, room: int) -> None:
    """pyrage's own function returns as if all were well where its last bytes can't be written."""
    with pytest.raises(SpoolFailed, match="the disk is full"), encrypted(Full(room), [key.recipient]) as put:
        put(bytes(size))
    assert threading.active_count() == 1


def test_what_interrupts_the_writer_ends_it(key: Key) -> None:
    def interrupted() -> bytes:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), encrypted(Full(1 << 30), [key.recipient]) as put:
        put(bytes(1_000_000) + interrupted())
    assert threading.active_count() == 1


def test_an_archives_size_and_hash_are_those_of_the_encrypted_file(key: Key, tmp_path: Path) -> None:
    path = tmp_path / "it.zip.age"
    archive = write_backup(path, recipients=[key.recipient]).archive
    assert archive is not None
    assert (archive.size, archive.sha256) == (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
    (tmp_path / "plain.zip").write_bytes(age_decrypt(path, key))
    write_backup(tmp_path / "same.zip")
    assert (tmp_path / "plain.zip").read_bytes() == (tmp_path / "same.zip").read_bytes()
    assert SQL[:100] not in path.read_bytes()


def test_an_entry_that_fails_leaves_no_thread(key: Key, tmp_path: Path) -> None:
    def entries():  # type: ignore[no-untyped-def]
        yield from ()
        raise RuntimeError("the database went away")

    with pytest.raises(RuntimeError), (tmp_path / "it").open("wb", buffering=0) as file:
        write_archive(entries(), file, [key.recipient])
    assert threading.active_count() == 1
