"""A restore over a Kimai in use: saved first, replaced, and after any failure or kill wholly the new or the old one."""

from tests.support.cli import Site


def test_a_kimai_in_use_is_replaced_and_its_safety_backup_can_be_gone_back_to(site: Site) -> None:
    old = site.backup()
    site.remember()
    restored = site.remembered
    site.sql("INSERT INTO kimai2_tags (name) VALUES ('since the backup')")
    (site.root / "var/data/since.pdf").write_bytes(b"since the backup")
    site.remember()
    in_use = site.remembered
    refused = site.run("restore", old)
    assert refused.code == 8
    assert "--replace" in refused.errors[0]
    ran = site.run("restore", old, "--replace")
    assert ran.code == 0, ran.said
    site.remembered = restored
    site.assert_restored()
    [safety] = [each for each in site.ids() if each.endswith("_safety")]
    assert safety in ran.out
    ran = site.run("restore", safety, "--replace")
    assert ran.code == 0, ran.said
    site.remembered = in_use
    site.assert_restored()
