"""Which files a backup covers, and that what it can't have is named."""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.archive.names import escape_name
from sidecar.errors import ConfigurationError
from sidecar.kimai.files import survey
from sidecar.kimai.survey import Survey
from sidecar.kimai.userdata import outermost, user_data
from sidecar.manifest import File
from tests.support.kimai import make_instance


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "kimai"
    folder.mkdir()
    return make_instance(folder)


def look(root: Path, *exclude: Path, previous: list[str] | None = None) -> Survey:
    return survey(root, escape=escape_name, exclude=exclude, previous_paths=previous or [])


def paths(result: Survey) -> list[str]:
    return [entry.path for entry in result.entries]


def entry_of(result: Survey, path: str) -> File:
    return next(entry for entry in result.entries if entry.path == path)


def lacks(result: Survey) -> list[list[str]]:
    return [result.missing, result.unreadable, result.changed, result.skipped, result.uncovered_links]


def test_user_data_is_found_in_order_and_nothing_else(root: Path) -> None:
    result = look(root)
    assert paths(result) == [
        ".env",
        "config/packages/local.yaml",
        "var/data",
        "var/data/.appsecret",
        "var/data/empty",
        "var/data/invoices",
        "var/data/invoices/2026-001.pdf",
        "var/data/newest.pdf",
        "var/export",
        "var/export/custom.html.twig",
        "var/invoices",
        "var/invoices/rechnung.docx",
        "var/plugins",
        "var/plugins/DemoBundle",
        "var/plugins/DemoBundle/DemoBundle.php",
    ]
    assert lacks(result) == [[], [], [], [], []]
    assert result.size == sum(entry.size for entry in result.entries if entry.kind == "file")


def test_what_is_written_down_is_what_the_file_system_says(root: Path) -> None:
    result = look(root)
    for entry in result.entries:
        status = (root / entry.path).lstat()
        assert (entry.mode, entry.uid, entry.gid) == (status.st_mode, status.st_uid, status.st_gid)
        assert entry.mtime == status.st_mtime_ns
    link = entry_of(result, "var/data/newest.pdf")
    assert (link.kind, link.target, link.size) == ("link", "invoices/2026-001.pdf", 0)


def test_a_file_is_read_whole_and_hashed(root: Path) -> None:
    result = look(root)
    content = (root / "var/data/invoices/2026-001.pdf").read_bytes()
    with result.open(entry_of(result, "var/data/invoices/2026-001.pdf")) as reading:  # type: ignore[union-attr]
        assert b"".join(reading) == content
    assert reading.file.sha256 == hashlib.sha256(content).hexdigest()
    assert reading.file.size == len(content)
    assert lacks(result) == [[], [], [], [], []]


@pytest.mark.parametrize("change", [b"grown", b""])
def test_a_file_that_is_written_to_while_it_is_read_is_given_as_it_is_and_named(
    root: Path, change: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.kimai.files.CHUNK", 1000)
    path = root / "var/data/invoices/2026-001.pdf"
    result = look(root)
    reading = result.open(entry_of(result, "var/data/invoices/2026-001.pdf"))
    assert reading is not None
    chunks = []
    for chunk in reading:
        if not chunks:
            with path.open("r+b") as stream:
                stream.seek(5000)
                stream.truncate() if not change else stream.seek(0, os.SEEK_END)
                stream.write(change)
        chunks.append(chunk)
    assert b"".join(chunks) == path.read_bytes()
    assert reading.file.size == path.stat().st_size
    assert reading.file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert result.changed == ["var/data/invoices/2026-001.pdf"]


def test_a_file_that_grows_for_ever_comes_to_an_end(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.kimai.files.GROWTH_LIMIT", 1 << 14)
    path = root / "var/export/custom.html.twig"
    result = look(root)
    reading = result.open(entry_of(result, "var/export/custom.html.twig"))
    assert reading is not None
    with path.open("ab") as stream:
        for _ in reading:
            stream.write(b"x" * 4096)
            stream.flush()
    assert reading.file.size < 1 << 16
    assert result.changed == ["var/export/custom.html.twig"]


def test_a_file_that_vanished_or_became_something_else_is_named(root: Path) -> None:
    result = look(root)
    (root / "var/data/.appsecret").unlink()
    (root / "var/export/custom.html.twig").unlink()
    (root / "var/export/custom.html.twig").symlink_to(root / ".env")
    (root / "var/invoices/rechnung.docx").unlink()
    os.mkfifo(root / "var/invoices/rechnung.docx")
    shutil.move(root / "var/plugins/DemoBundle", root / "elsewhere")
    (root / "var/plugins/DemoBundle").symlink_to(root / "elsewhere")
    names = [
        "var/data/.appsecret",
        "var/export/custom.html.twig",
        "var/invoices/rechnung.docx",
        "var/plugins/DemoBundle/DemoBundle.php",
    ]
    assert [result.open(entry_of(result, name)) for name in names] == [None] * 4
    assert result.changed == names


def test_sockets_and_pipes_are_skipped_and_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(root / "var/data/pipe")
    # The address of a socket must be short.
    monkeypatch.chdir(root / "var/data")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    result = look(root)
    assert result.skipped == ["var/data/pipe", "var/data/socket"]
    assert not {"var/data/pipe", "var/data/socket"} & set(paths(result))


def test_what_may_not_be_read_is_named(tmp_path: Path) -> None:
    """In a process of its own: root, which the tests may run as, reads everything."""
    script = """
import os, sys, tempfile
from pathlib import Path
from sidecar.archive.names import escape_name
from sidecar.kimai.files import survey
root = Path(tempfile.mkdtemp())
(root / "var/data/closed").mkdir(parents=True)
(root / "var/data/closed/x").write_text("x")
(root / "var/data/file").write_text("x")
(root / "templates/invoice").mkdir(parents=True)
(root / "config/packages").mkdir(parents=True)
(root / "config/packages/local.yaml").write_text("x")
for path in root.rglob("*"):
    os.chown(path, 65534, 65534) if os.geteuid() == 0 else None
if os.geteuid() == 0:
    os.chown(root, 65534, 65534)
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
for name in ("var/data/closed", "var/data/file", "templates", "config/packages/local.yaml"):
    (root / name).chmod(0)
result = survey(root, escape=escape_name)
print([entry.path for entry in result.entries], result.unreadable, result.missing)
for name in ("var/data/closed", "templates"):
    (root / name).chmod(0o700)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    unreadable = ["config/packages/local.yaml", "templates/export", "templates/invoice"]
    assert ended.stdout.strip() == f"['var/data'] {[*unreadable, 'var/data/closed', 'var/data/file']} []"


def test_what_never_was_there_is_not_missing_and_what_was_in_the_backup_before_is(root: Path) -> None:
    previous = paths(look(root))
    shutil.rmtree(root / "var/invoices")
    (root / ".env").unlink()
    (root / "var/data/.appsecret").unlink()
    assert look(root).missing == []
    assert look(root, previous=previous).missing == [".env", "var/invoices"]


def test_names_that_are_not_utf8_are_escaped_and_kept_exactly(root: Path) -> None:
    name = b"M\xfcller 100%.pdf"
    Path(os.fsdecode(bytes(root / "var/data") + b"/" + name)).write_bytes(b"x")
    target = b"M\xfcller"
    (root / "var/data/link").symlink_to(os.fsdecode(target))
    result = look(root)
    entry = entry_of(result, "var/data/M%FCller 100%25.pdf")
    assert entry.path_bytes == b"var/data/" + name
    assert entry_of(result, "var/data/link").target_bytes == target
    reading = result.open(entry)
    assert reading is not None
    assert list(reading) == [b"x"]


def test_folders_that_are_not_kimai_s_and_those_of_a_killed_restore_are_left_out(root: Path) -> None:
    before = paths(look(root))
    for name in ("var/data/backups", ".kimai-backup-restore-x", "var/data/.kimai-backup-restore-x"):
        (root / name).mkdir()
        (root / name / "old").write_text("x")
    assert paths(look(root, root / "var/data/backups", Path("/elsewhere"))) == before


def test_links_are_not_followed_and_those_that_lead_out_of_the_backup_are_named(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").write_text("x")
    (root / "var/data/shared").symlink_to(outside)
    shutil.move(root / "var/export", outside / "export")
    (root / "var/export").symlink_to(outside / "export")
    result = look(root)
    assert not [path for path in paths(result) if path.endswith("/x") or path.startswith("var/export/")]
    assert result.uncovered_links == [f"var/data/shared (a link to {outside}, which is not in the backup)"]
    assert result.missing == [f"var/export (a link to {outside}/export, which is not in the backup)"]


def test_user_data_behind_a_linked_folder_is_missing(root: Path, tmp_path: Path) -> None:
    shutil.move(root / "var", tmp_path / "var")
    (root / "var").symlink_to(tmp_path / "var")
    result = look(root)
    assert "var/data" in result.missing
    assert not [path for path in paths(result) if path.startswith("var")]


def test_a_root_that_is_a_link_is_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(root)
    assert paths(look(tmp_path / "current")) == paths(look(root))


def test_folders_too_deep_to_follow_are_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.kimai.files.DEPTH_LIMIT", 3)
    (root / "var/data/1/2/3/4").mkdir(parents=True)
    assert look(root).unreadable == ["var/data/1/2/3/4"]


def test_a_root_that_is_not_there_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"KIMAI_DIR .*nowhere"):
        look(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("yaml", "covered", "uncovered"),
    [
        ('kimai:\n    data_dir: "%kernel.project_dir%/storage"\n', ["storage"], []),
        ("kimai: { data_dir: '%kernel.project_dir%/a/../storage' }\n", ["storage"], []),
        ("kimai:\n  data_dir: %kernel.project_dir%/var/data/deep # c\n", [], []),
        ("# data_dir: /old\nkimai:\n  other_data_dir: /x\n", [], []),
        ("kimai:\n  data_dir: /srv/kimai\n", [], ["/srv/kimai (kimai.data_dir)"]),
        ("kimai:\n  data_dir: '%env(DATA)%'\n", [], ["%env(DATA)% (kimai.data_dir)"]),
        (
            "kimai:\n  data_dir: '%kernel.project_dir%/var/cache/d'\n",
            [],
            ["%kernel.project_dir%/var/cache/d (kimai.data_dir)"],
        ),
        ("kimai:\n  data_dir: '%kernel.project_dir%'\n", [], ["%kernel.project_dir% (kimai.data_dir)"]),
        ("kimai:\n  data_dir: '%kernel.project_dir%/../x'\n", [], ["%kernel.project_dir%/../x (kimai.data_dir)"]),
    ],
)
def test_where_local_yaml_puts_the_data_is_covered_or_named(
    root: Path, yaml: str, covered: list[str], uncovered: list[str]
) -> None:
    standard = set(user_data(root).paths)
    (root / "config/packages/local.yaml").write_text(yaml)
    assert sorted(set(user_data(root).paths) - standard) == covered
    assert look(root).missing == uncovered


def test_the_environment_files_in_force_are_user_data(root: Path) -> None:
    (root / ".env").write_text("APP_ENV=staging\n")
    (root / ".env.staging.local").write_text("A=1\n")
    (root / ".env.other").write_text("A=1\n")
    assert [path for path in paths(look(root)) if path.startswith(".env")] == [".env", ".env.staging.local"]


def test_the_outermost_paths_are_those_within_no_other() -> None:
    assert outermost(["var/data/x", "var/data", "var/data.old", "a/b", ".env", "var/data/y/z"]) == [
        ".env",
        "a/b",
        "var/data",
        "var/data.old",
    ]
