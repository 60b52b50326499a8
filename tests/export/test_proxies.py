"""Which proxy a request goes through."""

from __future__ import annotations

import pytest

from bext_otel.export.proxies import Proxy, basic, proxy_for

URL = "https://collector.example:4318/v1/traces"


@pytest.mark.parametrize(
    ("url", "environ", "host"),
    [
        (URL, {}, None),
        (URL, {"https_proxy": "http://p:1"}, "p"),
        (URL, {"HTTPS_PROXY": "p:1"}, "p"),
        (URL, {"https_proxy": "http://p:1", "HTTPS_PROXY": "http://q:1"}, "p"),
        (URL, {"https_proxy": "", "HTTPS_PROXY": "http://q:1"}, None),
        (URL, {"http_proxy": "http://p:1"}, None),
        (URL, {"all_proxy": "http://p:1"}, "p"),
        ("http://a/", {"HTTP_PROXY": "http://p:1"}, "p"),
        ("http://a/", {"HTTP_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, None),
    ],
)
def test_a_proxy_is_that_of_the_scheme(url: str, environ: dict[str, str], host: str | None) -> None:
    found = proxy_for(url, environ)
    assert host == (found and found.host)


@pytest.mark.parametrize(
    ("url", "no_proxy", "direct"),
    [
        (URL, "*", True),
        (URL, "example", True),
        (URL, ".example", True),
        (URL, "*.example", True),
        (URL, "collector.example", True),
        (URL, "COLLECTOR.example", True),
        (URL, "other, collector.example:4318", True),
        (URL, "collector.example:80", False),
        (URL, "lector.example", False),
        (URL, "example.collector", False),
        (URL, ",", False),
        ("http://10.1.2.3/", "10.0.0.0/8", True),
        ("http://10.1.2.3:8/", "10.1.2.3:8", True),
        ("http://10.1.2.3/", "11.0.0.0/8", False),
        ("http://[fe80::1]/", "fe80::/10", True),
        ("http://[::1]:7/", "[::1]:7", True),
        ("http://[::1]:7/", "::1", True),
    ],
)
def test_some_hosts_are_asked_directly(url: str, no_proxy: str, direct: bool) -> None:
    assert direct == (proxy_for(url, {"all_proxy": "http://p:1", "no_proxy": no_proxy}) is None)


def test_a_proxy_may_want_words() -> None:
    assert Proxy("p", 80, basic("me", "a:b")) == proxy_for(URL, {"https_proxy": "http://me:a%3Ab@p"})
    assert "Basic bWU6YTpi" == basic("me", "a:b")


def test_a_proxy_that_is_none_of_http_is_told_without_its_address() -> None:
    with pytest.raises(ValueError, match="https_proxy names a proxy that is spoken to by socks5") as raised:
        proxy_for(URL, {"https_proxy": "socks5://me:secret@p:1080"})
    assert "secret" not in str(raised.value)
