from __future__ import annotations

import http.client
import shutil
import socket
import ssl
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from bext_otel.listener.server import Listener
from bext_otel.listener.tls import TLS
from tests.listener.serving import NOW, Application, client, received, served, status

HERE = Path(__file__).parent
CERTIFICATE, KEY = str(HERE / "certificate.pem"), str(HERE / "key.pem")
"""Of localhost, for these tests only."""

RENEWAL = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
RENEWAL += ["-addext", "subjectAltName=DNS:localhost"]


def ask(listener: Listener, certificate: str = CERTIFICATE, path: str = "/now") -> bytes:
    trusting = ssl.create_default_context(cafile=certificate)
    connection = http.client.HTTPSConnection("localhost", listener.port, timeout=10, context=trusting)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/now", "/hangs"])
def test_it_is_spoken_with_a_certificate_and_its_key(path: str) -> None:
    application = Application(body=b"x" * 3_000_000)
    application.go.set()
    with served(application, tls=TLS(CERTIFICATE, KEY)) as listener:
        assert application.body == ask(listener, path=path)
    assert "https" == application.asked[0]["wsgi.url_scheme"]


def test_requests_that_came_in_one_record_are_all_answered() -> None:
    trusting = ssl.create_default_context(cafile=CERTIFICATE)
    with (
        served(Application(), tls=TLS(CERTIFICATE, KEY)) as listener,
        socket.create_connection(("127.0.0.1", listener.port), 10) as plain,
        trusting.wrap_socket(plain, server_hostname="localhost") as sock,
    ):
        sock.sendall(NOW * 3)
        assert 3 == received(sock, answers=3).count(b"HTTP/1.1 200 OK")


def test_who_does_not_speak_it_or_never_ends_to_greet_holds_up_nobody() -> None:
    with served(Application(), tls=TLS(CERTIFICATE, KEY), head_seconds=0.3) as listener:
        with client(listener, NOW) as sock:
            with suppress(ConnectionError):
                assert 200 != status(received(sock))
            assert b"hello" == ask(listener)
        with client(listener, b"\x16\x03\x01\x02\x00") as sock:
            assert b"hello" == ask(listener)
            with suppress(ConnectionError):
                assert b"" == sock.recv(1)


def test_a_renewed_certificate_is_taken(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    shutil.copy(CERTIFICATE, certificate)
    shutil.copy(KEY, key)
    with served(Application(), tls=TLS(str(certificate), str(key))) as listener:
        assert b"hello" == ask(listener)
        certificate.write_text("half of a")
        assert b"hello" == ask(listener)
        subprocess.run(
            [*RENEWAL, "-keyout", key, "-out", certificate],
            check=True,
            capture_output=True,
        )
        assert b"hello" == ask(listener, str(certificate))
        with pytest.raises(ssl.SSLError):
            ask(listener)


@pytest.mark.parametrize("files", [("/no/such", KEY), (CERTIFICATE, CERTIFICATE), (KEY, KEY)])
def test_files_that_do_not_make_a_pair_are_an_error(files: tuple[str, str]) -> None:
    with pytest.raises(OSError, match=r".+"):
        TLS(*files)
