"""The version gate as a table: versions and migrations on both sides, and what is allowed of it."""

from typing import Any

import pytest

from sidecar.errors import Refused
from sidecar.gate import Passed, check_version
from sidecar.kimai.console import Outcome
from sidecar.wish import Allowed

NEWER, SAME, OLDER = "Version20270101000000", "Version20260802183206", "Version20250101000000"
PLAIN, MISMATCH, UPGRADE = Allowed(), Allowed(version_mismatch=True), Allowed(upgrade=True)
UNKNOWN = Allowed(unknown_version=True)


class Console:
    def __init__(self, version: str | None) -> None:
        self._version = version

    def run(self, *arguments: str, deadline: float) -> Outcome:
        return Outcome(0, f"{self._version}\n", "") if self._version else Outcome(1, "", "PHP Fatal error: no")


def check(
    allowed: Allowed,
    running: str | None,
    code: str | None,
    wanted: str | None = "2.66.0",
    database: str | None = SAME,
    image: str | None = None,
    only: Any = None,
) -> Passed:
    names = {"console": Console(running), "version_file": lambda: None, "newest_migration": lambda: code}
    kimai: Any = type("Kimai", (), names)
    kimai.version_file, kimai.newest_migration = lambda: None, lambda: code
    described = type("D", (), {"newest_migration": f"DoctrineMigrations\\{database}" if database else None})
    manifest = type("M", (), {"database": described, "kimai": type("K", (), {"image": image})}) if wanted else None
    source: Any = type("S", (), {"manifest": manifest, "kimai_version": wanted, "label": "a.zip"})
    return check_version(kimai, source, allowed, only=only)


@pytest.mark.parametrize(
    ("allowed", "running", "code"),
    [
        (PLAIN, "2.66.0", SAME),
        (PLAIN, "2.66.0", None),
        (MISMATCH, "2.66.1", SAME),
        (MISMATCH, "2.65.9", SAME),
        (UPGRADE, "2.66.0", SAME),
        (UPGRADE, "2.66.0", NEWER),
        (UPGRADE, "2.67.0", SAME),
        (UPGRADE, "2.67.0", NEWER),
        (UPGRADE, "2.67.0", None),
        (UPGRADE, "3.0.0-beta.1", NEWER),
        (UNKNOWN, None, SAME),
    ],
)
def test_what_passes(allowed: Allowed, running: str, code: str | None) -> None:
    passed = check(allowed, running, code)
    assert passed.running == running
    assert bool(passed.warnings) is (running != "2.66.0" or code is None)


@pytest.mark.parametrize(
    ("allowed", "running", "code", "words"),
    [
        (PLAIN, "2.66.1", SAME, "--accept-version-mismatch"),
        (PLAIN, "2.67.0", NEWER, "--upgrade"),
        (PLAIN, "2.67.0", None, "--upgrade"),
        (PLAIN, "2.65.0", None, "Install Kimai 2.66.0 first"),
        (PLAIN, "2.66.0", NEWER, "before it was migrated"),
        (MISMATCH, "2.66.0", NEWER, "--upgrade"),
        (MISMATCH, "2.67.0", NEWER, f"is at migration {SAME}, the code at {NEWER}"),
        (MISMATCH, "2.67.0", None, "nobody knows"),
        (MISMATCH, "2.65.0", None, "nobody knows"),
        (UPGRADE, "2.65.0", SAME, "never down"),
        (UPGRADE, "2.65.0", None, "never down"),
        (UPGRADE, "2.66.0-beta.1", SAME, "never down"),
        (PLAIN, None, SAME, "can't be learnt"),
        *((each, running, OLDER, "newer than Kimai's code") for each in (PLAIN, MISMATCH, UPGRADE, UNKNOWN)
          for running in ("2.24.0", "2.66.0", "2.67.0")),
        (UNKNOWN, None, OLDER, "newer than Kimai's code"),
    ],
)  # fmt: skip
def test_what_is_refused(allowed: Allowed, running: str, code: str | None, words: str) -> None:
    with pytest.raises(Refused) as error:
        check(allowed, running, code)
    assert words in str(error.value)
    assert str(error.value).count("\n") == 0


def test_downwards_no_option_is_offered_that_would_be_refused() -> None:
    with pytest.raises(Refused) as error:
        check(PLAIN, "2.65.0", None)
    assert "--" not in str(error.value)


def test_the_image_is_named_as_the_backup_had_it() -> None:
    for image, tag in (("kimai/kimai2:fpm-2.66.0", "fpm-2.66.0"), ("kimai/kimai2:apache", "apache-2.66.0")):
        with pytest.raises(Refused, match=f"image tag {tag}"):
            check(PLAIN, "2.67.0", NEWER, image=image)


def test_a_zip_that_does_not_say_its_version() -> None:
    with pytest.raises(Refused, match="doesn't say which version"):
        check(PLAIN, "2.66.0", SAME, wanted=None)
    assert "is unknown" in check(UNKNOWN, "2.66.0", SAME, wanted=None).warnings[0]
    both = Allowed(unknown_version=True, upgrade=True)
    assert "it finds out itself" in check(both, "2.66.0", SAME, wanted=None).found[0]


@pytest.mark.parametrize("stored", [SAME, SAME.removeprefix("Version"), f"Other\\Space\\{SAME}"])
def test_a_migration_is_known_however_it_is_stored(stored: str) -> None:
    assert check(PLAIN, "2.66.0", SAME, database=stored).found
    with pytest.raises(Refused, match="newer than Kimai's code"):
        check(UPGRADE, "2.66.0", OLDER, database=stored)


def test_what_is_no_migration_is_not_compared() -> None:
    assert check(PLAIN, "2.66.0", SAME, database="by hand").found
    with pytest.raises(Refused, match="nobody knows"):
        check(MISMATCH, "2.66.1", SAME, database="by hand")


def test_files_alone_ask_for_no_schema() -> None:
    assert check(MISMATCH, "2.24.0", OLDER, only="files").warnings
    with pytest.raises(Refused, match="--accept-version-mismatch"):
        check(PLAIN, "2.24.0", OLDER, only="files")
    assert check(PLAIN, "2.66.0", OLDER, only="files").found
