"""Plots as inline SVG: places across are in per cent and down in pixels, so that text stays readable at any width."""

from collections.abc import Iterable, Iterator

from markupsafe import Markup


def element(name: str, content: str = "", **attributes: object) -> Markup:
    """One element; `_` in an attribute's name is a hyphen, one at its end nothing."""
    given = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items()
    )
    return Markup("<{0}{1}>{2}</{0}>").format(name, given, content)


def title(text: str) -> Markup:
    """What is shown where the pointer rests."""
    return element("title", text)


def across(share: float) -> str:
    """A place between the left edge, 0, and the right one, 1."""
    return f"{100 * share:.2f}".rstrip("0").rstrip(".") + "%"


def picture(parts: Iterable[str], *, name: str, of: str, says: str, height: int) -> Markup:
    """A plot for eyes and for screen readers: `of` is its name, `says` what one would see in it."""
    head = element("title", of, id=f"{name}-title") + element("desc", says, id=f"{name}-desc")
    return element(
        "svg",
        head + Markup("").join(parts),
        class_="plot",
        role="img",
        aria_labelledby=f"{name}-title",
        aria_describedby=f"{name}-desc",
        width="100%",
        height=height,
    )


def spread(labels: Iterable[tuple[float, str]], *, apart: float) -> Iterator[tuple[float, str]]:
    """The labels that have room, so many of the width apart; the first ones win."""
    taken: list[float] = []
    for place, text in labels:
        if all(abs(place - other) >= apart for other in taken):
            taken.append(place)
            yield place, text
