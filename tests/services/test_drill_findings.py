"""What a drill finds, on each flavour of server: each thing that is not as it was when it was backed up."""

import json
import re
import zipfile

from tests.support.cli import Site
from tests.support.drill import change_a_default, dump_of, failed, lose_an_index, repack

TABLE = "kimai2_timesheet"


def test_one_row_missing(site: Site, scratch: str) -> None:
    made = site.backup()
    text = dump_of(site.backups, made)
    at = text.index(b"INSERT INTO `kimai2_tags`")
    row = text[at : text.index(b";\n", at)]
    first = row[row.index(b"\n(") : row.index(b",\n(")]
    repack(site.backups, made, {"database.sql": (first + b",\n(", b"\n(")})
    ran = failed(site, made, scratch)
    assert "table kimai2_tags: rows was" in ran.out


def test_one_byte_changed(site: Site, scratch: str) -> None:
    """For another of the same letter: to the collation it is the same text, and no longer than before."""
    made = site.backup()
    text = dump_of(site.backups, made)
    at = text.index(b"'tag-", text.index(b"INSERT INTO `kimai2_tags`"))
    value = text[at : text.index(b"'", at + 1) + 1]
    changed = value.replace(b"t", b"T", 1)
    assert len(changed) == len(value)
    repack(site.backups, made, {"database.sql": (value, changed)})
    assert "table kimai2_tags: digest was" in failed(site, made, scratch).out


def test_an_index_lost(site: Site, scratch: str) -> None:
    made = site.backup()
    lose_an_index(site.backups, made)
    assert f"table {TABLE}: definition.indexes" in failed(site, made, scratch).out


def test_a_default_changed(site: Site, scratch: str) -> None:
    made = site.backup()
    change_a_default(site.backups, made)
    assert f"table {TABLE}: definition.columns" in failed(site, made, scratch).out


def test_a_foreign_key_that_can_not_be_made(site: Site, scratch: str) -> None:
    """Its column and the one that it names are no longer of one type: each flavour has an error of its own for that."""
    made = site.backup()
    text = dump_of(site.backups, made)
    at = text.index(b"CREATE TABLE `kimai2_tags` (\n  `id` int")
    line = text[at : text.index(b",\n", at)]
    repack(site.backups, made, {"database.sql": (line, line.replace(b"` int", b"` bigint"))})
    assert "ADD CONSTRAINT `timesheet_tags_tag`" in failed(site, made, scratch).out


def test_a_table_too_many(site: Site, scratch: str) -> None:
    made = site.backup()
    repack(
        site.backups,
        made,
        {"database.sql": (b"CREATE TABLE `kimai2_tags`", b"CREATE TABLE `more` (id INT);\nCREATE TABLE `kimai2_tags`")},
    )
    assert "table more: existence was absent, is there" in failed(site, made, scratch).out


def test_a_file_changed(site: Site, scratch: str) -> None:
    made = site.backup()
    with zipfile.ZipFile(site.backups / f"{made}.zip") as archive:
        local = archive.read("config/packages/local.yaml")
    repack(site.backups, made, {"config/packages/local.yaml": (local[:1], bytes([local[0] ^ 1]))})
    assert "local.yaml" in failed(site, made, scratch).out


def test_an_archive_swapped_for_another_ones(site: Site, scratch: str) -> None:
    first = site.backup()
    site.sql("DELETE FROM kimai2_timesheet ORDER BY id DESC LIMIT 1")
    second = site.backup()
    (site.backups / f"{second}.zip").write_bytes((site.backups / f"{first}.zip").read_bytes())
    assert re.search(rf"! {second}\.zip has .*, its manifest says ", failed(site, second, scratch).out)
    # Though the hash beside it were right: what is within is another backup.
    beside = site.backups / f"{second}.json"
    right = json.loads((site.backups / f"{first}.json").read_bytes())["archive"]
    beside.write_text(json.dumps({**json.loads(beside.read_bytes()), "archive": right}))
    assert re.search(r"! .*manifest", failed(site, second, scratch).out)


def test_a_dump_cut_after_a_statement(site: Site, scratch: str) -> None:
    made = site.backup()
    text = dump_of(site.backups, made)
    ends = [at for at in range(len(text)) if text.startswith(b";\n", at)]
    for at in (ends[len(ends) // 3], ends[len(ends) // 2], ends[-12]):
        whole = (site.backups / f"{made}.zip").read_bytes(), (site.backups / f"{made}.json").read_bytes()
        repack(site.backups, made, {"database.sql": (text[at + 2 :], b"")})
        failed(site, made, scratch)
        (site.backups / f"{made}.zip").write_bytes(whole[0])
        (site.backups / f"{made}.json").write_bytes(whole[1])
        (site.backups / f"{made}.failed.json").unlink()
