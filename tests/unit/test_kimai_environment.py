"""Kimai's `.env` files: read as Symfony reads them, and laid beside where they would redirect Kimai."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import ConfigurationError
from sidecar.kimai.beneath import small_files
from sidecar.kimai.environment import (
    AppSecret,
    app_secret,
    effective_environment,
    fingerprint,
    parse,
    plan_env,
    render,
)


def read(text: str, **known: str) -> dict[str, str]:
    return parse(text.encode(), ".env", known)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=plain", "plain"),
        ("A=", ""),
        ("A=   # nothing", ""),
        ("A=x # comment", "x"),
        ("A=x#y", "x#y"),
        ("A='x'#y", "x#y"),
        ("A='x' # y", "x"),
        ("export A=x", "x"),
        ("A='single $B \\n \"'", "single $B \\n \""),
        ('A="double \\"quoted\\" \\n end"', 'double "quoted" \n end'),
        ("A='one'\"two\"three", "onetwothree"),
        ("A='over\nlines'", "over\nlines"),
        ("A=${B}", "b"),
        ("A=$B/c", "b/c"),
        ("A=\"${B}\"'$B'", "b$B"),
        ("A=${NONE}", ""),
        ("A=${NONE:-default}", "default"),
        ("A=${B:-default}", "b"),
        ("A=p\\$B", "p$B"),
        ("A=100$", "100$"),
        ("A=back\\\\slash", "back\\slash"),
        ("A=mysql://kimai:p%40ss@sqldb:3306/kimai?charset=utf8mb4&serverVersion=8.3.0",
         "mysql://kimai:p%40ss@sqldb:3306/kimai?charset=utf8mb4&serverVersion=8.3.0"),
        ("A=$(id)", "$(id)"),
        ('A="$(touch /tmp/x)"', "$(touch /tmp/x)"),
        ("A=x\r", "x"),
    ],
)  # fmt: skip
def test_a_line_means_what_symfony_takes_it_for(line: str, value: str) -> None:
    assert read(f"# first\n\nB=b\n{line}\nC=c\n") == {"A": value, "B": "b", "C": "c"}


@pytest.mark.parametrize("line", ["A", "A =x", "A= x", "A=x y", "A='x", 'A="x', "1A=x", "A=${B", "=x", "- x"])
def test_what_symfony_refuses_is_refused_with_its_line_and_without_the_value(line: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(f"SECRET=hunter2\n{line}\n")
    assert ".env, line 2" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_default_that_assigns_is_seen_by_later_lines() -> None:
    assert read("A=${B:=x}\nC=$B\n") == {"A": "x", "B": "x", "C": "x"}


@given(st.text(max_size=2000))
def test_no_text_makes_the_parser_fail_otherwise(text: str) -> None:
    try:
        values = parse(text.encode("utf-8", "surrogatepass"), ".env", {})
    except ConfigurationError as caught:
        values = {}
        said = caught.what
    else:
        said = ".env, line 1: all well"
    assert said.startswith(".env, line ")
    assert all(name.isascii() for name in values)


@given(st.dictionaries(st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True), st.text(st.characters(codec="utf-8"))))
def test_what_is_rendered_is_read_back(values: dict[str, str]) -> None:
    assert parse(render(values), "container.env", {}) == values


def test_a_shell_reads_what_is_rendered(tmp_path: Path) -> None:
    values = {"A": 'it\'s $HOME `id` "q" \\ #', "B": "two\nlines"}
    (tmp_path / "container.env").write_bytes(render(values))
    script = '. ./container.env; printf \'%s|%s\' "$A" "$B"'
    said = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert said == f"{values['A']}|{values['B']}"


def test_later_files_win_over_earlier_ones(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("APP_ENV=prod\nDATABASE_URL=one\nMAILER_URL=m\nMAILER_FROM=f\nHOST=h\nOTHER=1\n")
    (tmp_path / ".env.local").write_text("DATABASE_URL=two\nMAILER_URL=$HOST\n")
    (tmp_path / ".env.prod").write_text("DATABASE_URL=three\n")
    (tmp_path / ".env.prod.local").write_text("MAILER_FROM=p\n")
    (tmp_path / ".env.dev").write_text("DATABASE_URL=never\n")
    assert effective_environment(small_files(tmp_path)) == {
        "APP_ENV": "prod",
        "DATABASE_URL": "three",
        "MAILER_URL": "h",
        "MAILER_FROM": "p",
    }


def test_env_dist_serves_without_env(tmp_path: Path) -> None:
    (tmp_path / ".env.dist").write_text("DATABASE_URL=dist\n")
    assert effective_environment(small_files(tmp_path)) == {"DATABASE_URL": "dist"}
    (tmp_path / ".env").write_text("APP_ENV=prod\n")
    assert effective_environment(small_files(tmp_path)) == {"APP_ENV": "prod"}


def test_app_env_leads_to_no_file_elsewhere(tmp_path: Path) -> None:
    root = tmp_path / "kimai"
    (root / ".env.x").mkdir(parents=True)
    (tmp_path / "evil").write_text("DATABASE_URL=evil\n")
    (root / ".env").write_text("APP_ENV=x/../../evil\n")
    assert effective_environment(small_files(root)) == {"APP_ENV": "x/../../evil"}


def test_a_file_that_can_not_be_read_is_no_empty_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".env")
    with pytest.raises(ConfigurationError, match=r"\.env can't be read: not a file"):
        effective_environment(small_files(tmp_path))
    (tmp_path / ".env").unlink()
    (tmp_path / ".env").write_bytes(b"#" * (2 << 20))
    with pytest.raises(ConfigurationError, match="larger than"):
        effective_environment(small_files(tmp_path))


def test_compiled_settings_that_we_can_not_read_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / ".env.local.php").write_text("<?php return [];")
    effective_environment(small_files(tmp_path))
    assert ".env.local.php is there" in caplog.text


def test_the_process_s_secret_wins_then_the_image_s_file_then_the_env_files(tmp_path: Path) -> None:
    files = {"APP_SECRET": "of-the-file"}
    assert app_secret(small_files(tmp_path), {}, process={}) is None
    assert app_secret(small_files(tmp_path), files, process={}) == AppSecret(".env", fingerprint("of-the-file"))
    (tmp_path / "var/data").mkdir(parents=True)
    (tmp_path / "var/data/.appsecret").write_text("generated\n")
    assert app_secret(small_files(tmp_path), files, process={}) == AppSecret(
        "var/data/.appsecret", fingerprint("generated")
    )
    found = app_secret(small_files(tmp_path), files, process={"APP_SECRET": "real"})
    assert found == AppSecret("environment", fingerprint("real"))
    # Where no start of the image reads its own file, it may be left over from one.
    assert app_secret(small_files(tmp_path), files, process={}, by_image=False) == AppSecret(
        ".env", fingerprint("of-the-file")
    )


def test_a_fingerprint_tells_two_secrets_apart_and_never_changes() -> None:
    assert fingerprint("0123456789abcdef") == "73d2aeb59b0a5ac8"
    assert fingerprint("0123456789abcdef") != fingerprint("0123456789abcdeg")


IN_FORCE = "mysql://kimai:now@db/kimai"


def test_an_env_file_that_differs_is_laid_beside_the_one_that_is_there(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"DATABASE_URL=" + IN_FORCE.encode())
    (tmp_path / ".env.local").write_bytes(b"APP_SECRET=same\n")
    backup = {".env": b"DATABASE_URL=mysql://old@db/old\n", ".env.local": b"APP_SECRET=same\n"}
    assert plan_env(small_files(tmp_path), backup, IN_FORCE) == {".env": ".env.from-backup"}


def test_an_env_file_that_would_redirect_kimai_is_laid_beside_even_where_there_is_none(tmp_path: Path) -> None:
    backup = {
        ".env": f"NAME=kimai\nDATABASE_URL='{IN_FORCE}'\n".encode(),
        ".env.local": b"DATABASE_URL=mysql://kimai:now@db/$NAME\n",
        ".env.prod": b"DATABASE_URL=mysql://old@db/old\n",
        ".env.prod.local": b"not = readable",
        ".env.local.php": b"<?php",
    }
    assert plan_env(small_files(tmp_path), backup, IN_FORCE) == {
        name: f"{name}.from-backup" for name in (".env.prod", ".env.prod.local", ".env.local.php")
    }
