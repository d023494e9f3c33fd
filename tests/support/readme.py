"""README's section on Docker: its commands as they stand there, run as a user would run them."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support import docker as images


def blocks(title: str) -> list[str]:
    """The blocks of shell commands below one of the section's headings."""
    readme = (images.ROOT / "README.md").read_text()
    section = readme.partition("\n## Docker\n")[2].partition("\n## ")[0]
    match = re.search(rf"^### {title}\n(.*?)(?=^### |\Z)", section, re.MULTILINE | re.DOTALL)
    assert match, title
    found = re.findall(r"^ *```sh\n(.*?)^ *```", match[1], re.MULTILINE | re.DOTALL)
    assert found, title
    return [re.sub(r"^ +", "", block, flags=re.MULTILINE) for block in found]


def follow(script: str, folder: Path, environment: Mapping[str, str]) -> str:
    """Run commands in one shell that ends at the first failure; what they printed."""
    done = subprocess.run(
        ["bash", "-c", f"set -eux\n{script}"],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout
