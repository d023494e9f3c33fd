"""Statuses as a daemon would give them: well, failing, empty, running, and one of 2,000 backups."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sidecar.manifest import BackupId
from sidecar.retention import Candidate, Policy, plan
from sidecar.runs import Phase, Run, Started
from sidecar.status import Kept, Look, Next, Shelf, Status

NOW = datetime(2026, 11, 24, 5, 42, 10, tzinfo=UTC)
NIGHT = datetime(2026, 11, 24, 0, 10, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
POLICY = Policy(days=60, min_keep=3, daily=14, weekly=8, monthly=24, yearly=5)
LOG = (
    "2026-11-24T00:10:00.412Z info    Kimai 2.66.0 in container kimai-kimai-1",
    "2026-11-24T00:10:03.118Z info    database: done after 2.6 s, 812,044 items",
    "2026-11-24T00:10:09.731Z info    files: done after 6.6 s, 148.2 MB",
    "2026-11-24T00:10:12.507Z info    publish on s3: done after 2.7 s, 151.9 MB",
    "2026-11-24T00:10:12.911Z info    backup ended with exit code 0 after 12.5 s",
)


def backup_id(at: datetime, version: str = "2.66.0", *, safety: bool = False) -> BackupId:
    return BackupId("kimai", version, at, safety)


def size_at(day: int) -> int:
    """It grows, with some noise that is the same each time."""
    return 152_000_000 - 61_000 * day + (day * 7919 % 97) * 9_000


def run(at: datetime, *, exit_code: int = 0, seconds: float = 12.5, **fields: Any) -> Run:
    facts: dict[str, Any] = {
        "backup": str(backup_id(at)),
        "kimai_version": "2.66.0",
        "size": 151_900_000,
        "tables": 34,
        "rows": 812_044,
        "files": 1_204,
        "targets": ["local", "s3"],
        "summary": f"{backup_id(at)}: 34 tables, 812044 rows, 1204 files, 151.9 MB, on local, s3",
        "phases": [
            Phase("database", seconds * 0.2, 812_044, "items"),
            Phase("files", seconds * 0.5, 148_200_000),
            Phase("publish on local", seconds * 0.01, 0),
            Phase(f"send {backup_id(at)} to s3", seconds * 0.2, 151_900_000),
        ],
    }
    return Run(
        id=f"{at:%Y%m%dT%H%M%S}-abcdef",
        command="backup",
        trigger="schedule",
        started_at=at,
        finished_at=at + timedelta(seconds=seconds),
        exit_code=exit_code,
        **facts | fields,
    )


def failed_run(at: datetime) -> Run:
    return run(
        at,
        exit_code=5,
        seconds=31.0,
        backup=None,
        size=0,
        tables=0,
        rows=0,
        files=0,
        targets=[],
        phases=[Phase("database", 30.0)],
        summary="the database at sqldb:3306 does not answer (timed out). Start it, or mend DATABASE_URL.",
    )


def nights(days: int) -> list[datetime]:
    """Newest first, thinned out as by retention where it is long ago."""
    return [
        NIGHT - timedelta(days=day) for day in range(days) if day < 60 or (day < 240 and day % 7 == 0) or day % 30 == 0
    ]


def shelf(target: str, times: Sequence[datetime], policy: Policy = POLICY, damaged: Sequence[int] = ()) -> Shelf:
    """Every seventh is proven."""
    candidates = [
        Candidate(backup_id(at, f"2.{66 - index // 40}.0"), proven=index % 7 == 2, damaged=index in damaged)
        for index, at in enumerate(times)
    ]
    by_id = {each.id: each for each in candidates}
    return Shelf(
        target=target,
        backups=[
            Kept(
                id=str(decision.id),
                created_at=decision.id.created_at,
                kimai_version=decision.id.kimai_version,
                size=size_at((NIGHT - decision.id.created_at).days),
                proven=by_id[decision.id].proven,
                damaged=by_id[decision.id].damaged,
                keep=decision.keep,
                reasons=list(decision.reasons),
            )
            for decision in plan(candidates, policy, NOW, BERLIN)
        ],
    )


def status(**fields: Any) -> Status:
    facts: dict[str, Any] = {
        "instance": "kimai",
        "version": "0.1.0",
        "now": NOW,
        "tz": BERLIN,
        "nexts": (
            Next(command="backup", schedule="10 1 * * *", at=NIGHT + timedelta(days=1)),
            Next(command="drill", schedule="0 4 * * 0", at=datetime(2026, 11, 29, 3, 0, tzinfo=UTC)),
        ),
        "policies": {"local": POLICY, "s3": POLICY},
    }
    return Status(**facts | fields)


def healthy() -> Status:
    times = nights(900)
    runs = [
        run(NIGHT - timedelta(days=d), size=size_at(d), seconds=14 - d * 0.02 + d * 13 % 7 * 0.3)
        for d in reversed(range(200))
    ]
    shelves = [shelf("local", times[:70], damaged=(9,)), shelf("s3", times)]
    return status(look=Look(taken_at=NOW, shelves=shelves), runs=runs, log=LOG)


def failing() -> Status:
    times = nights(400)
    runs = [run(NIGHT - timedelta(days=d), size=size_at(d)) for d in range(90, 1, -1)]
    runs += [failed_run(NIGHT - timedelta(days=1)), failed_run(NIGHT)]
    away = Shelf(target="s3", problem="S3_ENDPOINT_URL https://s3.example.org does not answer. Try again later.")
    return status(
        problems=(
            "the newest backup is 2 days old, and BACKUP_SCHEDULE (10 1 * * *) wants one each night",
            "target s3: S3_ENDPOINT_URL https://s3.example.org does not answer. Try again later.",
            "the last backup failed (exit 5): the database at sqldb:3306 does not answer (timed out)",
        ),
        nexts=(
            Next(command="backup", schedule="10 1 * * *", at=NOW + timedelta(minutes=25), is_retry=True),
            Next(command="backup", schedule="10 1 * * *", at=NIGHT + timedelta(days=1)),
        ),
        look=Look(taken_at=NOW, shelves=[shelf("local", times[2:]), away]),
        runs=runs,
        log=(
            "2026-11-24T00:10:00.412Z info    Kimai 2.66.0 in container kimai-kimai-1",
            f"2026-11-24T00:10:31.020Z error   {runs[-1].summary}",
        ),
    )


def tried_again() -> Status:
    """This night's backup failed; the one of the night before is new enough to be no problem yet."""
    times = nights(400)
    runs = [run(NIGHT - timedelta(days=d), size=size_at(d)) for d in range(90, 0, -1)]
    again = Next(command="backup", schedule="10 1 * * *", at=NOW + timedelta(minutes=25), is_retry=True)
    shelves = [shelf("local", times[1:]), shelf("s3", times[1:])]
    return status(nexts=(again,), look=Look(taken_at=NOW, shelves=shelves), runs=[*runs, failed_run(NIGHT)])


def empty() -> Status:
    return status(look=Look(taken_at=NOW, shelves=[Shelf(target="local"), Shelf(target="s3")]))


def running() -> Status:
    started = Started(
        id="20261124T053900-abcdef", command="backup", trigger="hand", started_at=NOW - timedelta(minutes=3)
    )
    well = healthy()
    return status(look=well.look, runs=well.runs, log=well.log, running=started)


def unknown() -> Status:
    """Just started: nothing was looked at yet."""
    return status()


def long_names() -> Status:
    """As long as settings allow, and without a place to break."""
    shelf = shelf_of("i" * 100, "2.66.0-beta-of-a-plugin-with-a-long-name", target="t" * 60)
    problem = "/srv/" + "x" * 300
    return status(instance="i" * 100, problems=(problem,), look=Look(taken_at=NOW, shelves=[shelf]), log=("y" * 2000,))


def shelf_of(instance: str, version: str, target: str) -> Shelf:
    made = BackupId(instance, version, NIGHT, safety=True)
    backup = Kept(
        id=str(made),
        created_at=NIGHT,
        kimai_version=version,
        size=10**15,
        encrypted=True,
        safety=True,
        reasons=["z" * 200],
    )
    return Shelf(target=target, backups=[backup], strays=["s" * 300])


def large(backups: int = 2000, runs: int = 1000) -> Status:
    """So many backups, on two targets, four a day."""
    times = [NIGHT - timedelta(hours=6 * index) for index in range(backups)]
    shelves = [shelf("local", times[: backups // 2]), shelf("s3", times)]
    ended = [run(NIGHT - timedelta(hours=6 * i), size=size_at(i), seconds=12.5 + i % 9) for i in reversed(range(runs))]
    return status(look=Look(taken_at=NOW, shelves=shelves), runs=ended, log=LOG * 40)
