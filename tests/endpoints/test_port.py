from __future__ import annotations

import errno
import socket
import sys

import pytest

from bext_otel.endpoints.port import is_loopback, listen, take_word


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
