"""Fragments of pages in a Redis, and where there is none."""

from __future__ import annotations

import logging
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis

from bext_demo.fragments import Fragments
from bext_demo.settings import Settings
from tests.e2e.launching import samples
from tests.examples.serving import served
from tests.instrumentors.redis_server import port_of_redis, redis_server
from tests.waiting import until

port = port_of_redis()


@pytest.fixture
def fragments(port: int) -> Iterator[Fragments]:
    found = Fragments(f"redis://127.0.0.1:{port}/0")
    found.start()
    assert found.kept
    yield found
    found.close()


class Maker:
    """Counts how often a fragment is made."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> str:
        self.times += 1
        return f"<b>é {self.times}</b>"


def test_a_fragment_is_made_once_until_it_is_dropped(fragments: Fragments) -> None:
    make = Maker()
    assert ["<b>é 1</b>"] * 2 == [fragments.get("prices", make) for _ in range(2)]
    fragments.drop("prices")
    assert "<b>é 2</b>" == fragments.get("prices", make)


def test_fragments_are_the_platform_s_own_and_gone_within_seconds(fragments: Fragments, port: int) -> None:
    other = Fragments(f"redis://127.0.0.1:{port}/0")
    other.start()
    fragments.get("own", lambda: "a")
    assert "b" == other.get("own", lambda: "b"), "of another database"
    other.close()
    with redis.Redis(port=port) as client:
        keys = list(client.scan_iter("bext-demo:fragment:*:own"))
        assert 2 == len(keys)
        assert all(0 < client.ttl(key) <= 5 for key in keys)


def nobody() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"redis://127.0.0.1:{probe.getsockname()[1]}/0"


def test_without_a_redis_each_is_made_and_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    make = Maker()
    for url in (None, nobody()):
        fragments = Fragments(url)
        fragments.start()
        fragments.drop("prices")
        assert not fragments.kept
        fragments.get("prices", make)
        fragments.get("prices", make)
        fragments.close()
    assert (4, []) == (make.times, caplog.records)


def test_without_redis_py_each_is_made(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    fragments = Fragments(f"redis://127.0.0.1:{port}/0")
    fragments.start()
    assert not fragments.kept


def test_somebody_who_is_no_redis_and_says_nothing_costs_less_than_a_second() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        fragments = Fragments(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        started = time.monotonic()
        fragments.start()
        assert time.monotonic() - started < 1
        assert not fragments.kept


def test_a_redis_that_goes_is_asked_no_more(caplog: pytest.LogCaptureFixture) -> None:
    make = Maker()
    with redis_server() as port:
        fragments = Fragments(f"redis://127.0.0.1:{port}/0")
        fragments.start()
        fragments.get("prices", make)
    with caplog.at_level(logging.WARNING, "bext_demo.fragments"):
        assert "<b>é 2</b>" == fragments.get("prices", make)
        assert "<b>é 3</b>" == fragments.get("prices", make)
    assert 1 == len(caplog.records)
    assert not fragments.kept


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, "redis://127.0.0.1:6379/0"),
        ({"BEXT_DEMO_REDIS": ""}, None),
        ({"BEXT_DEMO_REDIS": "redis://127.0.0.1:7000/2"}, "redis://127.0.0.1:7000/2"),
    ],
)
def test_the_environment_names_the_redis(environ: dict[str, str], url: str | None) -> None:
    assert url == Settings.from_environment(environ).redis_url


@pytest.mark.parametrize(
    "raw",
    [
        "here",
        "127.0.0.1:6379",
        "http://127.0.0.1/",
        "redis://",
        "redis://127.0.0.1:port",
        "redis://127.0.0.1:70000",
    ],
)
def test_an_address_that_is_none_is_named(raw: str) -> None:
    with pytest.raises(ValueError, match="BEXT_DEMO_REDIS"):
        Settings.from_environment({"BEXT_DEMO_REDIS": raw})


@pytest.mark.e2e
def test_the_dashboard_s_fragment_is_a_cache_of_its_layer(tmp_path: Path, port: int) -> None:
    with served(tmp_path, telemetry=True, env={"BEXT_DEMO_REDIS": f"redis://127.0.0.1:{port}/0"}) as platform:
        with httpx.Client(base_url=platform.url, trust_env=False, timeout=30) as visitor:

            def counted(name: str) -> float:
                text = httpx.get(f"{platform.endpoints_url}/metrics", trust_env=False, timeout=30).text
                return sum(
                    value
                    for series, value in samples(text).items()
                    if series.startswith(f'bext_cache_{name}_total{{app="dashboard"')
                    and 'layer="fragment"' in series
                )

            assert "Guji" in visitor.get("/dashboard/").text
            visitor.get("/dashboard/")
            visitor.post("/dashboard/products/guji-natural/price", data={"price": "17.35"})
            assert "17.35" in visitor.get("/dashboard/").text, "not as it was kept"
            until(lambda: counted("misses") >= 2 and counted("hits") >= 1, why="lookups of fragments")
