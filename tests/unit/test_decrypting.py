"""Encrypted archives opened: what the stock `age` made, and nothing of what was cut, changed or is another's."""

import base64
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.archive import decrypting
from sidecar.archive.decrypting import Keyring
from sidecar.errors import ConfigurationError, Damaged, Exit, NoSuchBackup, StorageFailed
from tests.support.cli import poll
from tests.support.keys import Key, age_encrypt, age_key, ssh_key

CONTENT = os.urandom(200_001)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    return age_key(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    (tmp_path / "spool").mkdir()
    return tmp_path / "spool"


def opened(path: Path, identity: str | None, spool: Path) -> bytes:
    with Keyring(identity, lambda: spool, "fetched-").opened(path, lambda _: None) as plain:
        assert plain.name == path.name.removesuffix(".age")
        return plain.read_bytes()


def stored(folder: Path, content: bytes) -> Path:
    (folder / "it.zip.age").write_bytes(content)
    return folder / "it.zip.age"


@pytest.mark.parametrize("armored", [False, True])
def test_what_the_stock_program_made_is_opened(key: Key, tmp_path: Path, spool: Path, armored: bool) -> None:
    path = stored(tmp_path, age_encrypt(CONTENT, key.recipient, armored=armored))
    assert opened(path, key.identity, spool) == CONTENT
    assert list(spool.iterdir()) == []


@pytest.mark.parametrize(("kind", "options"), [("ed25519", ()), ("rsa", ()), ("rsa", ("-m", "PEM"))])
def test_ssh_keys_open_what_was_encrypted_to_them(
    tmp_path: Path, spool: Path, kind: str, options: tuple[str, ...]
) -> None:
    ours = ssh_key(tmp_path, kind, "", *options)
    assert opened(stored(tmp_path, age_encrypt(CONTENT, ours.recipient)), ours.identity, spool) == CONTENT


def test_one_of_several_identities_is_enough(key: Key, tmp_path: Path, spool: Path) -> None:
    other = age_key(tmp_path, "other.txt")
    path = stored(tmp_path, age_encrypt(CONTENT, key.recipient))
    assert opened(path, other.identity + "\n" + key.identity, spool) == CONTENT


def test_the_plaintext_has_no_name_and_is_for_its_owner_alone(key: Key, tmp_path: Path, spool: Path) -> None:
    path = stored(tmp_path, age_encrypt(CONTENT, key.recipient))
    told: list[int] = []
    with Keyring(key.identity, lambda: spool, "fetched-").opened(path, told.append) as plain:
        [named] = spool.iterdir()
        assert [each.is_symlink() for each in named.iterdir()] == [True]
        assert plain.stat().st_mode & 0o777 == 0o600
        assert plain.stat().st_nlink == 0
        with plain.open("rb") as one, plain.open("rb") as other:  # each with a place of its own
            one.seek(100)
            assert (one.read(), other.read()) == (CONTENT[100:], CONTENT)
    assert sum(told) == len(CONTENT)
    assert list(spool.iterdir()) == []


def cut_to(size: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:size]


def flipped(at: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    "change",
    [
        cut_to(0),
        cut_to(50),
        cut_to(-1),
        cut_to(-40_000),
        cut_to(200 + 65552),  # at a chunk's end: only the mark of the last one is lacking
        flipped(-1),
        flipped(100_000),
        lambda data: data + b"x",
        lambda _: CONTENT,
        lambda _: b"PK\3\4" * 100,
    ],
)
def test_what_is_cut_or_changed_is_damaged(
    key: Key, tmp_path: Path, spool: Path, change: Callable[[bytes], bytes]
) -> None:
    path = stored(tmp_path, change(age_encrypt(CONTENT, key.recipient)))
    with pytest.raises(Damaged, match=r"it\.zip\.age is cut short or changed"):
        opened(path, key.identity, spool)
    assert list(spool.iterdir()) == []
    assert threading.active_count() == 1


def test_another_key_is_no_damage(key: Key, tmp_path: Path, spool: Path) -> None:
    other = age_key(tmp_path, "other.txt")
    path = stored(tmp_path, age_encrypt(CONTENT, key.recipient))
    with pytest.raises(ConfigurationError, match=r"no key in BACKUP_IDENTITY opens it\.zip\.age") as caught:
        opened(path, other.identity, spool)
    assert caught.value.exit_code is Exit.CONFIGURATION
    with pytest.raises(ConfigurationError, match="BACKUP_IDENTITY is not set"):
        opened(path, None, spool)


def test_what_is_not_there_or_has_no_room(
    key: Key, tmp_path: Path, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NoSuchBackup):
        opened(tmp_path / "none.zip.age", key.identity, spool)
    path = stored(tmp_path, age_encrypt(CONTENT, key.recipient))
    monkeypatch.setattr(decrypting.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(StorageFailed, match="has room for 1000 decrypted ones"):
        opened(path, key.identity, spool)


@pytest.mark.parametrize("size", [10, 200_001])
def test_a_disk_that_fills_is_told_even_by_the_last_bytes(
    key: Key, tmp_path: Path, spool: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    path = stored(tmp_path, age_encrypt(CONTENT[:size], key.recipient))
    real = decrypting.tempfile.TemporaryFile

    def small(**options: object):  # type: ignore[no-untyped-def]
        file = real(**options)  # type: ignore[call-overload]

        class Small:
            def fileno(self) -> int:
                return int(file.fileno())

            def write(self, _: bytes) -> int:
                raise OSError(28, "No space left on device")

            def __enter__(self) -> "Small":
                return self

            def __exit__(self, *exception: object) -> None:
                file.close()

        return Small()

    monkeypatch.setattr(decrypting.tempfile, "TemporaryFile", small)
    with pytest.raises(StorageFailed, match="can't be decrypted into BACKUP_STATE_DIR: No space left"):
        opened(path, key.identity, spool)
    assert list(spool.iterdir()) == []


def test_a_signal_is_no_damage(key: Key, tmp_path: Path, spool: Path) -> None:
    path = stored(tmp_path, age_encrypt(CONTENT, key.recipient))

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Keyring(key.identity, lambda: spool, "f").opened(path, interrupted):
        raise AssertionError
    assert list(spool.iterdir()) == []
    assert threading.active_count() == 1


@pytest.mark.parametrize("armored", [False, True])
def test_a_header_without_an_end_is_not_even_tried(key: Key, tmp_path: Path, spool: Path, armored: bool) -> None:
    """Pyrage takes seconds for this one and hours for one of some megabytes, and nothing ends it meanwhile."""
    stanza = b"-> X25519 " + b"A" * 43 + b"\n" + b"A" * 43 + b"\n"
    content = b"age-encryption.org/v1\n" + stanza * 2000
    if armored:
        lines = textwrap.wrap(base64.b64encode(content).decode(), 64)
        begin, end = (f"-----{each} AGE ENCRYPTED FILE-----" for each in ("BEGIN", "END"))
        content = "\n".join(["", begin, *lines, end, ""]).encode()
    path = stored(tmp_path, content)
    with pytest.raises(Damaged, match="its header has no end within 65536 bytes"):
        opened(path, key.identity, spool)
    assert list(spool.iterdir()) == []


KILLED = """
import sys, time
from pathlib import Path
from sidecar.archive.decrypting import Keyring
with Keyring(Path(sys.argv[1]).read_text(), lambda: Path(sys.argv[3]), "fetched-").opened(
    Path(sys.argv[2]), lambda _: None
):
    print("opened", flush=True)
    time.sleep(60)
"""


def test_a_run_that_is_killed_leaves_no_plaintext(key: Key, tmp_path: Path, spool: Path) -> None:
    path = stored(tmp_path, age_encrypt(CONTENT, key.recipient))
    command = [sys.executable, "-c", KILLED, str(key.file), str(path), str(spool)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"opened\n"
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=20)
    # What is left is the name alone: a link that leads nowhere.
    [link] = poll(lambda: list(spool.rglob("*.zip")), "the link that is left")
    assert link.is_symlink()
    assert not link.exists()
    assert sum(each.stat().st_size for each in spool.rglob("*") if each.is_file()) == 0


def test_a_key_opens_what_is_encrypted_to_it_alone(key: Key, tmp_path: Path, spool: Path) -> None:
    other = age_key(tmp_path, "other.txt")
    keys = Keyring(key.identity, lambda: spool, "f")
    assert keys.opens([other.recipient, key.recipient])
    assert not keys.opens([other.recipient])
