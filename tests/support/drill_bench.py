"""Drills of one backup without a process for each."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sidecar import drill
from sidecar.catalog import catalog
from sidecar.database.server import connect
from sidecar.database.url import parse
from sidecar.report.progress import progress
from sidecar.state import State
from sidecar.storage.local import LocalStorage
from sidecar.turns import Tries
from tests.support.cli import Site
from tests.support.drill import scratch_user, scratches


@dataclass
class Bench:
    """One backup that can be spoilt and made whole again."""

    folder: Path
    made: str
    job: drill.Job

    def drill(self) -> drill.Outcome:
        [backup] = catalog(self.job.storages, "kimai").backups
        return drill.drill(self.job, backup)


@contextmanager
def running(site: Site, folder: Path) -> Iterator[Bench]:
    """A backup of the site as it is; on leaving no scratch database may be there."""
    made = site.backup()

    @contextmanager
    def fetch(storage: object, key: str) -> Iterator[Path]:
        yield site.backups / key

    with scratch_user(site.server) as (prefix, url), progress(quiet=True) as shown:
        job = drill.Job(
            connect=lambda name: connect(replace(parse(url), database=name)),
            prefix=prefix,
            connections=2,
            storages=[LocalStorage(site.backups)],
            fetch=fetch,
            state=State(folder / "own-state", "kimai", site.root),
            tries=Tries(folder / "own-state" / "tries.json"),
            progress=shown,
        )
        yield Bench(site.backups, made, job)
        assert scratches(site.server, prefix) == []
