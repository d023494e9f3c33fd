"""A backup that is stopped, or loses its server or its disk, publishes nothing and leaves what is there alone."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar import backup
from sidecar.app import App
from sidecar.database.dump import Dump
from sidecar.report.progress import progress
from tests.support.cli import Site, poll, without_rights
from tests.support.line import IN_THE_DUMP, site_behind_line
from tests.support.proxy import Proxy
from tests.support.servers import running, wait_for


def hold_in_the_dump(site: Site, proxy: Proxy) -> "subprocess.Popen[bytes]":
    proxy.hold_after(IN_THE_DUMP, from_server=True)
    process = site.start("backup")
    assert proxy.held.wait(30)
    return process


@pytest.mark.parametrize("connections", ["1", "2"])
def test_a_signal_ends_it_though_the_server_is_silent(line: tuple[Site, Proxy], connections: str) -> None:
    site, proxy = line
    site.extra["DATABASE_CONNECTIONS"] = connections
    process = hold_in_the_dump(site, proxy)
    assert [name for name in site.shelf() if name.endswith(".part")]
    process.send_signal(signal.SIGTERM)
    ran = site.ended(process, 10)
    assert ran.code == 130
    assert site.shelf() == []
    proxy.release()
    site.backup()


def test_the_backup_after_a_kill_removes_the_temporary_file_and_says_so(line: tuple[Site, Proxy]) -> None:
    site, proxy = line
    process = hold_in_the_dump(site, proxy)
    process.kill()
    process.communicate(timeout=10)
    proxy.release()
    (left,) = site.shelf()
    assert left.endswith(".part")
    ran = site.run("backup")
    assert ran.code == 0, ran.said
    assert f"removed {left}, which a run that was killed left" in ran.err
    assert len(site.ids()) == 1
    assert len(site.shelf()) == 2


def test_a_line_that_is_cut_in_the_dump(line: tuple[Site, Proxy]) -> None:
    site, proxy = line
    process = hold_in_the_dump(site, proxy)
    proxy.cut()
    proxy.release()
    ran = site.ended(process, 60)
    assert ran.code == 5
    assert "Check that the server runs" in ran.errors[0]
    assert site.shelf() == []
    site.backup()


def test_a_second_run_is_told_who_holds_the_lock(line: tuple[Site, Proxy]) -> None:
    site, proxy = line
    process = hold_in_the_dump(site, proxy)
    before = site.shelf()
    for command in (("backup",), ("restore", "latest"), ("prune",)):
        ran = site.run(*command)
        assert ran.code == 9, ran.said
        assert f"backup (process {process.pid} on {os.uname().nodename}, since " in ran.errors[0]
    # Another instance's run has a lock of its own.
    assert site.run("prune", BACKUP_INSTANCE="other").code == 0
    assert site.run("list").code == 0
    assert site.shelf() == before
    proxy.release()
    assert site.ended(process).code == 0


def test_a_migration_while_the_dump_runs(line: tuple[Site, Proxy]) -> None:
    site, proxy = line
    process = hold_in_the_dump(site, proxy)
    site.sql("INSERT INTO migration_versions (version) VALUES ('DoctrineMigrations\\\\Version20991231000000')")
    proxy.release()
    ran = site.ended(process)
    assert ran.code == 8, ran.said
    assert "the database was migrated during the backup" in ran.errors[0]
    assert site.shelf() == []


def test_a_server_killed_in_the_dump(tmp_path: Path) -> None:
    with running() as server, site_behind_line(tmp_path, server) as (site, proxy):
        first = site.backup()
        before = site.shelf()
        process = hold_in_the_dump(site, proxy)
        server.kill()
        proxy.release()
        ran = site.ended(process, 60)
        assert ran.code == 5, ran.said
        assert site.shelf() == before
        assert server.process is not None
        assert server.folder is not None
        server.process = subprocess.Popen(server.process.args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(server, server.folder / "log")
        assert site.backup() > first


# ── The disk ─────────────────────────────────────────────────────────────────────────────────────────────────


def a_small_disk(site: Site) -> Callable[[], None] | None:
    """Make the backup folder a disk of 3 MB; None where this user may not mount one."""
    command = ["mount", "-t", "tmpfs", "-o", "size=3m,mode=0755", "tmpfs", str(site.backups)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        return None
    return lambda: subprocess.run(["umount", "--lazy", str(site.backups)], check=True) and None


def test_a_full_disk_keeps_the_backups_that_are_there(site: Site) -> None:
    """A disk of 3 MB where one can be mounted; else a limit on the size of files, which fails in the same call."""
    unmount = a_small_disk(site)
    try:
        site.extra |= {"RETENTION_DAYS": "1", "RETENTION_MIN_KEEP": "0"}
        old = site.backup("--no-prune")
        aged(site, site.backup("--no-prune"), "20200101")
        before = {name: (site.backups / name).read_bytes() for name in site.shelf()}
        (site.root / "var/data/large.bin").write_bytes(os.urandom(8 << 20))
        prefix = [] if unmount else ["sh", "-c", 'ulimit -f 6000; exec "$@"', "sh"]
        ran = site.run("backup", prefix=prefix)
        assert ran.code == 6, ran.said
        assert ("No space left on device" if unmount else "File too large") in ran.errors[0]
        assert {name: (site.backups / name).read_bytes() for name in site.shelf()} == before
        (site.root / "var/data/large.bin").unlink()
        assert site.run("backup", "--no-prune").code == 0
        assert site.run("verify", old).code == 0
    finally:
        if unmount:
            unmount()


def test_a_backup_folder_that_is_not_there_is_never_made(site: Site) -> None:
    site.backups.rmdir()
    for command in ("backup", "list", "verify", "prune", "show", "doctor"):
        ran = site.run(command)
        assert ran.code == 6, ran.said
        assert "mount" in ran.said
        assert not site.backups.exists()


def test_a_backup_folder_that_may_not_be_written(site: Site) -> None:
    site.backups.chmod(0o500)
    ran = site.run("backup", prefix=without_rights())
    assert ran.code == 6, ran.said
    assert str(site.backups) in ran.errors[0]
    assert "Let the user that runs kimai-backup" in ran.errors[0]
    assert site.run("doctor", prefix=without_rights()).code == 6
    site.backups.chmod(0o700)


# ── What can't be read, or changes ───────────────────────────────────────────────────────────────────────────


def aged(site: Site, made: str, days: str) -> str:
    """Let a backup look as if it had been made another day."""
    older = made[: -len("20261122T000000Z")] + days + made[-8:]
    for suffix in (".zip", ".json"):
        path = site.backups / f"{made}{suffix}"
        (site.backups / f"{older}{suffix}").write_bytes(path.read_bytes().replace(made.encode(), older.encode()))
        path.unlink()
    return older


def test_what_can_not_be_read_is_named_and_nothing_is_pruned(site: Site) -> None:
    site.extra |= {"RETENTION_DAYS": "1", "RETENTION_MIN_KEEP": "1"}
    old = aged(site, site.backup("--no-prune"), "20200101")
    secret = site.root / "var/data/.appsecret"
    secret.chmod(0)
    ran = site.run("backup", prefix=without_rights())
    assert ran.code == 3, ran.said
    assert "unreadable: var/data/.appsecret" in ran.err
    assert "nothing is pruned: this backup lacks what the one before it had: var/data/.appsecret" in ran.err
    assert old in site.ids()
    (new,) = set(site.ids()) - {old}
    manifest = json.loads((site.backups / f"{new}.json").read_bytes())
    assert manifest["unreadable"] == ["var/data/.appsecret"]
    assert site.run("verify", new).code == 0
    # A lack that lasts is named each time and doesn't fill the disk.
    ran = site.run("backup", prefix=without_rights())
    assert ran.code == 3, ran.said
    assert "unreadable: var/data/.appsecret" in ran.err
    assert old not in site.ids()


def test_a_file_that_is_gone_since_the_last_backup_keeps_the_old_ones(site: Site) -> None:
    site.extra |= {"RETENTION_DAYS": "1", "RETENTION_MIN_KEEP": "1"}
    old = aged(site, site.backup("--no-prune"), "20200101")
    shutil.rmtree(site.root / "var/data")
    ran = site.run("backup")
    assert ran.code == 3, ran.said
    assert "var/data" in ran.err
    assert old in site.ids()


def test_a_file_that_changes_while_it_is_read_is_named(line: tuple[Site, Proxy]) -> None:
    site, proxy = line
    (site.root / "var/data/grows.bin").write_bytes(os.urandom(20 << 20))
    process = hold_in_the_dump(site, proxy)
    proxy.release()
    with (site.root / "var/data/grows.bin").open("ab", buffering=0) as file:
        while process.poll() is None:
            file.write(b"more")
            time.sleep(0.001)
    ran = site.ended(process)
    assert ran.code == 3, ran.said
    assert "changed while it was read: var/data/grows.bin" in ran.err
    assert site.run("verify").code == 0


def test_a_table_altered_under_the_snapshot_begins_the_dump_again(line: tuple[Site, Proxy]) -> None:
    site, proxy = line
    process = hold_in_the_dump(site, proxy)
    site.sql("TRUNCATE kimai2_timesheet_tags", "CREATE TABLE zzz (id INT PRIMARY KEY)")
    proxy.release()
    ran = site.ended(process)
    assert ran.code == 0, ran.said
    assert "the dump begins again" in ran.err
    manifest = site.run("show", "latest", "--json").json()
    assert {table["name"]: table["rows"] for table in manifest["database"]["tables"]}["kimai2_timesheet_tags"] == 0


# ── What is not there ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("spoilt", "named"),
    [
        (lambda url: url.replace("%20%25word", "x"), "Check user and password in DATABASE_URL"),
        (lambda url: url.replace("?", "x?"), "Check the database's name in DATABASE_URL"),
        (lambda url: f"mysql://a:{'hunter22'}@127.0.0.1:1/kimai", "Check that the server runs and can be reached"),
    ],
    ids=["password", "database", "server"],
)
def test_a_database_that_does_not_let_us_in(site: Site, spoilt: Callable[[str], str], named: str) -> None:
    url = spoilt(site.url)
    for command in ("backup", "doctor"):
        ran = site.run(command, DATABASE_URL=url)
        assert ran.code == 5, ran.said
        assert named in ran.said
        assert "hunter22" not in ran.said
    assert site.shelf() == []


def test_a_kimai_that_is_not_there(site: Site) -> None:
    shutil.rmtree(site.root)
    ran = site.run("backup", DATABASE_URL=site.url)
    assert ran.code == 4, ran.said
    assert "Set KIMAI_DIR to the folder that holds Kimai's bin/console" in ran.errors[0]
    assert site.run("doctor", DATABASE_URL=site.url).code == 4
    assert site.shelf() == []


@pytest.mark.parametrize("fault", ["fail", "nonsense", "flood"])
def test_a_console_that_does_not_tell_the_version(site: Site, fault: str) -> None:
    (site.root / "bin/standin-fault").write_text(fault)
    ran = site.run("backup")
    assert ran.code == 5, ran.said
    assert "bin/console kimai:version ended with exit code" in ran.errors[0]
    assert len(ran.err) < 4000
    assert site.shelf() == []
    (site.root / "version.txt").write_text("2.66.0\n")
    ran = site.run("backup")
    assert ran.code == 0, ran.said
    assert "Kimai's version is taken from version.txt" in ran.err
    assert site.run("show", "--json").json()["kimai"]["version_source"] == "version.txt"


def test_nothing_ever_touches_a_hanging_console_for_good(site: Site) -> None:
    """The signal that ends us ends Kimai's console as well."""
    (site.root / "bin/standin-fault").write_text("hang")
    process = site.start("backup")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    child = poll(lambda: children.read_text().split(), "the console runs")[0]
    process.send_signal(signal.SIGTERM)
    assert site.ended(process, 10).code == 130
    poll(lambda: not Path(f"/proc/{child}").exists(), "the console is gone", 10)
    assert site.shelf() == []


def test_a_folder_that_lost_its_files_is_named_each_time_and_keeps_old_backups_once(site: Site) -> None:
    site.backup()
    for path in sorted((site.root / "var/data").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    first, second = site.run("backup"), site.run("backup")
    assert (first.code, second.code) == (3, 3)
    assert "missing: var/data" in first.said
    assert "missing: var/data" in second.said
    assert "nothing is pruned" in first.said
    assert "nothing is pruned" not in second.said
    (site.root / "var/data/back.pdf").write_bytes(b"back")
    assert site.run("backup").code == 0


def test_a_previous_manifest_that_cannot_be_read_keeps_old_backups(site: Site) -> None:
    first = site.backup()
    (site.backups / f"{first}.json").write_bytes(b"{}")
    ran = site.run("backup")
    assert ran.code == 0
    assert "nothing is pruned" in ran.said


def test_a_file_made_while_the_database_is_read_is_in_the_backup(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    chunks = Dump.chunks

    def while_reading(dump: Dump) -> Iterator[bytes]:
        (site.root / "var/data/during.pdf").write_bytes(b"an invoice")
        yield from chunks(dump)

    monkeypatch.setattr(Dump, "chunks", while_reading)
    app = App.load(site.environment)
    with progress(quiet=True) as shown:
        outcome = backup.backup(app.backup_job(shown))
    assert "var/data/during.pdf" in {file.path for file in outcome.manifest.files}
