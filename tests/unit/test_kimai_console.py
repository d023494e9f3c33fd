"""What Kimai's console says, and what is made of it."""

import pytest

from sidecar.errors import Unreachable
from sidecar.kimai.console import QUOTED_LIMIT, Outcome, list_users, migrations, read_version, reload


class Scripted:
    """A console that answers from a script; a missing answer hangs."""

    def __init__(self, **answers: Outcome) -> None:
        self.answers = {key.replace("_", " "): value for key, value in answers.items()}
        self.asked: list[tuple[str, ...]] = []

    def run(self, *arguments: str, deadline: float) -> Outcome:
        self.asked.append(arguments)
        key = " ".join(argument.lstrip("-").rpartition(":")[2] for argument in arguments)
        if key not in self.answers:
            raise Unreachable(f"console did not end within {deadline:g} seconds")
        return self.answers[key]


def said(stdout: str = "", stderr: str = "", exit_code: int = 0) -> Outcome:
    return Outcome(exit_code, stdout, stderr)


def test_the_short_form_tells_the_version() -> None:
    assert read_version(Scripted(version_short=said("2.66.0\n"))) == ("2.66.0", "console")


def test_warnings_of_php_before_the_version_do_not_matter() -> None:
    noisy = "PHP Warning:  Module imagick 3.7.0 is already loaded\n\n 2.66.0-beta.1 \n"
    assert read_version(Scripted(version_short=said(noisy))) == ("2.66.0-beta.1", "console")


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("Kimai 2.66.0 by Kevin Papst.", "2.66.0"),
        ("Kimai 2 - 1.30.11 stable (Ayumi)", "1.30.11"),
        ("Kimai - 1.14 stable (Chichuma)", "1.14"),
        ("PHP Warning: libfoo 7.1 is old\nKimai 2.0.0-dev by Kevin Papst.", "2.0.0-dev"),
    ],
)
def test_the_long_form_serves_where_the_short_one_is_not_known(line: str, version: str) -> None:
    console = Scripted(version_short=said("", "no such option", 1), version=said(line))
    assert read_version(console) == (version, "console, long form")


def test_version_txt_serves_where_the_console_fails() -> None:
    broken = said(" [ERROR] Unable to parse", exit_code=1)
    assert read_version(Scripted(version_short=broken, version=broken), "2.65.0\n") == ("2.65.0", "version.txt")


def test_a_console_that_hangs_is_asked_once() -> None:
    console = Scripted()
    with pytest.raises(Unreachable, match="did not end within 3 seconds"):
        read_version(console, deadline=3)
    assert len(console.asked) == 1


@pytest.mark.parametrize("nonsense", ["", "hello\n", "libfoo 7.1\n", "Kimai two\n", "22.\n", "1.2.3.4\n"])
def test_nonsense_is_no_version_and_is_shown(nonsense: str) -> None:
    console = Scripted(version_short=said(nonsense), version=said(nonsense))
    with pytest.raises(Unreachable) as caught:
        read_version(console, "what?")
    assert (nonsense.strip() or "nothing") in str(caught.value)


def test_an_exit_code_other_than_0_is_not_believed_whatever_is_printed() -> None:
    lying = said("2.66.0", exit_code=1)
    with pytest.raises(Unreachable, match="exit code 1"):
        read_version(Scripted(version_short=lying, version=lying))


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (said(" [OK] Up-to-date! No migrations to execute."), "up-to-date"),
        (said("", "[WARNING] Out-of-date! 8 migrations are available to execute.", 1), "older database"),
        (said("[ERROR] You have 1 previously executed migration that is not registered."), "newer database"),
        (said("", "[ERROR] You have 2 previously executed migrations that are unknown.", 2), "newer database"),
    ],
)
def test_the_state_of_the_migrations_is_read_from_code_and_text(outcome: Outcome, state: str) -> None:
    assert migrations(Scripted(**{"up-to-date": outcome})) == state


@pytest.mark.parametrize(
    "outcome",
    [
        said("", "In Driver.php line 7: SQLSTATE[HY000] [2002] Connection refused", 1),
        said("[ERROR] no connection", "", 0),
        said("Fine!"),
        said("Up-to-date!", "", 255),
    ],
)
def test_anything_else_is_no_state_of_the_migrations(outcome: Outcome) -> None:
    with pytest.raises(Unreachable, match="doctrine:migrations:up-to-date"):
        migrations(Scripted(**{"up-to-date": outcome}))


def test_users_that_can_not_be_listed_mean_a_database_that_does_not_answer_or_fit() -> None:
    list_users(Scripted(list=said("admin")))
    with pytest.raises(Unreachable, match="Unknown column"):
        list_users(Scripted(list=said("", "SQLSTATE[42S22]: Unknown column 'a'", 255)))


def test_a_reload_that_fails_says_what_kimai_printed() -> None:
    reload(Scripted(reload=said("[OK] Kimai config was reloaded")))
    with pytest.raises(Unreachable, match="Unable to write"):
        reload(Scripted(reload=said("Unable to write in the cache", "", 1)))
    with pytest.raises(Unreachable, match="lint"):
        reload(Scripted(reload=said("[ERROR] lint", "")))


@pytest.mark.parametrize(
    "text",
    [
        "Malformed DSN mysql://kimai:hunter2@db/kimai",
        "#0 Driver.php(28): PDO->__construct('mysql:host=db', 'kimai', 'hunter2')",
        "dsn: host=db;password=hunter2;port=1",
        "x " * 1990 + "mysql://kimai:hunter2@db/kimai",
    ],
)
def test_no_secret_that_php_prints_comes_into_an_error(text: str) -> None:
    with pytest.raises(Unreachable) as caught:
        list_users(Scripted(list=said("", text, 255)))
    assert "hunter2" not in str(caught.value)


def test_what_is_quoted_is_short_and_one_line_and_starts_at_the_error() -> None:
    flood = "Deprecated: x\n" * 5000 + "In Kernel.php line 3:\n\n\x1b[31mBroken\x1b[0m " + "y " * 100_000
    with pytest.raises(Unreachable) as caught:
        reload(Scripted(reload=said(flood, "", 1)))
    message = caught.value.what
    assert "said: In Kernel.php line 3: [31mBroken" in message
    assert len(message) < QUOTED_LIMIT + 100
    assert message.isprintable()
