from __future__ import annotations

from typing import Any

import pytest
import redis
from flask import Flask

from bext_otel.catalogue import CACHE_BYTES, CACHE_DURATION, CACHE_ENTRIES
from bext_otel_instrumentors.cache.flask_caching.instrumentor import FlaskCachingInstrumentor, invalidating
from tests.instrumentors.caching import app as work_of
from tests.instrumentors.caching import (
    cached_by,
    evictions,
    flask_caching_or_skip,
    gauges,
    invalidations,
    lookups,
    names,
    records,
)
from tests.instrumentors.conftest import Telemetry
from tests.instrumentors.redis_server import redis_server
from tests.waiting import until

flask_caching = flask_caching_or_skip()
Cache, SimpleCache = flask_caching.Cache, flask_caching.SimpleCache

LAYERS = {"SimpleCache": "fragment", "page:*": "isr", f"{__name__}.site.*": "layout"}


instrumented = cached_by(FlaskCachingInstrumentor, layers=LAYERS)


class Site:
    """An application with cached functions."""

    def __init__(self, kind: str = "SimpleCache", **settings: Any) -> None:
        self.app = Flask(__name__)
        self.cache = Cache(self.app, config={"CACHE_TYPE": kind, "CACHE_NO_NULL_WARNING": True, **settings})
        self.calls: list[Any] = []


def site(**settings: Any) -> Site:
    one = Site(**settings)

    @one.app.get("/view")
    @one.cache.cached()
    def view() -> str:
        one.calls.append("view")
        return "seen"

    @one.app.get("/asynchronous")
    @one.cache.cached()
    async def asynchronous() -> str:
        one.calls.append("asynchronous")
        return "seen later"

    @one.app.get("/never")
    @one.cache.cached(unless=lambda: True)
    def never() -> str:
        return "fresh"

    @one.app.get("/fail")
    @one.cache.cached()
    def fail() -> str:
        raise LookupError("lost")

    @one.cache.memoize(50)
    def square(number: int) -> int:
        one.calls.append(number)
        return number * number

    one.square = square  # type: ignore[attr-defined]
    one.view = view  # type: ignore[attr-defined]
    return one


def test_every_lookup_is_a_hit_or_a_miss_and_timed(instrumented: Telemetry) -> None:
    one = site()
    with one.app.app_context():
        one.cache.set("a", 1)
        assert 1 == one.cache.get("a")
        assert one.cache.get("b") is None
        assert [1, None] == one.cache.get_many("a", "b")
        assert {"a": 1} == one.cache.get_dict("a")
        assert one.cache.has("a")
    assert (3, 2) == lookups(instrumented, "fragment")
    assert {("shop", "fragment", "lookup"): 4, ("shop", "fragment", "store"): 1} == instrumented.counts(
        CACHE_DURATION
    )


def test_keys_may_name_the_layer(instrumented: Telemetry) -> None:
    one = site()
    with one.app.app_context():
        one.cache.get("page:/about")
    assert (0, 1) == lookups(instrumented, "isr")


def test_a_view_is_a_lookup_and_its_function_a_load(instrumented: Telemetry) -> None:
    client = site().app.test_client()
    assert ["seen", "seen"] == [client.get("/view").text for _ in range(2)]
    assert (1, 1) == lookups(instrumented, "layout")
    assert ["bext.cache.load"] == names(instrumented)


def test_an_asynchronous_view_too(instrumented: Telemetry) -> None:
    client = site().app.test_client()
    assert ["seen later", "seen later"] == [client.get("/asynchronous").text for _ in range(2)]
    assert (1, 1) == lookups(instrumented, "layout")
    assert ["bext.cache.load"] == names(instrumented)


def test_a_memoized_function_is_counted_without_the_librarys_own_keys(instrumented: Telemetry) -> None:
    one = site()
    with one.app.app_context():
        assert [9, 9, 16] == [one.square(number) for number in (3, 3, 4)]
    assert (1, 2) == lookups(instrumented, "layout")
    assert ["bext.cache.load"] * 2 == names(instrumented)


def test_what_leaves_the_cache_out_is_neither(instrumented: Telemetry) -> None:
    one = site()
    assert "fresh" == one.app.test_client().get("/never").text
    with one.app.app_context():
        one.cache.get("a")
    assert (0, 1) == lookups(instrumented, "fragment")
    assert [] == names(instrumented)


def test_a_load_that_fails_is_a_failed_span(instrumented: Telemetry) -> None:
    assert 500 == site().app.test_client().get("/fail").status_code
    (span,) = (span for span in instrumented.spans() if span.name == "bext.cache.load")
    assert "LookupError" == span.attributes["error.type"]


def test_deletes_are_by_path_and_what_drops_many_is_by_tag(instrumented: Telemetry) -> None:
    one = site()
    with one.app.app_context():
        one.cache.set_many({"a": 1, "b": 2, "c": 3, "d": 4})
        one.cache.delete("a")
        one.cache.delete_many("b", "missing")
        one.cache.delete("missing")
        one.square(2)
        one.cache.delete_memoized(one.square, 2)
        one.cache.delete_memoized(one.square)
        with invalidating("tag"):
            one.cache.delete("c")
        one.cache.clear()
    counted = invalidations(instrumented)
    assert 3 == counted["path"]
    assert counted["tag"] >= 2


@pytest.mark.parametrize("decorator", ["cached", "memoize"])
def test_a_none_that_was_stored_is_a_hit(instrumented: Telemetry, decorator: str) -> None:
    """As the library counts it: it asks whether the None was stored."""
    one = site()
    cached = (
        one.cache.cached(cache_none=True, key_prefix="none")
        if decorator == "cached"
        else one.cache.memoize(cache_none=True)
    )

    @cached
    def nothing() -> None:
        one.calls.append("nothing")

    with one.app.test_request_context("/"):
        assert [None] * 4 == [nothing() for _ in range(4)]
    assert ["nothing"] == one.calls
    assert (3, 1) == lookups(instrumented, "fragment")
    assert 1 == names(instrumented).count("bext.cache.load")


@pytest.mark.parametrize("decorator", ["cached", "memoize"])
def test_a_value_that_is_stale_is_a_miss_and_made_anew(instrumented: Telemetry, decorator: str) -> None:
    one = site()
    options = {"is_stale": lambda value: one.square(3) and value == "1"}
    cached = (
        one.cache.cached(key_prefix="page", **options)
        if decorator == "cached"
        else one.cache.memoize(**options)
    )

    @cached
    def page() -> str:
        one.calls.append("page")
        return str(one.calls.count("page"))

    with one.app.test_request_context("/"):
        one.square(3)
        before = lookups(instrumented, "fragment"), lookups(instrumented, "layout")
        assert ["1", "2", "2"] == [page() for _ in range(3)]
    assert (1, 2) == _new(before[0], lookups(instrumented, "fragment"))
    assert (2, 0) == _new(before[1], lookups(instrumented, "layout"))


def _new(before: tuple[int, int], now: tuple[int, int]) -> tuple[int, int]:
    return now[0] - before[0], now[1] - before[1]


def test_a_check_for_staleness_that_fails_makes_a_miss(instrumented: Telemetry) -> None:
    one = site()

    def fail(value: str) -> bool:
        raise LookupError("lost")

    @one.cache.memoize(is_stale=fail)
    def page() -> str:
        return "page"

    with one.app.test_request_context("/"):
        assert ["page"] * 2 == [page(), page()]
    assert (0, 2) == lookups(instrumented, "fragment")


@pytest.mark.parametrize(
    ("kind", "entries"), [("SimpleCache", 3), ("FileSystemCache", 3), ("NullCache", None)]
)
def test_what_a_clear_drops_is_counted(
    instrumented: Telemetry, tmp_path: Any, kind: str, entries: int | None
) -> None:
    one = site(kind=kind, CACHE_DIR=str(tmp_path), CACHE_THRESHOLD=100)
    with one.app.app_context():
        one.cache.set_many({"a": 1, "b": 2, "c": 3})
        one.cache.clear()
    assert ({"tag": entries} if entries else {}) == invalidations(instrumented)
    assert ([entries] if entries else []) == [
        record["entries"] for record in records(instrumented, "cache invalidated")
    ]


def test_a_clear_that_nobody_can_count_is_told_without_a_number(
    instrumented: Telemetry, tmp_path: Any
) -> None:
    one = site(kind="FileSystemCache", CACHE_DIR=str(tmp_path), CACHE_THRESHOLD=0)
    with one.app.app_context():
        one.cache.set("a", 1)
        one.cache.clear()
    assert {} == invalidations(instrumented)
    (record,) = records(instrumented, "cache invalidated")
    assert {"app": "shop", "layer": "unknown", "cache": "FileSystemCache", "method": "tag"} == record


def test_what_makes_room_is_evicted_and_what_is_too_old_collected(instrumented: Telemetry) -> None:
    one = site(CACHE_THRESHOLD=3)
    with one.app.app_context():
        for number in range(6):
            one.cache.set(f"{number}", number)
        assert 2 == evictions(instrumented)
        assert {} == invalidations(instrumented)
        one.cache.clear()
        for number in range(5):
            one.cache.set(f"{number}", number, timeout=-100)
    assert 2 == evictions(instrumented)


def test_entries_and_bytes_of_the_memory_backend(instrumented: Telemetry) -> None:
    one = site()
    with one.app.app_context():
        one.cache.set("a", "x" * 1000)
    assert {("shop", "fragment"): 1} == gauges(instrumented, CACHE_ENTRIES)
    (size,) = gauges(instrumented, CACHE_BYTES).values()
    assert 1000 < size < 1100


def test_entries_and_bytes_of_files_are_those_of_their_directory(
    instrumented: Telemetry, tmp_path: Any
) -> None:
    """From the first use on, and without the file that counts the others."""
    one = site(kind="FileSystemCache", CACHE_DIR=str(tmp_path), CACHE_THRESHOLD=100)
    assert {} == gauges(instrumented, CACHE_ENTRIES)
    with one.app.app_context():
        one.cache.set_many({"a": "x" * 100, "b": "y" * 10})
        count = one.cache.cache._get_filename("__wz_cache_count")
    size = sum(file.stat().st_size for file in tmp_path.iterdir() if str(file) != count)
    assert {("shop", "unknown"): 2} == gauges(instrumented, CACHE_ENTRIES)
    assert {("shop", "unknown"): size} == gauges(instrumented, CACHE_BYTES)


def test_entries_and_bytes_of_a_redis_are_those_of_keys_with_its_prefix(telemetry: Telemetry) -> None:
    with redis_server() as port, redis.Redis(port=port) as client:
        client.set("queue:a", "of no cache")
        FlaskCachingInstrumentor().instrument(
            layers={"RedisCache": "layout"}, redis_seconds=0.05, skip_dep_check=True
        )
        try:
            one = site(kind="RedisCache", CACHE_REDIS_PORT=port)
            with work_of(), one.app.app_context():
                one.cache.set_many({"a": "x" * 100, "b": "y" * 10})
            until(
                lambda: {("shop", "layout"): 2} == gauges(telemetry, CACHE_ENTRIES),
                why="the entries that the Redis holds",
            )
            size = sum(client.memory_usage(f"flask_cache_{key}") for key in "ab")
            assert {("shop", "layout"): size} == gauges(telemetry, CACHE_BYTES)
        finally:
            FlaskCachingInstrumentor().uninstrument()
        assert {} == gauges(telemetry, CACHE_ENTRIES)


def test_bytes_of_a_big_backend_are_those_of_a_sample(instrumented: Telemetry) -> None:
    one = site(CACHE_THRESHOLD=50_000)
    with one.app.app_context():
        for number in range(25_001):
            one.cache.cache._cache[str(number)] = (0, b"x" * (100 if number % 2 else 300))
    assert {("shop", "fragment"): 25_001} == gauges(instrumented, CACHE_ENTRIES)
    assert {("shop", "fragment"): pytest.approx(200 * 25_001, rel=0.05)} == gauges(instrumented, CACHE_BYTES)


def test_a_null_cache_misses(instrumented: Telemetry) -> None:
    one = site(kind="NullCache")
    with one.app.app_context():
        one.cache.set("a", 1)
        assert one.cache.get("a") is None
    assert (0, 1) == lookups(instrumented, "unknown")


def test_what_was_patched_is_put_back() -> None:
    before = dict(vars(Cache)), dict(vars(SimpleCache))
    FlaskCachingInstrumentor().instrument(skip_dep_check=True)
    assert before != (dict(vars(Cache)), dict(vars(SimpleCache)))
    FlaskCachingInstrumentor().uninstrument()
    assert before == (dict(vars(Cache)), dict(vars(SimpleCache)))


def outcomes(kind: str, directory: str) -> list[Any]:
    one = site(kind=kind, CACHE_DIR=directory, CACHE_THRESHOLD=100)
    client = one.app.test_client()
    found: list[Any] = [
        (answer.status, answer.text)
        for path in ("/view", "/view", "/asynchronous", "/never")
        for answer in [client.get(path)]
    ]
    found.append((one.view.__name__, one.view.cache_timeout, one.square.make_cache_key.__name__))
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
        ("set", ("a", 1), {"timeout": 5}),
        ("get", ("a",), {}),
        ("get", (), {}),
        ("get", ([],), {}),
        ("add", ("a", 2), {}),
        ("add", ("b", 2), {}),
        ("has", ("b",), {}),
        ("get_many", ("a", "b", "c"), {}),
        ("get_dict", ("a", "c"), {}),
        ("set_many", ({"d": 4},), {}),
        ("set", ("unpicklable", lambda: 1), {}),
        ("delete", ("a",), {}),
        ("delete", ("a",), {}),
        ("delete_many", ("b", "missing"), {}),
        ("unlink", ("d",), {}),
        ("delete_memoized", (one.square,), {}),
        ("delete_memoized", (one.square, 2), {}),
        ("delete_memoized", ("square",), {}),
        ("clear", (), {}),
        ("no_such_method", (), {}),
    ]
    with one.app.test_request_context("/view"):
        for method, args, kwargs in calls:
            try:
                found.append(getattr(one.cache, method)(*args, **kwargs))
            except Exception as error:
                found.append((type(error), str(error)))
        found.extend(one.square(number) for number in (2, 2, 3))
        one.cache.delete_memoized(one.square)
        found.extend(one.square(number) for number in (2, 2, 3))
    return [*found, one.calls]


@pytest.mark.parametrize("kind", ["SimpleCache", "FileSystemCache", "NullCache"])
def test_every_call_gives_what_it_gives_without_us(telemetry: Telemetry, tmp_path: Any, kind: str) -> None:
    without = outcomes(kind, str(tmp_path / "1"))
    FlaskCachingInstrumentor().instrument(layers=LAYERS, skip_dep_check=True)
    try:
        assert without == outcomes(kind, str(tmp_path / "2"))
    finally:
        FlaskCachingInstrumentor().uninstrument()
