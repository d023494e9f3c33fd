"""What a zip of a stranger may cost in memory, however many entries it claims to have."""

import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.archive.entries import DIRECTORY_LIMIT, ENTRIES_LIMIT
from tests.support.peak_zip import directory_of


def opened(path: Path) -> tuple[str, int]:
    command = [sys.executable, "-m", "tests.support.peak_zip", str(path)]
    said, peak = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout.splitlines()
    return said, int(peak)


@pytest.mark.slow
@pytest.mark.parametrize("length", [8, DIRECTORY_LIMIT // ENTRIES_LIMIT - 46])
def test_as_many_entries_as_are_allowed_stay_within_bounds(tmp_path: Path, length: int) -> None:
    size = directory_of(tmp_path / "most.zip", (b"%0*d" % (length, number) for number in range(ENTRIES_LIMIT)))
    assert size <= DIRECTORY_LIMIT
    said, peak = opened(tmp_path / "most.zip")
    assert said == str(ENTRIES_LIMIT)
    assert peak < 128


@pytest.mark.slow
@pytest.mark.parametrize(
    ("length", "count"), [(8, ENTRIES_LIMIT + 1), (8, DIRECTORY_LIMIT // 54), (1, DIRECTORY_LIMIT // 47)]
)
def test_more_are_refused_before_they_cost_anything(tmp_path: Path, length: int, count: int) -> None:
    directory_of(tmp_path / "more.zip", (b"%0*d" % (length, number % 10**length) for number in range(count)))
    said, peak = opened(tmp_path / "more.zip")
    assert f"it has {count} entries, more than {ENTRIES_LIMIT}" in said
    assert peak < 80
