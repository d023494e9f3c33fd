"""The parts of the documents that are made from the code: `make docs` writes them, a test compares."""

import ast
import json
from pathlib import Path

from sidecar.manifest import schema

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "docs" / "manifest.schema.json"
ARCHITECTURE = ROOT / "ARCHITECTURE.md"
BEGIN, END = "<!-- modules -->\n", "<!-- /modules -->\n"


def manifest_schema() -> str:
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def architecture() -> str:
    """ARCHITECTURE.md with the list of modules as it should be."""
    text = ARCHITECTURE.read_text()
    return text[: text.index(BEGIN)] + BEGIN + modules() + text[text.index(END) :]


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
