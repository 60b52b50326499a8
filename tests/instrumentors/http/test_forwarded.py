"""What trusted proxies say of a client, and what nobody may say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bext_otel.trust import trusted_proxies
from bext_otel_instrumentors.http.asgi import ASGIMiddleware
from bext_otel_instrumentors.http.forwarded import told_by_proxies
from bext_otel_instrumentors.http.wsgi import WSGIMiddleware
from tests.instrumentors.conftest import Telemetry
from tests.instrumentors.driving import ask, ask_wsgi
from tests.instrumentors.test_trusted_parents import hello, wsgi_hello

OWN = trusted_proxies(("10.0.0.0/8", "192.0.2.7", "fd00::/8"))
ALL = trusted_proxies(("all",))


def told(address: str = "10.0.0.1", /, trusts: Any = OWN, **headers: str) -> Any:
    return told_by_proxies(
        {name.replace("_", "-"): [value] for name, value in headers.items()}, address, trusts
    )


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ("for=198.51.100.3;proto=https;host=shop.example", ("https", "shop.example", ("198.51.100.3", None))),
        ('For="[2001:db8::17]:4711" ; Proto=HTTPS', ("https", "", ("2001:db8::17", 4711))),
        # The client's own invention stands left of what the first proxy wrote.
        ("for=1.1.1.1;host=evil.example, for=198.51.100.3;host=a, for=10.0.0.2", ("", "a", ("198.51.100.3", None))),
        ("for=198.51.100.3;host=evil.example, for=10.0.0.3, for=10.0.0.2;host=b", ("", "evil.example", ("198.51.100.3", None))),
        ("for=10.0.0.3, for=10.0.0.2", ("", "", ("10.0.0.3", None))),
        ("for=1.1.1.1, for=unknown, for=10.0.0.2", ("", "", ("10.0.0.2", None))),
        ("for=1.1.1.1, for=_hidden", ("", "", None)),
        ('for=1.1.1.1, for="198.51.100.3', ("", "", None)),
        ('for=1.1.1.1;host="a,b;c", for=10.0.0.2', ("", "a,b;c", ("1.1.1.1", None))),
        ("for=198.51.100.3;proto=javascript", ("", "", ("198.51.100.3", None))),
        ("", ("", "", None)),
    ],
)  # fmt: skip
def test_forwarded_counts_as_far_as_those_who_wrote_it_are_trusted(forwarded: str, expected: Any) -> None:
    assert expected == told(forwarded=forwarded)
    # And only that, where there are both.
    assert expected == told(forwarded=forwarded, x_forwarded_for="9.9.9.9", x_forwarded_host="evil.example")


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        ("198.51.100.3", ("198.51.100.3", None)),
        ("1.1.1.1, 198.51.100.3, 10.0.0.2", ("198.51.100.3", None)),
        ("1.1.1.1,198.51.100.3:80", ("198.51.100.3", 80)),
        ("2001:db8::17, fd00::1", ("2001:db8::17", None)),
        ("1.1.1.1, junk", None),
        (", ".join(["1.1.1.1"] + ["10.0.0.2"] * 40), ("10.0.0.2", None)),
    ],
)
def test_so_does_x_forwarded_for(chain: str, client: Any) -> None:
    assert ("https", "shop.example", client) == told(
        x_forwarded_for=chain, x_forwarded_proto="http, https", x_forwarded_host="evil.example, shop.example"
    )


@pytest.mark.parametrize("address", ["198.51.100.9", "", "/run/shop.sock"])
def test_nobody_else_s_word_counts(address: str) -> None:
    assert ("", "", None) == told(address, forwarded="for=1.1.1.1;host=a;proto=https")
    assert ("", "a", ("1.1.1.1", None)) == told(address, ALL, forwarded="for=1.1.1.1;host=a")


@given(st.text(alphabet='for=;," \\[]:1a.proto\t\x00é', max_size=80))
def test_nothing_that_is_sent_raises(text: str) -> None:
    told(forwarded=text)
    told(x_forwarded_for=text)


KINDS = pytest.mark.parametrize("kind", ["asgi", "wsgi"])
SAID = [("Forwarded", "for=198.51.100.3;host=www.shop.example;proto=https")]
NAMES = ("client.address", "client.port", "network.peer.address", "network.peer.port", "server.address",
         "server.port", "url.scheme")  # fmt: skip


def shown(
    telemetry: Telemetry, kind: str, path: str = "/", headers: Any = SAID, **more: Any
) -> tuple[Any, ...]:
    if kind == "asgi":
        ask(ASGIMiddleware(hello), path, headers=headers, **more)
    else:
        ask_wsgi(WSGIMiddleware(wsgi_hello), path, headers=headers, **more)
    attributes = telemetry.server().attributes
    telemetry.clear()
    return tuple(attributes.get(name) for name in (*NAMES, "url.path"))


@KINDS
def test_a_span_has_the_client_by_a_trusted_proxy_and_the_socket_s_peer(
    use_telemetry: Callable[..., Telemetry], kind: str
) -> None:
    peer = ("192.0.2.7", 4711)
    assert ("198.51.100.3", None, *peer, "www.shop.example", 443, "https", "/") == shown(
        use_telemetry(proxies=OWN), kind
    )
    plain = (*peer, *peer, "shop.example", 8000, "http", "/")
    assert plain == shown(use_telemetry(proxies=trusted_proxies(("10.0.0.0/8",))), kind)
    assert plain == shown(use_telemetry(), kind)


def test_an_address_that_a_server_has_from_a_header_is_no_peer_s(telemetry: Telemetry) -> None:
    """As uvicorn tells it behind a proxy on loopback."""
    assert ("198.51.100.3", None, None, None) == shown(telemetry, "asgi", client=("198.51.100.3", 0))[:4]


@KINDS
def test_a_target_in_absolute_form_has_its_path(telemetry: Telemetry, kind: str) -> None:
    for path, expected in (
        ("http://shop.example/a/b", "/a/b"),
        ("http://shop.example", "/"),
        ("/go/http://other.example/x", "/go/http://other.example/x"),
        ("*", "*"),
    ):
        assert expected == shown(telemetry, kind, path, ())[-1]
