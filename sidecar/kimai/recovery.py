"""What a restore that was killed left behind, and how it is brought to an end."""

import json
import logging
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sidecar.errors import Refused, StorageFailed
from sidecar.kimai.beneath import (
    STAGING_PREFIX,
    below,
    exists,
    list_names,
    open_root,
    parent_of,
    parts_of,
    status_of,
)
from sidecar.kimai.places import Places
from sidecar.kimai.setaside import COMMITTED, STATES, Exchange, FolderState, Journal, State, Unit, faults_named, opened
from sidecar.kimai.userdata import user_data

log = logging.getLogger(__name__)

JOURNAL_LIMIT = 64 << 20
"""Bytes of a journal; it names whole folders, rarely more than twenty."""


class Leftover(NamedTuple):
    """What a restore that was killed left behind: in `staging` and the settled states only room is lost, while
    `swapping` means that some of what is there is new and some old.
    """

    run_id: str
    state: State
    folders: tuple[Path, ...]


IsOurs = Callable[[int], bool]
"""Whether a folder of that user's may be what a restore left."""


def _is_this_user(user: int) -> bool:
    return user == os.geteuid()


def leftovers(root: Path, also: Iterable[str] = (), is_ours: IsOurs = _is_this_user) -> list[Leftover]:
    """What restores that were killed left below Kimai's root, by run. Raises `StorageFailed`.

    `also`: paths of its data that settings name which don't lie on this machine.
    """
    found: dict[str, list[tuple[bytes, State]]] = {}
    descriptor = open_root(root)
    try:
        for base in _bases(root, also):
            with faults_named(f"{root / os.fsdecode(base)} can't be searched"):
                for folder, state in _folders(descriptor, base, is_ours):
                    run_id = os.fsdecode(parent_of(folder)[1].removeprefix(STAGING_PREFIX))
                    found.setdefault(run_id, []).append((folder, state))
    finally:
        os.close(descriptor)
    return [
        Leftover(
            run_id,
            next((state for _, state in each if state != "staging"), "staging"),
            tuple(root / os.fsdecode(folder) for folder, _ in each),
        )
        for run_id, each in sorted(found.items())
    ]


def _bases(root: Path, also: Iterable[str]) -> list[bytes]:
    return [b"", *sorted(Places(root, {*user_data(root).paths, *also}).mounts)]


def _folders(root: int, base: bytes, is_ours: IsOurs) -> Iterator[tuple[bytes, State]]:
    with opened(root, base) as descriptor:
        for name in list_names(descriptor):
            if name.startswith(STAGING_PREFIX) and (status := status_of(descriptor, name)) is not None:
                folder = below(base, name)
                yield folder, _state(descriptor, name, status, is_ours)


def _state(parent: int, name: bytes, status: os.stat_result, is_ours: IsOurs) -> State:
    # In a folder that someone else made, a journal could name anything.
    if not is_ours(status.st_uid) or not stat.S_ISDIR(status.st_mode):
        raise Refused(
            f"{os.fsdecode(name)} in KIMAI_DIR looks like a restore's, and belongs to user {status.st_uid}",
            mend="Run as that user if a restore of it was cut short; else look what it is and delete it.",
        )
    return next((state for each, state in STATES.items() if exists(parent, name + b"/" + each)), "staging")


def recover(root: Path, run_id: str, also: Iterable[str] = (), is_ours: IsOurs = _is_this_user) -> State:
    """End what a killed restore left: put back what it set aside, unless it had settled, and delete its folders.

    Returns the state that was found. Raises `StorageFailed` where its journal can't be had, and then touches nothing.
    """
    return _end(root, run_id, also, is_ours, Exchange.put_back)


def finish(root: Path, run_id: str, also: Iterable[str] = (), is_ours: IsOurs = _is_this_user) -> State:
    """End what a killed restore had put in place wholly: keep it, and delete what it set aside. As `recover` else."""
    return _end(root, run_id, also, is_ours, lambda exchange: exchange.settle(COMMITTED))


def _end(root: Path, run_id: str, also: Iterable[str], is_ours: IsOurs, outcome: Callable[[Exchange], None]) -> State:
    leftover = next((each for each in leftovers(root, also, is_ours) if each.run_id == run_id), None)
    if leftover is None:
        return "rolled back"
    descriptor = open_root(root)
    try:
        exchange = Exchange(descriptor, run_id, _read_journal(root, leftover))
        if leftover.state == "swapping":
            outcome(exchange)
        for note in exchange.clean_up():
            log.warning("%s", note)
    finally:
        os.close(descriptor)
    return leftover.state


def _read_journal(root: Path, leftover: Leftover) -> Journal:
    bases = [os.fsdecode(os.fsencode(folder.parent.relative_to(root))) for folder in leftover.folders]
    bases = ["" if base == "." else base for base in bases]
    if leftover.state == "staging":
        if any((folder / "old").is_dir() and any((folder / "old").iterdir()) for folder in leftover.folders):
            raise StorageFailed(
                f"a killed restore set files aside in {leftover.folders[0]}, and its journal is not there",
                mend="Mount all of Kimai's volumes and run it again.",
            )
        return Journal(bases)
    for folder in leftover.folders:
        for name in STATES:
            path = folder / os.fsdecode(name)
            if path.exists():
                return _parsed(path)
    raise StorageFailed(f"{leftover.folders[0]} lost its journal", mend="Look into it: `old` is what was there.")


def _parsed(file: Path) -> Journal:
    try:
        with file.open("rb") as stream:
            document: dict[str, Any] = json.loads(stream.read(JOURNAL_LIMIT))
        journal = Journal(
            [str(base) for base in document["bases"]],
            [Unit(**unit) for unit in document["units"]],
            [FolderState(**state) for state in document["folders"]],
        )
        paths = [unit.path for unit in journal.units] + [state.path for state in journal.folders]
        for path in (*journal.bases, *paths):
            parts_of(os.fsencode(path))
    except (OSError, ValueError, TypeError, KeyError, UnicodeError) as error:
        raise StorageFailed(
            f"{file} can't be read: {error}", mend="Look into its folder: `old` holds what was there, by number."
        ) from error
    return journal
