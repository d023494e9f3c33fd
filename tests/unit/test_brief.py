"""Sizes and names in few words."""

import pytest

from sidecar.brief import amount, some


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345_678, "12.3 MB"), (5e9, "5.0 GB"), (7e15, "7000.0 TB")],
)
def test_sizes(size: float, text: str) -> None:
    assert amount(size) == text


def test_of_many_names_the_first_are_told_and_how_many_more() -> None:
    assert some(["a", "b"], 2) == "a, b"
    assert some(["a", "b", "c", "d"], 2) == "a, b and 2 more"
