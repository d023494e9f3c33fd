"""The documents say what the code does: exit codes, settings, commands, options, modules, the manifest's schema."""

import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from sidecar.cli import cli
from sidecar.errors import Exit
from sidecar.manifest import Database, File, Manifest, Plugin
from sidecar.settings import Settings, describe
from tests.support import documents

ROOT = documents.ROOT
README = (ROOT / "README.md").read_text()
FORMAT = (ROOT / "docs/format.md").read_text()
COMMANDS = {name: command for name, command in cli.commands.items() if not command.hidden}


def section(text: str, title: str) -> str:
    """From a heading to the next of its level or above."""
    match = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^#{{1,2}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert match, title
    return match[2]


def rows(text: str) -> Iterator[list[str]]:
    """The cells of each line of the tables, heads left out."""
    for line in re.findall(r"^\|(.*)\|$", text, re.MULTILINE):
        cells = [cell.strip() for cell in line.split("|")]
        if not set("".join(cells)) <= set("-"):
            yield cells


def fenced(text: str, *languages: str) -> Iterator[str]:
    """The lines of fenced blocks, continuations joined."""
    for language, block in re.findall(r"^ *```(\w*)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        if language in languages:
            yield from (line.strip() for line in block.replace("\\\n", "").splitlines() if line.strip())


def documented_commands() -> list[list[str]]:
    """Every `kimai-backup …` in the README's blocks, cron's too, as arguments."""
    found = []
    for line in fenced(README, "sh", "crontab"):
        match = re.search(r"(?:^|/|\s)kimai-backup(\s.*)$", line)
        if match and not line.startswith(("ln ", "python3 ")):
            found.append(shlex.split(match[1]))
    return found


def options(command: click.Command) -> set[str]:
    shown = [each for each in command.params if not getattr(each, "hidden", False)]
    return {name for parameter in shown for name in parameter.opts if name.startswith("--")}


def test_the_exit_codes_are_the_documented_ones() -> None:
    table = {int(row[0]) for row in rows(section(README, "Exit codes")) if row[0].isdigit()}
    assert table == {code.value for code in Exit}
    assert {int(number) for number in re.findall(r"\(exit (\d+)\)", README)} <= table


def test_every_setting_stands_in_the_table_with_its_default() -> None:
    expected = {name: value for name, value, _ in describe(Settings())}
    found = {}
    for names, default, *_ in rows(section(README, "Settings")):
        for name in re.findall(r"`([A-Z0-9_]+)`", names):
            assert name not in found, f"{name} stands there twice"
            found[name] = default.strip("`")
    assert found == expected


def test_every_command_and_each_of_its_options_is_documented() -> None:
    table = {row[0].strip("`"): row[1] for row in rows(section(README, "Commands")) if row[0].startswith("`")}
    assert set(table) == set(COMMANDS)
    for name, command in COMMANDS.items():
        documented = set(re.findall(r"--[a-z-]+", table[name]))
        assert documented == options(command) - {"--help"}, name


def test_the_commands_shown_are_commands() -> None:
    shown = documented_commands()
    assert {arguments[0] for arguments in shown} >= {"backup", "list", "verify", "restore", "doctor", "config"}


@pytest.mark.parametrize("arguments", documented_commands(), ids=" ".join)
def test_a_command_that_is_shown_parses(arguments: list[str]) -> None:
    name, *rest = arguments
    COMMANDS[name].make_context(name, rest)


def test_variables_that_are_shown_are_settings() -> None:
    known = {name for name, *_ in describe(Settings())}
    shown = set()
    for line in fenced(README, "sh", "crontab"):
        if match := re.match(r"(?:export )?([A-Z_]+)=", line):
            shown.add(match[1])
    assert shown
    assert shown <= known | {f"{name}_FILE" for name in known}


def test_the_make_targets_that_are_shown_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md"):
        text = (ROOT / document).read_text()
        shown = set(re.findall(r"`make ([a-z0-9]+)", text))
        shown |= {line.split()[1] for line in fenced(text, "sh") if line.startswith("make ")}
        assert shown <= targets, document


def test_ci_runs_what_the_readme_says() -> None:
    run = (ROOT / ".ci/run").read_text()
    assert re.findall(r"^make \w+$", run, re.MULTILINE) == [
        "make check",
        "make demo",
        "make test",
        "make coverage",
        "make e2e",
        "make browser",
    ]


def test_links_within_the_repository_lead_somewhere() -> None:
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text()):
            assert "://" in target or (path.parent / target).exists(), f"{path.name}: {target}"


def test_levels_and_modules_stand_in_the_architecture() -> None:
    assert documents.ARCHITECTURE.read_text() == documents.architecture(), "run `make docs`"


def test_modules_named_in_the_architecture_exist() -> None:
    text = documents.ARCHITECTURE.read_text().partition("<!-- modules -->")[0]
    for name in re.findall(r"`((?:commands|archive|database|kimai|storage|report)/[\w/]+\w)`", text):
        assert (ROOT / "sidecar" / f"{name}.py").exists(), name


def test_the_schema_is_the_manifests() -> None:
    assert documents.SCHEMA.read_text() == documents.manifest_schema(), "run `make docs`"


@pytest.mark.parametrize(
    ("title", "kind"), [("The manifest", Manifest), ("`plugins`", Plugin), ("`database`", Database), ("`files`", File)]
)
def test_every_field_of_the_manifest_is_described(title: str, kind: type) -> None:
    text = section(FORMAT, title).partition("\n### ")[0]
    described = {name for row in rows(text) for name in re.findall(r"`(\w+)`", row[0] + row[1])}
    assert set(inspect.signature(kind).parameters) <= described


def test_no_document_names_a_path_of_whoever_wrote_it() -> None:
    for path in (
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        ROOT / "Makefile",
        ROOT / ".ci/run",
        ROOT / "scripts/install",
    ):
        assert str(Path(ROOT).parent) + "/" not in path.read_text(), path.name
