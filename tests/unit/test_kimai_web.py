"""The login page as a test of Kimai: 200 or a failure, asked directly, and no password shown."""

import base64
import socket
import threading

import pytest

from sidecar.errors import Exit, Unreachable
from sidecar.kimai.web import check_login
from tests.support.servers import free_port
from tests.support.web import serving


@pytest.mark.parametrize("end", ["", "/", "/time/"])
def test_a_login_page_that_answers(end: str) -> None:
    with serving() as web:
        check_login(f"http://127.0.0.1:{web.port}{end}")
    assert web.paths == [f"{end.rstrip('/')}/en/login"]
    assert "authorization" not in web.asked[0][1]


@pytest.mark.parametrize("status", [204, 401, 404, 500, 503])
def test_any_other_answer_is_a_failure(status: int) -> None:
    with serving() as web:
        web.status = status
        with pytest.raises(Unreachable, match=f"/en/login answers {status}") as caught:
            check_login(f"http://127.0.0.1:{web.port}")
    assert caught.value.exit_code is Exit.UNREACHABLE


def test_nobody_listens() -> None:
    with pytest.raises(Unreachable, match="does not answer"):
        check_login(f"http://127.0.0.1:{free_port()}")


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH_9.9\r\n", b"HTTP/1.1 banana\r\n\r\n"])
def test_somebody_listens_who_is_no_web_server(said: bytes) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(Unreachable, match="does not answer"):
            check_login(f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread.join(10)


@pytest.mark.parametrize("port", ["1", "99999", "nonsense"])
def test_a_password_in_the_url_is_shown_nowhere(port: str) -> None:
    with pytest.raises(Unreachable) as caught:
        check_login(f"http://admin:s3cr%40t@127.0.0.1:{port}/kimai?token=t0ken")
    assert not any(secret in str(caught.value) for secret in ("s3cr", "admin", "t0ken"))


def test_a_password_in_the_url_is_sent_to_its_host_alone() -> None:
    with serving() as web, serving() as elsewhere:
        check_login(f"http://admin:s3cr%40t@127.0.0.1:{web.port}")
        web.status, web.headers = 302, {"Location": f"http://127.0.0.1:{elsewhere.port}/login"}
        check_login(f"http://admin:s3cr%40t@127.0.0.1:{web.port}")
    expected = "Basic " + base64.b64encode(b"admin:s3cr@t").decode()
    assert [headers["authorization"] for _, headers in web.asked] == [expected, expected]
    assert [(path, "authorization" in headers) for path, headers in elsewhere.asked] == [("/login", False)]


def test_a_proxy_in_the_environment_is_not_for_kimai(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as web, serving() as proxy:
        proxy.status = 502
        for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        check_login(f"http://127.0.0.1:{web.port}")
    assert proxy.asked == []
    assert web.paths == ["/en/login"]
