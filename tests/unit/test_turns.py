"""Which backup is drilled next: whatever drills end in, and whatever comes and goes, each that is kept is tried."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.catalog import catalog
from sidecar.errors import NoSuchBackup
from sidecar.manifest import BackupId
from sidecar.names import archive_key, failed_key, manifest_key, proof_key
from sidecar.turns import Tries, by_schedule, whose_turn
from tests.support.memory_storage import MemoryStorage
from tests.support.shelf import backup_id, shelve

START = datetime(2026, 1, 1, tzinfo=UTC)
LOST = ("refused", "killed")
"""What leaves nothing beside the backup."""


class World:
    """A shelf, what was tried, and a clock; a drill ends as it is told to."""

    def __init__(self) -> None:
        self.storage = MemoryStorage("local")
        self.tries: dict[str, datetime] = {}
        self.now = START
        self.made = 0

    def back_up(self) -> BackupId:
        self._pass()
        self.made += 1
        made = BackupId("prod", "2.66.0", self.now)
        return shelve(self.storage, made)

    def prune(self, which: int) -> None:
        kept = self.kept()
        if len(kept) > 1:
            gone = kept[which % len(kept)]
            for key in (manifest_key(gone), archive_key(gone), proof_key(gone), failed_key(gone)):
                self.storage.delete(key)

    def kept(self) -> list[BackupId]:
        """Oldest first, without what is known to be damaged."""
        return [each.id for each in reversed(catalog([self.storage], "prod").backups) if not each.damaged]

    def drill(self, ends: str, *, scheduled: bool = False, again: bool = False) -> BackupId:
        """The one whose turn it was."""
        self._pass()
        listing = catalog([self.storage], "prod")
        if scheduled:
            found = by_schedule(listing, [self.storage], self.tries, self.now, again=again).id
        else:
            found = whose_turn(listing, [self.storage], self.tries, self.now).id
        self.tries.pop(str(found), None)
        if ends in LOST:
            self.tries[str(found)] = self.now
        elif ends == "matched":
            self.storage.put(proof_key(found), msgspec.json.encode({"finished_at": self.now}))
        else:
            self.storage.put(failed_key(found), b"{}")
        return found

    def _pass(self) -> None:
        self.now += timedelta(hours=1)


ENDS = st.sampled_from(["matched", "refused", "killed", "differed"])
EVENTS = st.lists(
    st.one_of(
        st.just(("backup", 0)),
        st.tuples(st.just("prune"), st.integers(0, 30)),
        st.tuples(st.just("drill"), ENDS),
        st.tuples(st.just("scheduled"), ENDS),
    ),
    max_size=40,
)


def happened(events: list[tuple[str, object]]) -> World:
    world = World()
    world.back_up()
    for what, value in events:
        if what == "backup":
            world.back_up()
        elif what == "prune":
            world.prune(int(str(value)))
        elif world.kept():
            world.drill(str(value), scheduled=what == "scheduled")
    return world


@given(EVENTS, st.data(), st.booleans())
def test_whatever_happened_before_so_many_drills_as_backups_try_each_of_them(
    events: list[tuple[str, object]], data: st.DataObject, scheduled: bool
) -> None:
    world = happened(events)
    waiting = world.kept()
    tried = []
    for _ in waiting:
        if world.kept():
            tried.append(world.drill(data.draw(ENDS), scheduled=scheduled))
    assert sorted(tried) == waiting


@given(EVENTS, st.data())
def test_one_that_no_drill_has_tried_waits_for_the_older_ones_alone(
    events: list[tuple[str, object]], data: st.DataObject
) -> None:
    """However often new ones come meanwhile."""
    world = happened(events)
    newest = world.back_up()
    older = len(world.kept()) - 1
    for _ in range(older + 1):
        world.back_up()
        if world.drill(data.draw(ENDS)) == newest:
            break
    else:
        pytest.fail(f"it was not tried by {older + 1} drills")


@given(st.integers(1, 6), st.integers(1, 4))
def test_a_schedule_that_drills_oftener_than_backups_are_made_walks_through_all_of_them(old: int, oftener: int) -> None:
    world = World()
    waiting = {world.back_up() for _ in range(old)}
    for _ in range(old // oftener + 1):
        newest = world.back_up()
        assert world.drill("matched", scheduled=True) == newest
        waiting -= {world.drill("matched", scheduled=True) for _ in range(oftener)}
    assert not waiting


def test_by_schedule_the_newest_comes_first_and_a_refused_one_is_not_asked_for_ever() -> None:
    world = World()
    old, new = world.back_up(), world.back_up()
    assert world.drill("refused", scheduled=True) == new
    assert world.drill("matched", scheduled=True) == old
    # All were tried: the one that was tried the longest ago.
    assert world.drill("refused", scheduled=True) == new
    assert world.drill("matched", scheduled=True) == old


def test_what_failed_is_tried_again_where_the_schedule_says_so() -> None:
    world = World()
    old, new = world.back_up(), world.back_up()
    assert world.drill("refused", scheduled=True) == new
    assert world.drill("refused", scheduled=True, again=True) == new
    assert world.drill("matched", scheduled=True, again=True) == new
    # Nothing is left that failed.
    assert world.drill("matched", scheduled=True, again=True) == old


def test_safety_and_damaged_backups_have_no_turn() -> None:
    storage = MemoryStorage("local")
    shelve(storage, backup_id("20260101", safety=True))
    shelve(storage, backup_id("20260102"), failed=True)
    for choose in (whose_turn, by_schedule):
        with pytest.raises(NoSuchBackup):
            choose(catalog([storage], "prod"), [storage], {}, START)


def test_a_time_to_come_does_not_put_a_backup_off_for_years() -> None:
    """A clock was wrong when it was tried, and has been set right."""
    world = World()
    old, new = world.back_up(), world.back_up()
    world.drill("matched")
    world.drill("matched")
    world.tries[str(new)] = START + timedelta(days=9000)
    world.storage.put(proof_key(new), msgspec.json.encode({"finished_at": START + timedelta(days=9000)}))
    assert world.drill("matched") == new
    assert world.drill("matched") == old


# ── What is remembered ───────────────────────────────────────────────────────────────────────────────────────


def test_a_try_is_remembered_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    tries = Tries(tmp_path / "tries.json")
    first, second = backup_id("20260101"), backup_id("20260102")
    tries.begin(first, START)
    tries.begin(second, START)
    tries.begin(first, START + timedelta(days=1))
    assert list(Tries(tmp_path / "tries.json").read()) == [str(second), str(first)]
    tries.end(first)
    tries.end(first)
    assert tries.read() == {str(second): START}


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b'{"a": "yesterday"}'])
def test_what_cannot_be_read_is_said_and_counts_for_nothing(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "tries.json"
    path.write_bytes(content)
    assert Tries(path).read() == {}
    assert str(path) in caplog.text
    Tries(path).begin(backup_id(), START)
    assert list(Tries(path).read()) == [str(backup_id())]


def test_what_cannot_be_written_is_said_and_stops_no_drill(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Tries(tmp_path / "gone" / "tries.json").begin(backup_id(), START)
    assert "can't be written" in caplog.text


def test_it_does_not_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.turns._KEPT", 3)
    tries = Tries(tmp_path / "tries.json")
    for day in range(1, 6):
        tries.begin(backup_id(f"2026010{day}"), START)
    assert list(tries.read()) == [str(backup_id(f"2026010{day}")) for day in (3, 4, 5)]
