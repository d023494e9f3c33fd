"""An instance with an event that is enabled goes round by the commands, and the event runs on."""

from pathlib import Path

from tests.support.cli import make_site
from tests.support.servers import Server


def test_an_enabled_event_comes_back_enabled(tmp_path: Path, server: Server) -> None:
    site = make_site(tmp_path, server, rights="ALL PRIVILEGES")
    try:
        site.sql("CREATE EVENT tidy ON SCHEDULE EVERY 1 YEAR STARTS '2035-01-01' DO DELETE FROM kimai2_sessions")
        site.backup()
        site.remember()
        site.lose_all()
        ran = site.run("restore", "latest")
        assert ran.code == 0, ran.said
        site.assert_restored()
        [(status,)] = site.sql("SELECT STATUS FROM information_schema.EVENTS WHERE EVENT_NAME = 'tidy'")
        assert status == "ENABLED"
    finally:
        site.end()
