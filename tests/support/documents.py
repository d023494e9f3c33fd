"""The parts of the documents that are made from the code: `make docs` writes them, a test compares."""

import ast
import json
import tomllib
from pathlib import Path

from sidecar.manifest import schema

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "docs" / "manifest.schema.json"
ARCHITECTURE = ROOT / "ARCHITECTURE.md"
LEVELS = {
    "__main__": "commands",
    "app": "wiring, printing",
    "restore_lost": "use cases",
    "archive": "adapters",
    "status": "pure",
    "errors": "what all may use",
}
"""What the layers of pyproject.toml are called, from the one on that begins with this module."""


def manifest_schema() -> str:
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def architecture() -> str:
    """ARCHITECTURE.md with its table of levels and its list of modules as they should be."""
    text = ARCHITECTURE.read_text()
    for name, made in (("levels", levels()), ("modules", modules())):
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
        text = text[: text.index(begin)] + begin + made + text[text.index(end) :]
    return text


def levels() -> str:
    """One row a level: its layers, from the top, as import-linter holds them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (each["layers"] for each in contracts if each["type"] == "layers")
    rows: dict[str, list[str]] = {}
    level = ""
    for layer in layers:
        names = layer.split(" | ")
        level = LEVELS.get(names[0], level)
        rows.setdefault(level, []).append(", ".join(_shown(name) for name in names))
    assert list(rows) == list(LEVELS.values())
    return "".join(["| level | modules |\n|---|---|\n", *(f"| {each} | {'; '.join(rows[each])} |\n" for each in rows)])


def _shown(module: str) -> str:
    return f"`{module}/`" if (ROOT / "sidecar" / module).is_dir() else f"`{module}`"


def modules() -> str:
    """One line a module: its path, and the first line of its docstring."""
    lines = []
    for path in sorted((ROOT / "sidecar").rglob("*.py"), key=lambda path: (len(path.parts), path)):
        if path.name == "__init__.py" and path.parent.name == "sidecar":
            continue
        docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
        name = path.relative_to(ROOT / "sidecar").as_posix().replace("__init__.py", "")
        lines.append(f"- `{name}`: {docstring.partition(chr(10))[0]}\n")
    return "".join(lines)


def main() -> None:
    SCHEMA.write_text(manifest_schema())
    ARCHITECTURE.write_text(architecture())


if __name__ == "__main__":
    main()
