"""Makes `format-1/` and `encrypted-format-1/`: run once, for ever kept. From the repository's root:
`python -m tests.golden.make_format_1 [encrypted]`.
"""

import sys
from pathlib import Path

import msgspec

from sidecar import manifest as manifests
from tests.support.archives import write_backup
from tests.support.keys import age_key


def make(folder: Path, *recipients: str) -> manifests.Manifest:
    suffix = ".zip.age" if recipients else ".zip"
    path = folder / f"ID{suffix}"
    manifest = write_backup(path, recipients=recipients)
    path.rename(folder / f"{manifest.id}{suffix}")
    return manifest


def main() -> None:
    folder = Path(__file__).parent / "format-1"
    if sys.argv[1:] == ["encrypted"]:
        folder = folder.with_name("encrypted-format-1")
        folder.mkdir()
        # A throwaway key, which opens nothing else.
        manifest = make(folder, age_key(folder).recipient)
        beside = msgspec.structs.replace(manifests.withhold(manifest), archive=manifest.archive)
    else:
        folder.mkdir()
        beside = make(folder)
    (folder / f"{beside.id}.json").write_bytes(manifests.encode(beside))


if __name__ == "__main__":
    main()
