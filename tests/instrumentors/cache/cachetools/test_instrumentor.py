from __future__ import annotations

import contextlib
import copy
import gc
import pickle
import sys
import threading
from collections.abc import Mapping
from typing import Any

import cachetools
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry import trace

from bext_otel.catalogue import CACHE_BYTES, CACHE_DURATION, CACHE_ENTRIES
from bext_otel.errors import ConfigError
from bext_otel_instrumentors.cache.cachetools.instrumentor import CachetoolsInstrumentor, assign, invalidating
from tests.instrumentors.caching import (
    app,
    cached_by,
    evictions,
    gauges,
    invalidations,
    lookups,
    names,
    records,
)
from tests.instrumentors.conftest import Telemetry


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


LAYERS = {
    "LRUCache": "isr",
    "FIFOCache": "isr",
    "LFUCache": "isr",
    "RRCache": "isr",
    "TTLCache": "isr",
    "TLRUCache": "isr",
    "Cache": "isr",
    f"{__name__}.*": "fragment",
}


instrumented = cached_by(CachetoolsInstrumentor, layers=LAYERS)


def caches(maxsize: int = 2, clock: Clock | None = None) -> dict[str, Any]:
    clock = clock or Clock()
    return {
        "Cache": cachetools.Cache(maxsize),
        "FIFOCache": cachetools.FIFOCache(maxsize),
        "LFUCache": cachetools.LFUCache(maxsize),
        "LRUCache": cachetools.LRUCache(maxsize),
        "RRCache": cachetools.RRCache(maxsize, choice=lambda keys: sorted(keys)[0]),
        "TTLCache": cachetools.TTLCache(maxsize, 10, timer=clock),
        "TLRUCache": cachetools.TLRUCache(maxsize, lambda key, value, now: now + 10, timer=clock),
    }


KINDS = list(caches())


@pytest.mark.parametrize("kind", KINDS)
def test_every_lookup_is_a_hit_or_a_miss(instrumented: Telemetry, kind: str) -> None:
    cache = caches()[kind]
    cache["a"] = 1
    assert 1 == cache["a"]
    assert 1 == cache.get("a")
    assert cache.get("b") is None
    with pytest.raises(KeyError):
        cache["b"]
    assert (2, 2) == lookups(instrumented, "isr")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_dropped_for_room_is_an_eviction_and_nothing_else(instrumented: Telemetry, kind: str) -> None:
    cache = caches()[kind]
    for number in range(5):
        cache[number] = number
    assert 3 == evictions(instrumented)
    assert {} == invalidations(instrumented)
    assert (0, 0) == lookups(instrumented, "isr")
    assert ["bext.cache.evict"] * 3 == names(instrumented)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_dropped_by_key_or_altogether_is_an_invalidation(instrumented: Telemetry, kind: str) -> None:
    cache = caches(maxsize=9)[kind]
    for number in range(7):
        cache[number] = number
    del cache[0]
    assert 1 == cache.pop(1)
    cache.popitem()
    cache.clear()
    assert {"path": 3, "tag": 4} == invalidations(instrumented)
    assert 0 == evictions(instrumented)
    assert (0, 0) == lookups(instrumented, "isr")


@pytest.mark.parametrize("kind", ["TTLCache", "TLRUCache"])
def test_what_has_expired_is_collected_not_evicted(instrumented: Telemetry, kind: str) -> None:
    clock = Clock()
    cache = caches(clock=clock)[kind]
    cache["a"], cache["b"] = 1, 2
    clock.now = 11
    assert cache.get("a") is None
    cache["c"] = 3
    assert {"gc": 2} == invalidations(instrumented)
    assert 0 == evictions(instrumented)
    assert (0, 1) == lookups(instrumented, "isr")


def test_reading_what_a_cache_holds_leaves_what_has_expired_in_it(instrumented: Telemetry) -> None:
    """`len` of a TTL cache drops entries, which is the application's to do, in its thread."""
    clock = Clock()
    cache = caches(clock=clock)["TTLCache"]
    cache["a"] = 1
    clock.now = 11
    assert {("shop", "isr"): 1} == gauges(instrumented, CACHE_ENTRIES)
    assert {} == invalidations(instrumented)
    assert 0 == len(cache)
    assert {("shop", "isr"): 0} == gauges(instrumented, CACHE_ENTRIES)


def test_bytes_are_those_of_caches_that_measure_their_values(instrumented: Telemetry) -> None:
    sized = cachetools.LRUCache(100, getsizeof=len)
    plain = cachetools.LRUCache(100)
    sized["a"] = plain["a"] = b"12345"
    assert {("shop", "isr"): 2} == gauges(instrumented, CACHE_ENTRIES)
    assert {("shop", "isr"): 5} == gauges(instrumented, CACHE_BYTES)


@pytest.mark.parametrize("size", [float("nan"), "a text", None, -1])
def test_sizes_that_are_none_are_no_bytes(instrumented: Telemetry, size: Any) -> None:
    """Whatever a cache of the application's own answers, reading goes on."""

    class Odd(cachetools.LRUCache):
        def getsizeof(self, value: Any) -> Any:
            return size

    odd = Odd(10)
    with contextlib.suppress(TypeError, ValueError):
        odd["a"] = 1
    assert all(value >= 0 for value in gauges(instrumented, CACHE_BYTES).values())
    assert odd is not None


def test_a_cache_without_its_constructor_is_no_failure_of_the_reading(instrumented: Telemetry) -> None:
    class Bare(cachetools.LRUCache):
        def __init__(self) -> None:
            """Does not call the library's."""

        def __getitem__(self, key: Any, *rest: Any) -> Any:
            raise KeyError(key)

    bare = Bare()
    with pytest.raises(KeyError):
        bare["a"]
    with pytest.raises(AttributeError):
        cachetools.LRUCache.__getitem__(bare, "a")
    with pytest.raises(AttributeError):
        bare.clear()
    assert {} == gauges(instrumented, CACHE_ENTRIES)


def test_caches_are_held_weakly(instrumented: Telemetry) -> None:
    cache = cachetools.LRUCache(10)
    cache["a"] = 1
    del cache
    gc.collect()
    assert {} == gauges(instrumented, CACHE_ENTRIES)


def test_a_function_names_the_cache_that_it_fills(instrumented: Telemetry) -> None:
    cache = cachetools.LRUCache(10)

    @cachetools.cached(cache)
    def page(path: str) -> str:
        return path.upper()

    assert ["A", "A", "B"] == [page("a"), page("a"), page("b")]
    assert (1, 2) == lookups(instrumented, "fragment")
    assert {("shop", "fragment", "store"): 2} == instrumented.counts(CACHE_DURATION)


def test_a_load_is_a_span_and_the_parent_of_what_it_does(instrumented: Telemetry) -> None:
    @cachetools.cached(cachetools.LRUCache(10))
    def page(path: str) -> str:
        with trace.get_tracer_provider().get_tracer("test").start_as_current_span("query"):
            return path

    with instrumented.tracer_provider.get_tracer("test").start_as_current_span("request") as request:
        page("a")
        page("a")
    spans = {span.name: span for span in instrumented.spans()}
    assert ["query", "bext.cache.load", "request"] == names(instrumented)
    assert request.get_span_context().span_id == spans["bext.cache.load"].parent.span_id
    assert spans["bext.cache.load"].context.span_id == spans["query"].parent.span_id
    attributes = dict(spans["bext.cache.load"].attributes)
    assert ("shop", "fragment") == (attributes["bext.app"], attributes["bext.layer"])
    assert attributes["code.function.name"].endswith("page")


def test_a_load_that_fails_is_a_failed_span_and_the_applications_exception(instrumented: Telemetry) -> None:
    @cachetools.cached(cachetools.LRUCache(10))
    def page(path: str) -> str:
        raise LookupError(path)

    with pytest.raises(LookupError, match="lost"):
        page("lost")
    (span,) = instrumented.spans()
    assert "LookupError" == span.attributes["error.type"]


def test_methods_are_loads_too(instrumented: Telemetry) -> None:
    class Site:
        def __init__(self) -> None:
            self.cache = cachetools.LRUCache(10)

        @cachetools.cachedmethod(lambda self: self.cache)
        def page(self, path: str) -> str:
            return path.upper()

    one, other = Site(), Site()
    assert ["A", "A", "A"] == [one.page("a"), one.page("a"), other.page("a")]
    assert (1, 2) == lookups(instrumented, "fragment")
    assert ["bext.cache.load"] * 2 == names(instrumented)


def test_what_a_class_answers_that_makes_missing_values_itself_is_not_counted(
    instrumented: Telemetry,
) -> None:
    """It does not say whether it had the value. What it asks other caches is counted, and what it has not
    even so."""
    plain = cachetools.LRUCache(10)

    class Squares(cachetools.LRUCache):
        def __missing__(self, key: int) -> int:
            if key < 0:
                raise KeyError(key)
            self[key] = plain.get(key, key * key)
            return key * key

    squares = Squares(10)
    assert [4, 4] == [squares[2], squares[2]]
    with pytest.raises(KeyError):
        squares[-1]
    assert (0, 1) == lookups(instrumented, "fragment")
    assert (0, 1) == lookups(instrumented, "isr")


@pytest.mark.parametrize("kind", KINDS)
def test_to_ask_whether_a_value_is_there_is_a_lookup_where_it_is_not(
    instrumented: Telemetry, kind: str
) -> None:
    """After a yes the value itself is looked up, after a no it is stored."""
    cache = caches(maxsize=9)[kind]
    for _ in range(2):
        for number in range(5):
            if number in cache:
                assert number == cache[number]
            else:
                cache[number] = number
    assert (5, 5) == lookups(instrumented, "isr")


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_library_asks_on_its_way_is_no_lookup(instrumented: Telemetry, kind: str) -> None:
    cache = caches(maxsize=9)[kind]
    assert 1 == cache.setdefault("a", 1)
    assert 1 == cache.setdefault("a", 2)
    assert 1 == cache.pop("a")
    assert cache.pop("a", None) is None
    assert (0, 0) == lookups(instrumented, "isr")


class Doubled(cachetools.LRUCache):
    def __getitem__(self, key: Any) -> Any:
        return 2 * super().__getitem__(key)


@pytest.mark.parametrize("kind", [*KINDS, "Doubled"])
def test_going_through_all_that_a_cache_holds_is_no_lookup(instrumented: Telemetry, kind: str) -> None:
    cache = (caches(maxsize=9) | {"Doubled": Doubled(9)})[kind]
    cache["a"] = cache["b"] = 1
    copy = dict(cache.items())
    assert cache == copy
    assert list(copy.values()) == list(cache.values())
    assert "c" not in cache.keys()  # noqa: SIM118  # a view is asked
    for layer in ("isr", "fragment"):
        assert (0, 0) == lookups(instrumented, layer)
    for key in cache.keys():  # noqa: SIM118  # as above
        assert cache[key]
    assert 2 == sum(lookups(instrumented, layer)[0] for layer in ("isr", "fragment"))


def test_a_mapping_of_the_applications_own_before_a_cache_looks_up(instrumented: Telemetry) -> None:
    class Front(Mapping[str, int]):
        def __init__(self) -> None:
            self.cache = cachetools.LRUCache(9)

        def __getitem__(self, key: str) -> int:
            return self.cache[key]

        def __iter__(self) -> Any:
            return iter(self.cache)

        def __len__(self) -> int:
            return len(self.cache)

    front = Front()
    front.cache["a"] = 1
    assert [1, None] == [front.get("a"), front.get("b")]
    assert (1, 1) == lookups(instrumented, "isr")


def test_a_class_that_makes_missing_values_asks_as_often_as_without_us(telemetry: Telemetry) -> None:
    def asked() -> tuple[int, int]:
        times, compared = [], []

        class Key:
            def __hash__(self) -> int:
                return 1

            def __eq__(self, other: object) -> bool:
                compared.append(other)
                return True

        class Made(cachetools.TTLCache):
            def __missing__(self, key: Any) -> int:
                return 7

        made = Made(9, 10, timer=lambda: times.append(1) or 0)
        made[Key()] = 1
        times.clear()
        compared.clear()
        assert 1 == made[Key()]
        found = len(times), len(compared)
        assert 7 == made["none"]
        return found

    without = asked()
    CachetoolsInstrumentor().instrument(layers={f"{__name__}.*": "fragment"}, skip_dep_check=True)
    try:
        with app():
            assert without == asked()
    finally:
        CachetoolsInstrumentor().uninstrument()
    assert (0, 0) == lookups(telemetry, "fragment")


def test_a_value_that_has_expired_already_takes_the_place_of_one_that_is_collected(
    instrumented: Telemetry,
) -> None:
    cache = cachetools.TLRUCache(9, lambda key, value, now: now + value, timer=Clock())
    cache["a"] = 10
    cache["a"] = 0
    held = len(cache)  # an old cachetools leaves the former value in it
    assert {"gc": 1 - held} == (invalidations(instrumented) or {"gc": 0})


def test_a_decorated_method_wraps_what_the_application_wrote(instrumented: Telemetry) -> None:
    def page(self: Any, path: str) -> str:
        return path

    class Site:
        cache = cachetools.LRUCache(10)
        load = cachetools.cachedmethod(lambda self: self.cache)(page)

    site = Site()
    assert "a" == site.load("a")
    assert page is site.load.__wrapped__
    assert page is vars(Site)["load"].__wrapped__


def test_a_class_that_watches_its_evictions_is_counted_once(instrumented: Telemetry) -> None:
    dropped: list[Any] = []

    class Watched(cachetools.LRUCache):
        def popitem(self) -> Any:
            item = super().popitem()
            dropped.append(item)
            return item

        def __getitem__(self, key: Any) -> Any:
            return super().__getitem__(key)

    watched = Watched(1)
    watched["a"], watched["b"] = 1, 2
    assert 2 == watched["b"]
    assert [("a", 1)] == dropped
    assert 1 == evictions(instrumented)
    assert (1, 0) == lookups(instrumented, "fragment")


def test_tiers_are_counted_each_for_itself(instrumented: Telemetry) -> None:
    """A cache that moves what it evicts to another one, which has no room either."""
    below = cachetools.FIFOCache(1)

    class Above(cachetools.LRUCache):
        def popitem(self) -> Any:
            key, value = super().popitem()
            below[key] = value
            return key, value

    above = Above(1)
    for number in range(4):
        above[number] = number
    assert 5 == evictions(instrumented)
    assert {} == invalidations(instrumented)


def test_assign_says_what_no_setting_can(instrumented: Telemetry) -> None:
    cache = cachetools.LRUCache(10)
    assign(cache, layer="tenant", app="dashboard")
    cache["a"] = 1
    assert cache["a"]
    assert (1, 0) == lookups(instrumented, "tenant")
    assert {("dashboard", "tenant"): 1} == gauges(instrumented, CACHE_ENTRIES)
    with pytest.raises(ConfigError, match="expected one of isr"):
        assign(cache, layer="pages")


def test_a_cache_that_nobody_named_is_of_an_unknown_layer(telemetry: Telemetry) -> None:
    CachetoolsInstrumentor().instrument(skip_dep_check=True)
    try:
        cachetools.LRUCache(10).get("a")
        assert (0, 1) == lookups(telemetry, "unknown", app="unknown")
    finally:
        CachetoolsInstrumentor().uninstrument()


def test_the_module_that_makes_a_cache_names_it(telemetry: Telemetry) -> None:
    CachetoolsInstrumentor().instrument(layers={__name__: "layout"}, skip_dep_check=True)
    try:
        cachetools.TTLCache(10, 1).get("a")
        assert (0, 1) == lookups(telemetry, "layout", app="unknown")
    finally:
        CachetoolsInstrumentor().uninstrument()


def test_an_invalidation_by_tag_is_one_span_whatever_it_drops(instrumented: Telemetry) -> None:
    cache = cachetools.LRUCache(10)
    for number in range(6):
        cache[number] = number
    with invalidating("tag"):
        for number in range(4):
            del cache[number]
    assert {"tag": 4} == invalidations(instrumented)
    (span,) = instrumented.spans()
    assert ("bext.cache.invalidate", 4, "tag", "isr") == (
        span.name,
        *(span.attributes[f"bext.{name}"] for name in ("entries", "method", "layer")),
    )
    with pytest.raises(ValueError, match="expected 'tag'"):
        with invalidating("all"):  # type: ignore[arg-type]
            pass


def test_evictions_are_warnings_of_which_a_flood_is_one_line(instrumented: Telemetry) -> None:
    cache = cachetools.LRUCache(1)
    for number in range(50):
        cache[number] = number
    told = records(instrumented, "cache evicted")
    assert 1 == told[0]["entries"]
    assert len(told) < 49
    assert ("shop", "isr", "LRUCache") == (told[0]["app"], told[0]["layer"], told[0]["cache"])


def test_hits_misses_and_invalidations_are_told(instrumented: Telemetry) -> None:
    cache = cachetools.LRUCache(10)
    cache["a"] = 1
    cache.get("a")
    cache.get("b")
    cache.clear()
    assert 1 == len(records(instrumented, "cache hit"))
    assert 1 == len(records(instrumented, "cache miss"))
    assert [{"app": "shop", "layer": "isr", "cache": "LRUCache", "entries": 1, "method": "tag"}] == records(
        instrumented, "cache invalidated"
    )


def test_threads_lose_nothing(instrumented: Telemetry) -> None:
    lock = threading.Lock()
    cache = cachetools.LRUCache(50)

    @cachetools.cached(cache, lock=lock)
    def square(number: int) -> int:
        return number * number

    def work() -> None:
        for number in range(500):
            assert number % 100 * (number % 100) == square(number % 100)

    def run() -> None:
        with app():
            work()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    hits, misses = lookups(instrumented, "fragment")
    assert 2000 == hits + misses
    assert misses == names(instrumented).count("bext.cache.load")
    assert 50 == gauges(instrumented, CACHE_ENTRIES)["shop", "fragment"]


class Odd:
    """A key that is never equal, and hashes as it likes."""

    def __eq__(self, other: object) -> bool:
        raise ArithmeticError("not comparable")

    def __hash__(self) -> int:
        return 1


@pytest.mark.parametrize("key", [[], {}, None, float("nan"), (1, "a"), b"\xff", "\ud800", Odd()])
def test_odd_keys_do_what_they_did(instrumented: Telemetry, key: Any) -> None:
    def outcome() -> Any:
        cache = cachetools.LRUCache(2)
        try:
            cache[key] = 1
            return cache[key]
        except (TypeError, KeyError, ArithmeticError) as error:
            return type(error), str(error)

    with_us = outcome()
    CachetoolsInstrumentor().uninstrument()
    assert outcome() == with_us


def test_what_was_patched_is_put_back() -> None:
    before = {name: dict(vars(getattr(cachetools, name))) for name in KINDS}
    functions = cachetools.cached, cachetools.cachedmethod
    CachetoolsInstrumentor().instrument(skip_dep_check=True)
    assert cachetools.cached is not functions[0]
    CachetoolsInstrumentor().uninstrument()
    assert before == {name: dict(vars(getattr(cachetools, name))) for name in KINDS}
    assert functions == (cachetools.cached, cachetools.cachedmethod)


def test_copies_and_pickles_are_what_they_are_without_us(instrumented: Telemetry) -> None:
    cache = cachetools.TTLCache(10, 1000)
    cache["a"] = 1
    state = set(vars(cache))
    pickled = pickle.dumps(cachetools.LRUCache(3))
    assert {("a", 1)} == set(pickle.loads(pickle.dumps(cache)).items()) == set(copy.copy(cache).items())
    CachetoolsInstrumentor().uninstrument()
    other = cachetools.TTLCache(10, 1000)
    other["a"] = 1
    assert set(vars(other)) == state
    assert pickle.dumps(cachetools.LRUCache(3)) == pickled


def test_a_decorated_function_is_what_it_is_without_us(instrumented: Telemetry) -> None:
    def page(path: str = "/") -> str:
        """A page."""
        return path

    cache: Any = cachetools.LRUCache(10)
    decorated = (
        cachetools.cached(cache, info=True, condition=threading.Condition())(page)
        if NEW
        else cachetools.cached(cache)(page)
    )
    assert decorated.__wrapped__ is page
    assert (page.__doc__, page.__qualname__) == (decorated.__doc__, decorated.__qualname__)
    assert decorated.cache is cache
    assert "/" == decorated()
    if NEW:
        assert (0, 1) == decorated.cache_info()[:2]
    decorated.cache_clear()
    assert {"tag": 1} == invalidations(instrumented)


NEW = int(cachetools.__version__.split(".", maxsplit=1)[0]) >= 6

OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "get",
                "item",
                "set",
                "del",
                "pop",
                "popitem",
                "setdefault",
                "clear",
                "len",
                "in",
                "tick",
                "update",
                "size",
                "list",
            ]
        ),
        st.integers(0, 5),
    ),
    max_size=40,
)


def perform(cache: Any, clock: Clock, operation: str, number: int) -> Any:  # noqa: PLR0911, PLR0912
    match operation:
        case "get":
            return cache.get(number, "default")
        case "item":
            return cache[number]
        case "set":
            cache[number] = number
        case "del":
            del cache[number]
        case "pop":
            return cache.pop(number)
        case "popitem":
            return cache.popitem()
        case "setdefault":
            return cache.setdefault(number, -1)
        case "clear":
            return cache.clear()
        case "len":
            return len(cache)
        case "in":
            return number in cache
        case "tick":
            clock.now += 3
        case "update":
            cache.update({number: 1, number + 1: 2})
        case "size":
            return cache.currsize
        case "list":
            return list(cache.items())
    return None


def played(kind: str, operations: list[tuple[str, int]]) -> list[Any]:
    clock = Clock()
    cache = caches(3, clock)[kind]
    results: list[Any] = []
    for operation, number in operations:
        try:
            results.append(perform(cache, clock, operation, number))
        except (KeyError, ValueError, RuntimeError) as error:
            results.append((type(error), str(error)))
    return [*results, repr(cache)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(kind=st.sampled_from(KINDS), operations=OPERATIONS)
def test_every_operation_gives_what_it_gives_without_us(
    telemetry: Telemetry, kind: str, operations: list[tuple[str, int]]
) -> None:
    without = played(kind, operations)
    CachetoolsInstrumentor().instrument(layers=LAYERS, skip_dep_check=True)
    try:
        assert without == played(kind, operations)
    finally:
        CachetoolsInstrumentor().uninstrument()


def test_a_library_that_comes_later_is_instrumented_when_it_comes(telemetry: Telemetry) -> None:
    saved = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "cachetools"}
    for name in saved:
        del sys.modules[name]
    CachetoolsInstrumentor().instrument(layers={"LRUCache": "isr"}, skip_dep_check=True)
    try:
        assert "cachetools" not in sys.modules
        import cachetools as fresh
        from cachetools.func import lru_cache

        fresh.LRUCache(10).get("a")
        assert (0, 1) == lookups(telemetry, "isr", app="unknown")

        @lru_cache(maxsize=3)
        def page(path: str) -> str:
            return path

        assert "a" == page("a")
        assert ["bext.cache.load"] == names(telemetry)
    finally:
        CachetoolsInstrumentor().uninstrument()
        sys.modules.update(saved)
