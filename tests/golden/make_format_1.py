"""Makes `format-1/`: run once, for ever kept. `python -m tests.golden.make_format_1` from the repository's root."""

from pathlib import Path

from sidecar import manifest as manifests
from tests.support.archives import write_backup


def main() -> None:
    folder = Path(__file__).parent / "format-1"
    folder.mkdir()
    path = folder / "ID.zip"
    manifest = write_backup(path)
    path.rename(folder / f"{manifest.id}.zip")
    (folder / f"{manifest.id}.json").write_bytes(manifests.encode(manifest))


if __name__ == "__main__":
    main()
