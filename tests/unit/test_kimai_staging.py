"""Files put back: whole or not at all, wherever the run is killed, whatever the archive says."""

import contextlib
import hashlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.archive.names import escape_name
from sidecar.errors import Damaged, Refused, StorageFailed
from sidecar.kimai import setaside
from sidecar.kimai.files import survey
from sidecar.kimai.places import room
from sidecar.kimai.recovery import leftovers, recover
from sidecar.kimai.staging import Staging, empty_cache
from sidecar.kimai.userdata import user_data
from sidecar.manifest import File
from tests.support.kimai import make_instance, whole

Backup = list[tuple[File, bytes]]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return make_instance(folder)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Another instance: some files the same, some other, some only here."""
    folder = tmp_path / "target"
    folder.mkdir()
    make_instance(folder)
    (folder / "var/data/invoices/2026-001.pdf").write_bytes(b"other")
    (folder / "var/data/invoices/only-here.pdf").write_bytes(b"here")
    (folder / "var/export/custom.html.twig").unlink()
    shutil.rmtree(folder / "var/invoices")
    (folder / "var/packages").mkdir()
    (folder / "var/packages/kept.zip").write_bytes(b"kept")
    return folder


def backup_of(root: Path) -> Backup:
    result = survey(root, escape=escape_name)
    found = []
    for entry in result.entries:
        reading = result.open(entry) if entry.kind == "file" else None
        content = b"".join(reading) if reading else b""
        found.append((reading.file if reading else entry, content))
    return found


def stage(staging: Staging, backup: Backup) -> None:
    for file, content in backup:
        staging.write(file, [content[:100], content[100:]])


def put(staging: Staging, item: tuple[File, bytes]) -> None:
    staging.write(item[0], [item[1]])


def plain(path: str, content: bytes = b"x", **changes: Any) -> tuple[File, bytes]:
    digest = hashlib.sha256(content).hexdigest()
    file = File(path=path, size=len(content), mode=0o100644, mtime=1, uid=os.getuid(), gid=os.getgid(), sha256=digest)
    return msgspec.structs.replace(file, **changes), content


def user_files(root: Path) -> dict[str, tuple[Any, ...]]:
    covered = user_data(root).paths
    return {
        path: what
        for path, what in whole(root).items()
        if any(path == each or path.startswith(f"{each}/") for each in covered)
    }


def test_what_is_restored_is_what_was_backed_up_with_modes_owners_and_times(source: Path, target: Path) -> None:
    if os.geteuid() == 0:
        for path in (source / "var/data").rglob("*"):
            os.chown(path, 33, 33, follow_symlinks=False)
    (source / "var/data/invoices").chmod(0o2750)
    os.utime(source / "var/data/invoices", ns=(1, 1_234_567_890_123_456_789))
    with Staging(target, "run") as staging:
        stage(staging, backup_of(source))
        staging.swap()
        staging.commit()
    expected = user_files(source)
    restored = user_files(target)
    assert staging.kept == ["var/packages"]
    assert {path: what for path, what in restored.items() if not path.startswith("var/packages")} == expected
    assert (target / "var/packages/kept.zip").read_bytes() == b"kept"
    assert (target / "var/log/prod.log").exists()
    assert leftovers(target) == []
    assert staging.notes == []


def test_until_the_swap_nothing_is_touched_and_leaving_deletes_what_was_staged(source: Path, target: Path) -> None:
    before = whole(target)
    with Staging(target, "run") as staging:
        stage(staging, backup_of(source))
        within = {path: what for path, what in whole(target).items() if not path.startswith(".kimai-backup")}
        assert within == before
    assert whole(target) == before


def test_leaving_without_commit_brings_the_old_back_wholly(source: Path, target: Path) -> None:
    before = user_files(target)
    with contextlib.suppress(KeyError), Staging(target, "run") as staging:
        stage(staging, backup_of(source))
        staging.swap()
        assert not (target / "var/data/invoices/only-here.pdf").exists()
        raise KeyError
    assert user_files(target) == before
    assert leftovers(target) == []


def test_into_a_folder_without_any_user_data(source: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    with Staging(fresh, "run") as staging:
        stage(staging, backup_of(source))
        staging.swap()
        staging.commit()
    assert user_files(fresh) == user_files(source)
    assert stat.S_IMODE((fresh / "config/packages").stat().st_mode) == 0o755


def test_rolled_back_an_empty_folder_is_empty_again(source: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    with Staging(fresh, "run") as staging:
        stage(staging, backup_of(source))
        staging.swap()
    assert whole(fresh) == {}


class Killed(BaseException):
    """Stands for SIGKILL: nothing that would clean up runs after it."""


class Fuse:
    """Lets so many renames and deletions happen, then none any more."""

    def __init__(self, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = count
        for owner, name in ((os, "rename"), (setaside, "delete"), (os, "rmdir")):
            self._wrap(owner, name, getattr(owner, name), monkeypatch)

    def _wrap(self, owner: Any, name: str, real: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        def limited(*arguments: Any, **options: Any) -> Any:
            if self.left <= 0:
                raise Killed
            self.left -= 1
            return real(*arguments, **options)

        monkeypatch.setattr(owner, name, limited)


def run_until(count: int, target: Path, backup: Backup, *, commit: bool) -> bool:
    """A restore that is killed after so many steps; whether it came to its end before."""
    staging = Staging(target, "run")
    stage(staging, backup)
    with pytest.MonkeyPatch.context() as monkeypatch:
        Fuse(count, monkeypatch)
        try:
            staging.swap()
            staging.commit() if commit else staging.rollback()
        except Killed:
            return False
    return True


@pytest.mark.parametrize("commit", [True, False])
def test_killed_at_any_step_it_is_found_and_brought_to_an_end(
    source: Path, target: Path, tmp_path: Path, commit: bool
) -> None:
    some = ("var/data", "var/invoices", ".env")
    backup = [(file, content) for file, content in backup_of(source) if file.path.startswith(some)]
    expected = {path: what for path, what in user_files(source).items() if path.startswith(some)}
    states = set()
    for count in range(200):
        copy = tmp_path / f"copy-{count}"
        shutil.copytree(target, copy, symlinks=True)
        old = user_files(copy)
        if run_until(count, copy, backup, commit=commit):
            break
        (left,) = leftovers(copy)
        states.add(left.state)
        assert recover(copy, left.run_id) == left.state
        assert leftovers(copy) == []
        # Nothing but an empty folder is left of a run that deleted its journal last.
        if commit and (left.state == "committed" or (left.state == "staging" and count > 0)):
            assert {path: what for path, what in user_files(copy).items() if path.startswith(some)} == expected
        else:
            assert user_files(copy) == old
    else:
        pytest.fail("a restore has fewer steps than that")
    assert states >= {"staging", "swapping", "committed" if commit else "rolled back"}


def test_a_recovery_that_is_killed_itself_is_taken_up_again(source: Path, target: Path) -> None:
    backup = backup_of(source)
    old = user_files(target)
    run_until(9, target, backup, commit=True)
    assert user_files(target) != old
    for count in (1, 3, 2, 1, 4):
        with pytest.MonkeyPatch.context() as monkeypatch:
            Fuse(count, monkeypatch)
            with contextlib.suppress(Killed):
                recover(target, "run")
    recover(target, "run")
    assert user_files(target) == old
    assert leftovers(target) == []


def test_a_real_sigkill_in_the_middle_is_recovered(source: Path, target: Path) -> None:
    old = user_files(target)
    script = """
import os, signal, sys
from pathlib import Path
from sidecar.kimai.staging import Staging
from tests.unit.test_kimai_staging import backup_of, stage
staging = Staging(Path(sys.argv[2]), "run")
stage(staging, backup_of(Path(sys.argv[1])))
real, left = os.rename, 6
def rename(*arguments, **options):
    global left
    left -= 1
    real(*arguments, **options) if left else os.kill(os.getpid(), signal.SIGKILL)
os.rename = rename
staging.swap()
"""
    ended = subprocess.run([sys.executable, "-c", script, str(source), str(target)], cwd=Path(__file__).parents[2])
    assert ended.returncode == -9
    assert user_files(target) != old
    assert [(left.run_id, left.state) for left in leftovers(target)] == [("run", "swapping")]
    recover(target, "run")
    assert user_files(target) == old


def test_a_commit_whose_deleting_fails_stands_and_is_said(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with Staging(target, "run") as staging:
        stage(staging, backup_of(source))
        staging.swap()
        monkeypatch.setattr(setaside, "delete", full)
        staging.commit()
    assert staging.notes == [".kimai-backup-restore-run in KIMAI_DIR can't be deleted (Permission denied): delete it"]
    assert [left.state for left in leftovers(target)] == ["committed"]


def test_a_swap_that_fails_half_way_is_put_back(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = user_files(target)
    real = os.rename
    failures = [8]

    def rename(*arguments: Any, **options: Any) -> None:
        failures[0] -= 1
        if failures[0] == 0:
            raise OSError(28, "No space left on device")
        real(*arguments, **options)

    monkeypatch.setattr(os, "rename", rename)
    with Staging(target, "run") as staging:
        stage(staging, backup_of(source))
        with pytest.raises(StorageFailed, match=r"can't be exchanged: No space left on device"):
            staging.swap()
    assert user_files(target) == before


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../outside",
        "var/data/../../../outside",
        "var/data//x",
        "var/data/./x",
        "",
        "public/index.php",
        "var/cache/prod/x",
        "var/database",
        "config/packages/kimai.yaml",
        ".env.evil",
        ".kimai-backup-restore-run/journal.json",
        "var/data/.kimai-backup-restore-x/journal.json",
    ],
)
def test_a_path_that_is_none_of_kimai_s_user_data_is_refused(target: Path, path: str) -> None:
    before = whole(target)
    with pytest.raises(Damaged), Staging(target, "run") as staging:
        put(staging, plain(path))
    assert whole(target) == before


def test_an_exact_name_can_not_lead_where_the_escaped_one_does_not(target: Path) -> None:
    with pytest.raises(Damaged), Staging(target, "run") as staging:
        put(staging, plain("var/data/x", path_bytes=b"var/data/../../x"))


@pytest.mark.parametrize(
    "second",
    [
        plain("var/data/x/y"),
        plain("var/data/x", b"", kind="folder", mode=0o40755, sha256=None),
        plain("var/data/x"),
    ],
)
def test_nothing_is_written_through_a_link_that_the_backup_brings(
    target: Path, tmp_path: Path, second: tuple[File, bytes]
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    with Staging(target, "run") as staging:
        put(staging, plain("var/data/x", b"", kind="link", target=str(outside), sha256=None))
        with pytest.raises(Damaged):
            put(staging, second)
    assert list(outside.iterdir()) == []


def test_nothing_is_written_through_a_link_of_the_target(target: Path, tmp_path: Path) -> None:
    shutil.move(target / "var", tmp_path / "var")
    (target / "var").symlink_to(tmp_path / "var")
    before = whole(tmp_path / "var")
    with pytest.raises(Refused, match="var in KIMAI_DIR is a link"), Staging(target, "run") as staging:
        put(staging, plain("var/data/x"))
    assert whole(tmp_path / "var") == before


@pytest.mark.parametrize("content", [b"", b"shor", b"longer than that", b"exacT"])
def test_content_that_is_not_what_the_manifest_says_is_refused(target: Path, content: bytes) -> None:
    file, _ = plain("var/data/x", b"exact")
    with pytest.raises(Damaged, match="var/data/x"), Staging(target, "run") as staging:
        staging.write(file, iter([content]))


def test_an_endless_file_is_cut_off_at_the_size_in_the_manifest(target: Path) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 1000

    with pytest.raises(Damaged), Staging(target, "run") as staging:
        staging.write(plain("var/data/x")[0], endless())


def test_no_file_comes_back_with_another_user_s_rights(target: Path) -> None:
    with Staging(target, "run") as staging:
        put(staging, plain("var/data/x", mode=0o106755))
        staging.swap()
        staging.commit()
    assert stat.S_IMODE((target / "var/data/x").stat().st_mode) == 0o755


def test_names_that_are_not_utf8_come_back_exactly(target: Path) -> None:
    with Staging(target, "run") as staging:
        put(staging, plain("var/data/M%FCller", path_bytes=b"var/data/M\xfcller"))
        link = plain("var/data/link", b"", kind="link", target="M%FCller", target_bytes=b"M\xfcller", sha256=None)
        put(staging, link)
        staging.swap()
        staging.commit()
    assert sorted(os.fsencode(path.name) for path in (target / "var/data").iterdir()) == [b"M\xfcller", b"link"]
    assert os.fsencode((target / "var/data/link").readlink()) == b"M\xfcller"


def test_an_env_file_is_laid_beside_the_one_in_force(target: Path) -> None:
    mine = (target / ".env").read_bytes()
    (target / ".env.from-backup").write_bytes(b"of an earlier restore")
    with Staging(target, "run", keep_beside={".env": ".env.from-backup"}) as staging:
        put(staging, plain(".env", b"DATABASE_URL=theirs"))
        staging.swap()
        staging.commit()
    assert (target / ".env").read_bytes() == mine
    assert (target / ".env.from-backup").read_bytes() == b"DATABASE_URL=theirs"
    assert ".env" in staging.kept


def test_a_path_that_only_the_backup_s_settings_name_must_be_allowed(target: Path) -> None:
    with Staging(target, "run", also=["storage"]) as staging:
        put(staging, plain("storage/deep/x"))
        staging.swap()
        staging.commit()
    assert (target / "storage/deep/x").read_bytes() == b"x"


@pytest.fixture
def mounted(target: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`var/data` as a volume of its own, which renaming would fail on."""
    (target / "var/data/lost+found").mkdir()
    monkeypatch.setattr("sidecar.kimai.places.mounts_below", lambda root: [b"var/data", b"public/elsewhere"])
    real = os.rename

    def rename(source: bytes, goal: bytes, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        names = [Path(f"/proc/self/fd/{fd}").readlink() for fd in (src_dir_fd, dst_dir_fd)]
        if len({"target/var/data" in str(name) for name in names}) == 2 or source == b"data":
            raise OSError(18, "Invalid cross-device link")
        real(source, goal, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "rename", rename)
    return target


def test_a_volume_keeps_its_root_and_gets_what_is_in_the_backup(source: Path, mounted: Path) -> None:
    inode = (mounted / "var/data").stat().st_ino
    (source / "var/data").chmod(0o2771)
    with Staging(mounted, "run") as staging:
        stage(staging, backup_of(source))
        assert [path.name for path in (mounted / "var/data").iterdir() if "kimai-backup" in path.name]
        staging.swap()
        staging.commit()
    assert (mounted / "var/data").stat().st_ino == inode
    (mounted / "var/data/lost+found").rmdir()
    os.utime(mounted / "var/data", ns=(1, (source / "var/data").stat().st_mtime_ns))
    restored = {path: what for path, what in user_files(mounted).items() if not path.startswith("var/packages")}
    assert restored == user_files(source)
    assert leftovers(mounted) == []


def test_the_root_of_a_volume_has_the_time_of_the_backup(source: Path, mounted: Path) -> None:
    with Staging(mounted, "run") as staging:
        stage(staging, backup_of(source))
        staging.swap()
        staging.commit()
    assert (mounted / "var/data").stat().st_mtime_ns == (source / "var/data").stat().st_mtime_ns


@pytest.mark.parametrize("count", range(2, 24, 3))
def test_with_a_volume_a_killed_run_is_recovered_as_well(source: Path, mounted: Path, count: int) -> None:
    old = user_files(mounted)
    (source / "var/data").chmod(0o2771)
    assert not run_until(count, mounted, backup_of(source), commit=True)
    (left,) = leftovers(mounted)
    recover(mounted, "run")
    assert leftovers(mounted) == []
    found = user_files(mounted)
    if left.state == "committed":
        assert (mounted / "var/data/invoices/2026-001.pdf").read_bytes() != b"other"
    else:
        # Making and deleting the run's folder changes the time of the volume's root, and nothing else.
        assert {path: what[:4] for path, what in found.items()} == {path: what[:4] for path, what in old.items()}


def test_a_mount_within_that_the_backup_does_not_have_stays(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (target / "var/data/archive").mkdir()
    (target / "var/data/archive/x").write_text("x")
    monkeypatch.setattr("sidecar.kimai.places.mounts_below", lambda root: [b"var/data/archive"])
    with Staging(target, "run") as staging:
        put(staging, plain("var/data/new"))
        staging.swap()
        staging.commit()
    assert sorted(path.name for path in (target / "var/data").iterdir()) == ["archive", "new"]
    assert (target / "var/data/archive/x").exists()
    assert "var/data/archive" in staging.kept


def test_a_mount_can_not_become_a_file(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.kimai.places.mounts_below", lambda root: [b"var/data/invoices"])
    with pytest.raises(Refused, match="var/data/invoices"), Staging(target, "run") as staging:
        put(staging, plain("var/data/invoices"))


def test_backups_kept_within_user_data_survive_a_restore(source: Path, target: Path) -> None:
    kept = target / "var/data/deep/backups"
    kept.mkdir(parents=True)
    (kept / "kimai_x.zip").write_bytes(b"PK")
    (target / "var/data/deep/other").write_bytes(b"goes")
    backup = [*backup_of(source), plain("var/data/deep", b"", kind="folder", mode=0o40755, sha256=None)]
    with Staging(target, "run", protect=[kept]) as staging:
        stage(staging, backup)
        staging.swap()
        staging.commit()
    assert [path.name for path in (target / "var/data/deep").iterdir()] == ["backups"]
    assert (kept / "kimai_x.zip").read_bytes() == b"PK"
    with pytest.raises(Refused, match="where backups are kept"), Staging(target, "run", protect=[kept]) as staging:
        put(staging, plain("var/data/deep/backups/x"))


def test_set_aside_files_without_a_journal_are_never_deleted(source: Path, target: Path) -> None:
    run_until(9, target, backup_of(source), commit=True)
    (target / ".kimai-backup-restore-run/journal.json").unlink()
    with pytest.raises(StorageFailed, match="journal is not there"):
        recover(target, "run")
    assert any((target / ".kimai-backup-restore-run/old").iterdir())


@pytest.mark.parametrize("text", ["", "{", "[]", '{"bases": [""], "units": [{"path": "../x"}], "folders": []}'])
def test_a_journal_that_can_not_be_read_is_refused(source: Path, target: Path, text: str) -> None:
    run_until(9, target, backup_of(source), commit=True)
    (target / ".kimai-backup-restore-run/journal.json").write_text(text)
    with pytest.raises(StorageFailed, match="journal"):
        recover(target, "run")


def test_a_folder_that_another_user_made_is_not_taken_for_ours(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (target / ".kimai-backup-restore-run").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(Refused, match="belongs to user"):
        leftovers(target)


def test_the_room_that_is_needed_is_told_for_each_mount(source: Path, mounted: Path) -> None:
    files = [file for file, _ in backup_of(source)]
    outer, inner = room(mounted, files, user_data(mounted).paths)
    assert (outer.folder, inner.folder) == (mounted, mounted / "var/data")
    assert inner.needed > sum(file.size for file in files if file.path.startswith("var/data/"))
    assert outer.needed + inner.needed <= sum(file.size for file in files) + 2 * 4096 * len(files)
    assert 0 < inner.free <= shutil.disk_usage(mounted).total


def test_the_cache_is_emptied_and_no_link_followed(target: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/x").write_text("x")
    (target / "var/cache/link").symlink_to(tmp_path / "precious")
    (target / "var/cache/prod/link").symlink_to(tmp_path / "precious")
    (target / "var/cache/file").write_text("x")
    empty_cache(target)
    assert list((target / "var/cache").iterdir()) == []
    assert (tmp_path / "precious/x").exists()
    (target / "var/cache").rmdir()
    empty_cache(target)
    (target / "var/cache").symlink_to(tmp_path / "precious")
    with pytest.raises(StorageFailed, match="var/cache can't be emptied"):
        empty_cache(target)
    assert (tmp_path / "precious/x").exists()


# ── Only what is lost ────────────────────────────────────────────────────────────────────────────────────────


def lost_of(source: Path, target: Path) -> Backup:
    """What the target lacks of the backup, told by nothing but its names."""
    return [(file, content) for file, content in backup_of(source) if not os.path.lexists(target / file.path)]


def test_what_is_lost_comes_back_beside_what_is_there(source: Path, target: Path) -> None:
    backup = lost_of(source, target)
    assert {file.path for file, _ in backup} > {"var/export/custom.html.twig", "var/invoices"}
    before = whole(target)
    with Staging(target, "run", lost=[file for file, _ in backup]) as staging:
        stage(staging, backup)
        staging.swap()
        staging.commit()
    after = whole(target)
    came, expected = {file.path for file, _ in backup}, whole(source)
    assert {path: after[path] for path in came} == {path: expected[path] for path in came}
    assert after.keys() == before.keys() | came
    # Folders that something was put into have another time.
    changed = {path for path in before if after[path] != before[path]}
    assert all((target / path).is_dir() for path in changed), changed
    assert staging.kept == []
    assert leftovers(target) == []


def test_killed_at_any_step_what_was_lost_is_lost_again_and_nothing_else_is(
    source: Path, target: Path, tmp_path: Path
) -> None:
    backup = lost_of(source, target)
    for count in range(200):
        copy = tmp_path / f"copy-{count}"
        shutil.copytree(target, copy, symlinks=True)
        names, content = whole(copy).keys(), (copy / "var/data/invoices/2026-001.pdf").read_bytes()
        staging = Staging(copy, "run", lost=[file for file, _ in backup])
        stage(staging, backup)
        with pytest.MonkeyPatch.context() as monkeypatch:
            Fuse(count, monkeypatch)
            try:
                staging.swap()
                staging.commit()
                break
            except Killed:
                pass
        (left,) = leftovers(copy)
        recover(copy, left.run_id)
        came = (
            set() if left.state == "swapping" or (left.state == "staging" and count == 0) else {*backup_names(backup)}
        )
        assert whole(copy).keys() == names | came
        assert (copy / "var/data/invoices/2026-001.pdf").read_bytes() == content
    else:
        pytest.fail("a restore has fewer steps than that")
    assert count > 5


def backup_names(backup: Backup) -> list[str]:
    return [file.path for file, _ in backup]


def test_what_came_just_then_in_a_lost_files_place_is_not_replaced(target: Path) -> None:
    file, content = plain("var/export/custom.html.twig")
    with Staging(target, "run", lost=[file]) as staging:
        put(staging, (file, content))
        (target / "var/export/custom.html.twig").write_bytes(b"since")
        with pytest.raises(Refused, match="is there by now"):
            staging.swap()
    assert (target / "var/export/custom.html.twig").read_bytes() == b"since"
    assert leftovers(target) == []


@pytest.mark.parametrize("path", ["bin/console", "var/cache/x", ".kimai-backup-restore-x/new"])
def test_a_lost_file_must_be_kimais_user_data_as_well(target: Path, path: str) -> None:
    file, content = plain(path)
    with pytest.raises(Damaged), Staging(target, "run", lost=[file]) as staging:
        put(staging, (file, content))
