from __future__ import annotations

import contextlib
import errno
import socket
import sys
import threading
from collections.abc import Iterator

import pytest

from bext_otel.endpoints.port import holder, is_loopback, listen, take_word


def test_a_port_is_never_shared() -> None:
    with listen("127.0.0.1", 0) as sock:
        assert 0 == sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
        assert not sock.get_inheritable()
        with pytest.raises(OSError, match="in use") as refused:
            listen("127.0.0.1", sock.getsockname()[1])
        assert errno.EADDRINUSE == refused.value.errno


def test_ipv4_goes_first_where_a_name_has_both() -> None:
    with listen("localhost", 0) as sock:
        assert "127.0.0.1" == sock.getsockname()[0]


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A program that answers one connection with these bytes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def once() -> None:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(answer)

        thread = threading.Thread(target=once)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize(
    ("answer", "who"),
    [
        (b"HTTP/1.1 200 OK\r\nServer: bext-otel\r\nX-Bext-Otel-Service: k3y\r\n\r\n", "sibling"),
        (b"HTTP/1.1 200 OK\r\nX-Bext-Otel-Service: 0ther\r\n\r\n", "stranger"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "stranger"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "stranger"),
        (b"\xff\xfe" * 20_000, "stranger"),
        (b"", "unknown"),
    ],
)
def test_the_holder_of_a_port_is_told_by_what_it_answers(answer: bytes, who: str) -> None:
    with answering(answer) as port:
        assert who == holder("127.0.0.1", port, "k3y")


def test_who_does_not_answer_is_not_known() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert "unknown" == holder("127.0.0.1", port, "k3y")
    assert "unknown" == holder("127.0.0.1", port, "k3y")


def test_wildcard_addresses_are_asked_on_this_machine() -> None:
    with answering(b"HTTP/1.1 200 OK\r\nX-Bext-Otel-Service: k3y\r\n\r\n") as port:
        assert "sibling" == holder("0.0.0.0", port, "k3y")


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("LocalHost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("example.org", False),
        ("", False),
    ],
)
def test_loopback_is_known(host: str, local: bool) -> None:
    assert local == is_loopback(host)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract sockets")
def test_one_process_speaks_for_all() -> None:
    word = take_word("shop 127.0.0.1:9464 taken")
    assert word is not None
    with word:
        assert None is take_word("shop 127.0.0.1:9464 taken")
        other = take_word("till 127.0.0.1:9464 taken")
        assert other is not None
        other.close()
    again = take_word("shop 127.0.0.1:9464 taken")
    assert again is not None
    again.close()
