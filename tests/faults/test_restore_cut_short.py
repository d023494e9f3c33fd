"""A restore that is stopped in any of its phases leaves an empty database and the files as they were."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from sidecar import restore
from sidecar.app import App
from sidecar.errors import Interrupted
from sidecar.kimai.staging import Staging
from sidecar.report.progress import progress
from tests.standin.install import set_fault
from tests.support.cli import Site, poll
from tests.support.line import IN_THE_LOAD
from tests.support.proxy import Proxy


@pytest.fixture
def lost(site: Site) -> Site:
    """A site with a backup, whose database is lost and whose files are a fresh install's, with one of its own."""
    site.backup()
    site.remember()
    site.lose_all()
    (site.root / "var/data").mkdir()
    (site.root / "var/data/mine.pdf").write_bytes(b"was here before")
    return site


def console_of(site: Site, command: str) -> int | None:
    """The process of Kimai's console that runs a command, if one does."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if command.encode() in words and any(word.startswith(os.fsencode(site.root)) for word in words):
                return int(folder.name)
    return None


def hang_in_the_console(site: Site, command: str) -> "subprocess.Popen[bytes]":
    """Start a restore and give it when it waits for the console: database and files are in place by then."""
    set_fault(site.root, f"hang {command}")
    process = site.start("restore", "latest")
    poll(lambda: console_of(site, command), f"the console runs {command}")
    assert (site.root / "var/data/.appsecret").exists()
    assert site.objects()
    return process


@pytest.mark.parametrize(("command", "number"), [("kimai:reload", signal.SIGTERM), ("kimai:user:list", signal.SIGHUP)])
def test_a_signal_while_kimai_comes_up_puts_all_back(lost: Site, command: str, number: int) -> None:
    before = lost.files()
    process = hang_in_the_console(lost, command)
    process.send_signal(number)
    ran = lost.ended(process, 10)
    assert ran.code == 130
    assert lost.objects() == []
    assert lost.files() == before
    assert lost.traces() == []
    assert console_of(lost, command) is None
    set_fault(lost.root, None)
    assert lost.run("restore", "latest").code == 0
    lost.assert_restored()


def test_the_restore_after_a_kill_takes_back_what_was_made_and_says_so(lost: Site) -> None:
    process = hang_in_the_console(lost, "kimai:reload")
    console = console_of(lost, "kimai:reload")
    process.kill()
    process.communicate(timeout=10)
    assert console is not None
    os.kill(console, signal.SIGKILL)
    assert lost.objects()
    assert lost.traces()
    set_fault(lost.root, None)
    dry = lost.run("restore", "latest", "--dry-run")
    assert "was killed" in dry.out
    assert lost.objects()
    ran = lost.run("restore", "latest")
    assert ran.code == 0, ran.said
    assert "was killed: what it made is taken back first" in ran.said
    assert "mine.pdf" not in lost.files()
    lost.assert_restored()


def kill_in_the_console(site: Site) -> None:
    """A restore killed with all data in place: whoever goes on with Kimai now works on it."""
    process = hang_in_the_console(site, "kimai:reload")
    console = console_of(site, "kimai:reload")
    process.kill()
    process.communicate(timeout=10)
    assert console is not None
    os.kill(console, signal.SIGKILL)
    set_fault(site.root, None)


def test_what_was_written_after_a_kill_is_not_dropped_unasked(lost: Site) -> None:
    kill_in_the_console(lost)
    lost.sql("INSERT INTO kimai2_tags (name) VALUES ('written since')")
    (lost.root / "var/data/new.pdf").write_bytes(b"written since")
    rows, files = lost.rows(), lost.files()
    assert lost.run("restore", "no-such-id").code == 10
    assert lost.run("restore", "latest", "--only", "files").code == 8
    ran = lost.run("restore", "latest")
    assert ran.code == 8
    assert "written to since" in ran.said
    assert "--discard-killed" in ran.said
    assert (lost.rows(), lost.files()) == (rows, files)
    assert lost.run("restore", "latest", "--discard-killed").code == 0
    lost.assert_restored()


def test_a_reference_that_is_not_there_takes_nothing_back(lost: Site) -> None:
    kill_in_the_console(lost)
    rows, files = lost.rows(), lost.files()
    assert lost.run("restore", "no-such-id").code == 10
    assert (lost.rows(), lost.files()) == (rows, files)


def test_no_backup_is_made_of_what_a_killed_restore_left(lost: Site) -> None:
    kill_in_the_console(lost)
    ran = lost.run("backup")
    assert ran.code == 8
    assert "cut short" in ran.said
    assert len(lost.ids()) == 1


def test_a_signal_while_old_files_are_deleted_keeps_what_was_restored(
    lost: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: Staging) -> None:
        raise Interrupted("interrupted by SIGTERM")

    app = App.load(lost.environment)
    monkeypatch.setattr(Staging, "clean_up", interrupted)
    with progress(quiet=True) as shown, pytest.raises(Interrupted):
        restore.restore(app.restore_job(shown), "latest")
    rows, files = lost.remembered
    assert lost.rows() == rows
    there = lost.files()
    assert {name: there.get(name) for name in files if name.startswith("var/data/")} == {
        name: values for name, values in files.items() if name.startswith("var/data/")
    }
    assert lost.run("backup").code == 0


def test_a_restore_of_another_instances_name_waits_for_the_same_kimai(lost: Site) -> None:
    process = hang_in_the_console(lost, "kimai:reload")
    ran = lost.run("restore", "latest", "--instance", "other")
    assert ran.code == 9
    process.send_signal(signal.SIGTERM)
    assert lost.ended(process, 10).code == 130


# ── While the database is loaded ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def line(line: tuple[Site, Proxy]) -> tuple[Site, Proxy]:
    """A lost site like the others, with more rows, and behind the line."""
    site, _ = line
    site.backup()
    site.remember()
    site.lose_all()
    return line


def hold_in_the_load(site: Site, proxy: Proxy) -> "subprocess.Popen[bytes]":
    proxy.hold_after(IN_THE_LOAD, from_server=False)
    process = site.start("restore", "latest")
    assert proxy.held.wait(30)
    assert site.objects()
    return process


def test_a_signal_while_rows_are_loaded_empties_the_database(line: tuple[Site, Proxy]) -> None:
    site, proxy = line
    before = site.files()
    process = hold_in_the_load(site, proxy)
    process.send_signal(signal.SIGTERM)
    proxy.release()
    ran = site.ended(process, 10)
    assert ran.code == 130
    assert site.objects() == []
    assert site.files() == before
    assert site.traces() == []


def test_a_kill_while_rows_are_loaded_is_mended_by_the_next_restore(line: tuple[Site, Proxy]) -> None:
    site, proxy = line
    before = site.files()
    process = hold_in_the_load(site, proxy)
    process.kill()
    process.communicate(timeout=10)
    proxy.release()
    assert site.files() == before
    assert site.objects()
    ran = site.run("restore", "latest")
    assert ran.code == 0, ran.said
    assert "was killed: what it made is taken back first" in ran.said
    site.assert_restored()


def test_a_server_that_is_lost_for_good_in_a_load_is_told_and_mended_later(line: tuple[Site, Proxy]) -> None:
    site, proxy = line
    before = site.files()
    process = hold_in_the_load(site, proxy)
    proxy.reset()
    proxy.release()
    ran = site.ended(process, 60)
    assert ran.code == 5, ran.said
    assert site.files() == before
    site.port = 0
    site.point_env_at(site.url)
    site.remembered = (site.remembered[0], site.remembered[1] | {name: site.files()[name] for name in (".env",)})
    ran = site.run("restore", "latest")
    assert ran.code == 8
    assert "was killed" in ran.errors[0]


def test_a_line_cut_in_a_load_empties_the_database_again(line: tuple[Site, Proxy]) -> None:
    site, proxy = line
    before = site.files()
    process = hold_in_the_load(site, proxy)
    proxy.cut()
    proxy.release()
    ran = site.ended(process, 60)
    assert ran.code == 5, ran.said
    assert "Check that the server runs" in ran.errors[0]
    assert site.objects() == []
    assert site.files() == before
    assert site.run("restore", "latest").code == 0
    site.assert_restored()


# ── While the files are put in place ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_while_files_are_staged_touches_none_that_was_there(site: Site, number: int) -> None:
    (site.root / "var/data/large.bin").write_bytes(os.urandom(1 << 20) * 60)
    site.backup()
    site.remember()
    site.lose_all()
    before = site.files()
    process = site.start("restore", "latest")
    staged = poll(lambda: [*site.root.glob(".kimai-backup-*/**/large.bin*")], "the large file is staged")
    assert staged
    process.send_signal(number)
    process.communicate(timeout=10)
    assert {name: value for name, value in site.files().items() if not name.startswith(".kimai-backup")} == before
    if number == signal.SIGTERM:
        assert process.returncode == 130
        assert site.objects() == []
        assert site.traces() == []
    ran = site.run("restore", "latest")
    assert ran.code == 0, ran.said
    assert ("was killed" in ran.said) == (number == signal.SIGKILL)
    site.assert_restored()
