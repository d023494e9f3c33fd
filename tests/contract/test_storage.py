"""What every target promises (storage/base.py), held against each; then what only a folder can get wrong."""

import errno
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.errors import Exit, ObjectNotFound, StorageFailed
from sidecar.storage.base import ObjectInfo, Storage
from sidecar.storage.local import LocalStorage
from sidecar.storage.retrying import RetryingStorage
from sidecar.storage.s3 import S3Storage
from tests.support.examples import examples
from tests.support.memory_storage import MemoryStorage
from tests.support.s3 import s3_storage
from tests.support.seaweed import Store

KEY = "kimai_prod_2.66.0_20261122T011000Z.zip"
BIG = 20 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "backups"
    path.mkdir()
    return path


@pytest.fixture
def local(folder: Path) -> LocalStorage:
    return LocalStorage(folder)


@pytest.fixture
def s3(s3_store: Store, tmp_path: Path) -> S3Storage:
    return s3_storage(s3_store, tmp_path)


@pytest.fixture(params=["memory", "local", pytest.param("s3", marks=pytest.mark.slow), "retrying"])
def storage(request: pytest.FixtureRequest) -> Storage:
    if request.param == "memory":
        return MemoryStorage()
    if request.param == "retrying":
        return RetryingStorage(MemoryStorage(), 0)
    found: Storage = request.getfixturevalue(request.param)
    return found


def read(storage: Storage, key: str) -> bytes:
    with storage.open(key) as stream:
        return stream.read()


def keys(storage: Storage) -> list[str]:
    return [key for key, *_ in storage.list()]


# The contract.


def test_what_was_put_is_read_back_told_and_listed(storage: Storage) -> None:
    storage.put(KEY, b"bytes")
    assert read(storage, KEY) == b"bytes"
    assert storage.stat(KEY) == ObjectInfo(KEY, 5)
    assert list(storage.list()) == [ObjectInfo(KEY, 5)]


def test_a_file_is_stored_and_its_source_left_as_it_was(storage: Storage, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"from a file")
    storage.put(KEY, source)
    storage.put("another", source)
    assert source.read_bytes() == b"from a file"
    source.unlink()
    assert read(storage, KEY) == read(storage, "another") == b"from a file"


@pytest.mark.parametrize("as_file", [False, True])
def test_an_object_may_be_empty(storage: Storage, tmp_path: Path, as_file: bool) -> None:
    source = tmp_path / "empty"
    source.touch()
    storage.put(KEY, source if as_file else b"")
    assert read(storage, KEY) == b""
    assert storage.stat(KEY).size == 0


def test_an_object_may_be_big_and_is_read_in_parts(storage: Storage, tmp_path: Path) -> None:
    data = os.urandom(1 << 20) * 20
    source = tmp_path / "big"
    source.write_bytes(data)
    storage.put(KEY, source)
    assert storage.stat(KEY).size == BIG
    with storage.open(KEY) as stream:
        parts = [stream.read(3_000_000) for _ in range(8)]
    assert b"".join(parts) == data


def test_a_stream_can_be_sought_as_reading_a_zip_needs(storage: Storage) -> None:
    storage.put(KEY, b"0123456789")
    with storage.open(KEY) as stream:
        stream.seek(-3, os.SEEK_END)
        assert stream.read() == b"789"
        stream.seek(2)
        assert stream.read(2) == b"23"


def test_a_put_replaces_what_was_there(storage: Storage) -> None:
    storage.put(KEY, b"the old one, longer")
    storage.put(KEY, b"the new one")
    assert read(storage, KEY) == b"the new one"
    assert keys(storage) == [KEY]


def test_a_stream_opened_before_a_replacement_stays_whole(storage: Storage) -> None:
    storage.put(KEY, b"a" * BIG)
    with storage.open(KEY) as stream:
        first = stream.read(10)
        storage.put(KEY, b"b" * BIG)
        assert set(first + stream.read()) == {ord("a")}


def test_a_put_can_be_repeated_with_the_same_file(storage: Storage, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"again")
    for _ in range(3):
        storage.put(KEY, source)
    assert list(storage.list()) == [ObjectInfo(KEY, 5)]


def test_what_is_not_there_is_not_found(storage: Storage) -> None:
    with pytest.raises(ObjectNotFound, match=KEY) as caught:
        storage.open(KEY)
    assert caught.value.exit_code == Exit.STORAGE
    with pytest.raises(ObjectNotFound, match=KEY):
        storage.stat(KEY)
    assert keys(storage) == []


def test_what_was_deleted_is_gone_and_deleting_it_again_is_no_error(storage: Storage) -> None:
    storage.put(KEY, b"x")
    storage.put("another", b"y")
    storage.delete(KEY)
    storage.delete(KEY)
    assert keys(storage) == ["another"]
    with pytest.raises(ObjectNotFound):
        storage.open(KEY)


def test_keys_come_in_the_order_of_code_points(storage: Storage) -> None:
    unordered = [
        "b",
        "a",
        "Z",
        "a.json",
        "a-",
        "ä",
        "zz",
        "中",
        "𝄞",
        "\uffff",
        "0",
        "a\u0308",
        "a b",
        "%2F",
    ]
    for key in unordered:
        storage.put(key, key.encode())
    assert keys(storage) == sorted(unordered)
    assert all(read(storage, key) == key.encode() for key in unordered)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0\\"), min_size=1, max_size=50))
def test_any_file_name_is_a_key_unless_hidden(storage: Storage, key: str) -> None:
    if key.startswith("."):
        with pytest.raises(ValueError, match="name of a stored object"):
            storage.put(key, b"x")
    else:
        storage.put(key, b"x")
        assert key in keys(storage)
        storage.delete(key)
    assert key not in keys(storage)


@pytest.mark.parametrize("key", ["", ".", "..", "a/b", "../up", "/etc/passwd", "nul\0", ".hidden", "\udcff"])
@pytest.mark.parametrize("verb", ["put", "open", "stat", "delete"])
def test_a_key_that_leads_elsewhere_is_refused(storage: Storage, key: str, verb: str) -> None:
    arguments = (key, b"x") if verb == "put" else (key,)
    with pytest.raises(ValueError):
        getattr(storage, verb)(*arguments)
    assert keys(storage) == []


def test_a_source_that_is_gone_stores_nothing_and_keeps_what_was_there(storage: Storage, tmp_path: Path) -> None:
    storage.put(KEY, b"the old one")
    with pytest.raises(StorageFailed, match="which is to be stored"):
        storage.put(KEY, tmp_path / "gone")
    assert read(storage, KEY) == b"the old one"
    assert keys(storage) == [KEY]


def test_of_many_puts_at_once_one_wins_whole(storage: Storage) -> None:
    contents = [bytes([number]) * (1 << 20) for number in range(8)]
    storage.put(KEY, contents[0])
    torn: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            if read(storage, KEY) not in contents:
                torn.append(1)

    writers = [threading.Thread(target=storage.put, args=(KEY, data)) for data in contents for _ in range(3)]
    watcher = threading.Thread(target=watch)
    watcher.start()
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    done.set()
    watcher.join()
    assert not torn
    assert read(storage, KEY) in contents
    assert keys(storage) == [KEY]


def test_many_objects_put_at_once_are_all_there(storage: Storage) -> None:
    names = [f"object-{number:03}" for number in range(60)]
    writers = [threading.Thread(target=storage.put, args=(name, name.encode())) for name in names]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert keys(storage) == names
    assert all(read(storage, name) == name.encode() for name in names)


# A folder on this machine.


def test_files_are_private_and_the_folder_holds_nothing_else(local: LocalStorage, folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "open to all"
    source.write_bytes(b"x")
    source.chmod(0o644)
    previous = os.umask(0)
    try:
        local.put("linked", source)
        local.put("written", b"x")
    finally:
        os.umask(previous)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {
        "linked": 0o600,
        "written": 0o600,
    }


def test_a_file_on_the_same_disk_is_linked_not_copied(local: LocalStorage, folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    local.put(KEY, source)
    local.put(KEY, source)
    assert (folder / KEY).stat().st_ino == source.stat().st_ino
    assert [path.name for path in folder.iterdir()] == [KEY]


def test_a_linked_source_is_stored_as_the_file_it_points_to(local: LocalStorage, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"x")
    (tmp_path / "link").symlink_to("real")
    local.put(KEY, tmp_path / "link")
    assert (folder / KEY).is_file()
    assert not (folder / KEY).is_symlink()
    assert read(local, KEY) == b"x"


@pytest.mark.parametrize("refusal", [errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK])
def test_where_no_link_can_be_made_the_file_is_copied(
    local: LocalStorage, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(os, "link", refuse)
    source = tmp_path / "source"
    source.write_bytes(b"x" * 3_000_000)
    local.put(KEY, source)
    assert (folder / KEY).read_bytes() == source.read_bytes()
    assert (folder / KEY).stat().st_ino != source.stat().st_ino
    assert [path.name for path in folder.iterdir()] == [KEY]


def test_a_link_that_finds_no_room_is_no_reason_to_copy(
    local: LocalStorage, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "source").write_bytes(b"x")
    with pytest.raises(StorageFailed, match="Free room"):
        local.put(KEY, tmp_path / "source")
    assert list(folder.iterdir()) == []


def test_what_can_not_be_cleaned_up_does_not_hide_why(
    local: LocalStorage, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "fsync", fail)
    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(StorageFailed, match="kernel's log"):
        local.put(KEY, b"x")
    assert "can't remove" in caplog.text
    assert keys(local) == []


def test_a_file_system_without_modes_is_warned_of(
    local: LocalStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "fchmod", refuse)
    source = tmp_path / "source"
    source.write_bytes(b"x")
    source.chmod(0o644)
    local.put(KEY, source)
    assert read(local, KEY) == b"x"
    assert "can't be made private" in caplog.text


def test_a_spool_is_invisible_and_becomes_the_object_without_a_copy(local: LocalStorage, folder: Path) -> None:
    spool = local.spool(KEY)
    assert spool.parent == folder
    assert stat.S_IMODE(spool.stat().st_mode) == 0o600
    spool.write_bytes(b"archive")
    assert keys(local) == []
    local.put(KEY, spool)
    inode = spool.stat().st_ino
    spool.unlink()
    assert read(local, KEY) == b"archive"
    assert (folder / KEY).stat().st_ino == inode


def test_only_regular_files_are_objects(local: LocalStorage, folder: Path) -> None:
    (folder / "folder").mkdir()
    (folder / "link").symlink_to("/etc/hostname")
    os.mkfifo(folder / "fifo")
    (folder / ".hidden").write_bytes(b"x")
    (folder / ".lost+found").mkdir()
    Path(os.fsdecode(os.fsencode(folder) + b"/not-utf8-\xff")).write_bytes(b"x")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(folder)
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
    local.put("object", b"x")
    assert keys(local) == ["object"]
    for key in ("folder", "link", "fifo", "socket"):
        with pytest.raises(ObjectNotFound):
            local.open(key)
        with pytest.raises(ObjectNotFound):
            local.stat(key)
        local.delete(key)
        assert os.path.lexists(folder / key)


@pytest.mark.parametrize("kind", ["missing", "a file"])
@pytest.mark.parametrize("verb", ["put", "open", "stat", "list", "delete", "spool", "sweep"])
def test_a_missing_folder_is_named_and_never_created(tmp_path: Path, verb: str, kind: str) -> None:
    folder = tmp_path / "not-mounted"
    if kind == "a file":
        folder.touch()
    arguments = {"put": (KEY, b"x"), "list": (), "sweep": (datetime.now(UTC),)}.get(verb, (KEY,))
    said = (
        r"not-mounted does not exist.*isn't mounted" if kind == "missing" else r"not-mounted is no folder.*BACKUP_DIR"
    )
    with pytest.raises(StorageFailed, match=said) as caught:
        getattr(LocalStorage(folder), verb)(*arguments)
    assert caught.value.exit_code == Exit.STORAGE
    assert not isinstance(caught.value, ObjectNotFound)
    assert folder.is_file() == (kind == "a file")


def test_a_folder_below_a_file_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageFailed, match="file/backups does not exist"):
        LocalStorage(tmp_path / "file" / "backups").list()


@contextmanager
def without_rights(mode: int) -> Iterator[Path]:
    """A folder of that mode, as another user than root sees it: root may do all."""
    user = 65534 if os.geteuid() == 0 else os.geteuid()
    with tempfile.TemporaryDirectory() as outer:
        Path(outer).chmod(0o755)
        folder = Path(outer) / "backups"
        folder.mkdir()
        (folder / "there").write_bytes(b"x")
        (folder / "there").chmod(0o644)
        os.chown(folder, user, -1)
        folder.chmod(mode)
        root = os.geteuid() == 0
        if root:
            os.seteuid(user)
        try:
            yield folder
        finally:
            if root:
                os.seteuid(0)
            folder.chmod(0o700)


@pytest.mark.parametrize(
    ("mode", "verb", "arguments"),
    [
        (0o500, "put", (KEY, b"x")),
        (0o500, "spool", (KEY,)),
        (0o500, "delete", ("there",)),
        (0o600, "put", (KEY, b"x")),
        (0o600, "open", ("there",)),
        (0o600, "stat", ("there",)),
        (0o300, "list", ()),
    ],
)
def test_missing_rights_are_told_with_their_mend(mode: int, verb: str, arguments: tuple[object, ...]) -> None:
    with without_rights(mode) as folder:
        with pytest.raises(StorageFailed, match=r"backups: Permission denied\. Let the user") as caught:
            getattr(LocalStorage(folder), verb)(*arguments)
        assert not isinstance(caught.value, ObjectNotFound)
    assert caught.value.exit_code == Exit.STORAGE


@pytest.mark.parametrize(
    ("fault", "mend"),
    [
        (errno.ENOSPC, "Free room"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "mount it for writing"),
        (errno.EIO, "kernel's log"),
        (errno.ESTALE, "mount it again"),
    ],
)
@pytest.mark.parametrize("failing_sync", [1, 2])
def test_a_disk_that_fails_stores_nothing_and_is_explained(
    local: LocalStorage,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: int,
    mend: str,
    failing_sync: int,
) -> None:
    """The first fsync is the file's, before it shows; the second is the folder's, after."""
    calls = []

    def fail(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == failing_sync:
            raise OSError(fault, os.strerror(fault))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageFailed, match=mend) as caught:
        local.put(KEY, b"x")
    assert str(folder) in str(caught.value)
    assert KEY in str(caught.value)
    assert list(folder.iterdir()) == []


def test_a_put_is_on_the_disk_before_it_is_visible(
    local: LocalStorage, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    for given_source in (b"x", source):
        steps: list[tuple[str, bool]] = []

        def watch(descriptor: int, steps: list[tuple[str, bool]] = steps) -> None:
            kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
            steps.append((kind, (folder / KEY).exists()))

        monkeypatch.setattr(os, "fsync", watch)
        local.put(KEY, given_source)
        assert steps == [("file", False), ("folder", True)]
        steps.clear()
        local.delete(KEY)
        assert steps == [("folder", False)]


def test_a_file_system_that_knows_no_sync_of_folders_is_put_up_with(
    local: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", refuse_folders)
    local.put(KEY, b"x")
    assert read(local, KEY) == b"x"


def test_a_write_that_stops_half_way_leaves_nothing(local: LocalStorage, folder: Path) -> None:
    local.put(KEY, b"the old one")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(StorageFailed, match="File too large"):
            local.put(KEY, b"x" * BIG)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in folder.iterdir()] == [KEY]
    assert read(local, KEY) == b"the old one"


def test_a_key_too_long_for_the_file_system_is_told(local: LocalStorage, folder: Path) -> None:
    with pytest.raises(StorageFailed, match="BACKUP_INSTANCE"):
        local.put("k" * 300, b"x")
    assert list(folder.iterdir()) == []


def test_a_fault_while_reading_is_a_fault_of_storage() -> None:
    """The kernel's own file of this process says EIO for its first page, as a bad disk does."""
    with LocalStorage(Path("/proc/self")).open("mem") as stream:
        with pytest.raises(StorageFailed, match="kernel's log") as caught:
            stream.read(1)
        with pytest.raises(StorageFailed):
            stream.read()
    assert caught.value.exit_code == Exit.STORAGE


def test_an_interrupt_in_the_middle_leaves_nothing(
    local: LocalStorage, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        local.put(KEY, b"x")
    assert list(folder.iterdir()) == []


# Killed.

STOPS_BEFORE_THE_RENAME = """
import os, sys, time
from pathlib import Path
from sidecar.storage.local import LocalStorage
def stop(_):
    print("written", flush=True)
    time.sleep(60)
os.fsync = stop
source = b"x" * 5_000_000 if sys.argv[3] == "bytes" else Path(sys.argv[3])
LocalStorage(Path(sys.argv[1])).put(sys.argv[2], source)
"""

PUTS_FOR_EVER = """
import sys
from pathlib import Path
from sidecar.storage.local import LocalStorage
storage = LocalStorage(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    for letter in b"ab":
        storage.put(sys.argv[2], bytes([letter]) * 4_000_000)
"""


def started(script: str, *arguments: str) -> subprocess.Popen[str]:
    """The script, which has said its first line."""
    process = subprocess.Popen([sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def killed(process: subprocess.Popen[str]) -> None:
    with process:
        process.kill()
        assert process.wait(10) == -signal.SIGKILL


@pytest.mark.parametrize("source", ["bytes", "file"])
def test_killed_before_the_rename_nothing_shows_and_a_sweep_cleans(
    local: LocalStorage, folder: Path, tmp_path: Path, source: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "source"
    file.write_bytes(b"x")
    killed(started(STOPS_BEFORE_THE_RENAME, str(folder), KEY, "bytes" if source == "bytes" else str(file)))
    [leftover] = folder.iterdir()
    assert keys(local) == []
    with pytest.raises(ObjectNotFound):
        local.open(KEY)
    now = datetime.now(UTC)
    assert local.sweep(now) == ()
    assert local.sweep(now + timedelta(hours=25)) == (leftover,)
    assert leftover.name in caplog.text
    assert list(folder.iterdir()) == []
    assert local.sweep(now + timedelta(hours=25)) == ()


def test_killed_at_any_moment_the_object_is_whole(local: LocalStorage, folder: Path) -> None:
    local.put(KEY, b"a" * 4_000_000)
    for delay in (0.0, 0.005, 0.011, 0.017, 0.023, 0.031):
        process = started(PUTS_FOR_EVER, str(folder), KEY)
        time.sleep(delay)
        killed(process)
        assert read(local, KEY) in (b"a" * 4_000_000, b"b" * 4_000_000)
        assert keys(local) == [KEY]
    local.sweep(datetime.now(UTC) + timedelta(seconds=1), 0)
    assert [path.name for path in folder.iterdir()] == [KEY]


def test_a_sweep_takes_only_our_own_temporary_files(local: LocalStorage, folder: Path) -> None:
    others = [
        ".part",
        "film.part",
        f".{KEY}.part",
        f".{KEY}.nothex.part",
        f".{KEY}.0123456789abcdef",
        f"{KEY}.0123456789abcdef.part",
    ]
    for name in others:
        (folder / name).write_bytes(b"x")
    (folder / ".a.0123456789abcdef.part").mkdir()
    (folder / ".b.0123456789abcdef.part").symlink_to("/etc/hostname")
    spool, foreign = local.spool(KEY), local.spool("kimai_other_2.66.0_20261122T011000Z.zip")
    before = {path.name for path in folder.iterdir()}
    later = datetime.now(UTC) + timedelta(days=30)
    assert local.leftovers(later) == tuple(sorted([spool, foreign]))
    assert local.sweep(later, 0, lambda key: key == KEY) == (spool,)
    assert {path.name for path in folder.iterdir()} == before - {spool.name}


def test_a_link_to_an_old_file_is_not_taken_for_a_leftover(local: LocalStorage, folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    os.utime(source, (0, 0))
    (folder / ".key.0123456789abcdef.part").hardlink_to(source)
    assert local.leftovers(datetime.now(UTC)) == ()
