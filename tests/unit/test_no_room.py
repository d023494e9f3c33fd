"""A server whose disk is full is told by what it answers, and is never taken for a dump that is wrong."""

import pytest

from sidecar.database.loaders import StatementRefused
from sidecar.database.server import QueryFailed

FULL = [
    (1005, 'Can\'t create table `a`.`t` (errno: 28 "No space left on device")'),
    (1005, 'Can\'t create table `a`.`t` (errno: 135 "No more room in record file")'),
    (1006, "Can't create database 'a' (errno: 28 - No space left on device)"),
    (1021, "Disk full (/tmp/x); waiting for someone to free some space... (errno: 28)"),
    (1030, "Got error 168 - 'Unknown (generic) error from engine' (OS errno 28 - No space left on device)"),
    (1114, "The table 't' is full"),
    (3, "Error writing file '/tmp/x' (Errcode: 28)"),
]


@pytest.mark.parametrize(("code", "said"), FULL)
def test_a_full_disk_is_said_and_speaks_against_no_dump(code: int, said: str) -> None:
    error = QueryFailed(f"database x answers with error {code}: {said}", code=code)
    assert error.lacks_room
    assert "no room left" in str(error)
    refused = StatementRefused(b"CREATE TABLE t (id INT)", error)
    assert not refused.of_the_dump
    assert "no room left" in refused.mend


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (1005, 'Can\'t create table `a`.`t` (errno: 150 "Foreign key constraint is incorrectly formed")'),
        (1062, "Duplicate entry 'No space left on device' for key 'PRIMARY'"),
        (1064, "You have an error in your SQL syntax near 'errno: 28'"),
        (1366, "Incorrect string value: 'disk is full' for column"),
    ],
)
def test_a_dump_that_is_wrong_is_not_taken_for_a_full_disk(code: int, said: str) -> None:
    error = QueryFailed(said, code=code)
    assert not error.lacks_room
    assert StatementRefused(b"INSERT INTO t VALUES (1)", error).of_the_dump
