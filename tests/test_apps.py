"""Whose work it is, and label values that nobody outside can multiply."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from enum import Enum
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import baggage
from opentelemetry.context import Context, attach, detach
from opentelemetry.propagate import extract

from bext_otel import apps
from bext_otel.apps import (
    AppResolver,
    Budget,
    Budgets,
    clean,
    current_app,
    cut_figures,
    default_app,
    guarded,
    import_resolver,
    with_app,
)
from bext_otel.catalogue import APP, INVALIDATED_BY, LAYER, METHOD, OVERFLOW, Label
from bext_otel.config import AppSettings
from bext_otel.errors import ConfigError

APPS = {
    "marketing": AppSettings(hosts=("www.example", "*.pages.example", "bücher.example")),
    "dashboard": AppSettings(hosts=("Dashboard.Example:8443", "[2001:db8::1]"), mounts=("/dashboard",)),
    "api": AppSettings(paths=("/api/", "/dashboard/api")),
}


@pytest.mark.parametrize(
    ("host", "path", "app"),
    [
        ("www.example", "/", "marketing"),
        ("WWW.Example", "/", "marketing"),
        ("www.example:8080", "/", "marketing"),
        ("www.example.", "/", "marketing"),
        (" www.example ", "/", "marketing"),
        ("bücher.example", "/", "marketing"),
        ("a.pages.example", "/", "marketing"),
        ("a.b.PAGES.example:1", "/", "marketing"),
        ("pages.example", "/", "unknown"),
        ("xpages.example", "/", "unknown"),
        (".pages.example", "/", "marketing"),
        ("dashboard.example", "/", "dashboard"),
        ("[2001:DB8::1]:443", "/", "dashboard"),
        ("2001:db8::1", "/", "dashboard"),
        ("www.example", "/dashboard", "dashboard"),
        ("www.example", "/dashboard/", "dashboard"),
        ("www.example", "/dashboard/settings", "dashboard"),
        ("www.example", "/dashboards", "marketing"),
        ("dashboard.example", "/dashboard/api", "api"),
        ("dashboard.example", "/dashboard/api/users", "api"),
        ("", "/api", "api"),
        ("", "/api/users/1", "api"),
        ("", "/API", "unknown"),
        ("", "//api", "unknown"),
        ("", "api", "unknown"),
        ("", "", "unknown"),
        ("[", "", "unknown"),
        (":", "", "unknown"),
        ("www.example\0", "", "unknown"),
        ("x" * 100_000, "/" * 100_000, "unknown"),
        ("." * 100_000, "", "unknown"),
        ("\udc80", "/\udc80", "unknown"),
    ],
)
def test_the_app_of_a_request(host: str, path: str, app: str) -> None:
    assert app == AppResolver(APPS, default="unknown")(host, path)


def test_the_root_prefix_is_for_what_nothing_else_claims() -> None:
    resolve = AppResolver({"site": AppSettings(paths=("/",)), **APPS}, default="unknown")
    assert ["site", "marketing", "api"] == [
        resolve("x", "/y"),
        resolve("www.example", "/y"),
        resolve("x", "/api"),
    ]


def test_the_first_app_named_has_what_two_claim() -> None:
    resolve = AppResolver(
        {"a": AppSettings(hosts=("x",), paths=("/p",)), "b": AppSettings(hosts=("X",), mounts=("/p/",))},
        default="unknown",
    )
    assert ["a", "a"] == [resolve("x", ""), resolve("", "/p")]


def test_the_nearer_wildcard_wins() -> None:
    resolve = AppResolver(
        {"far": AppSettings(hosts=("*.example",)), "near": AppSettings(hosts=("*.shop.example",))},
        default="unknown",
    )
    assert ["near", "far", "far"] == [
        resolve("a.shop.example", ""),
        resolve("shop.example", ""),
        resolve("a.b.example", ""),
    ]


NAMES = st.text(min_size=1, max_size=5)
HOSTS = (
    st.text(max_size=20)
    | st.sampled_from(["a.example", "A.EXAMPLE:80", "[::1]:80", "b.a.example."])
    | st.from_regex(r"\A[a-z.:\[\]*]*\Z")
)
PATHS = st.text(max_size=20) | st.lists(st.sampled_from(["", "a", "b", "api"]), max_size=6).map("/".join)


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.dictionaries(
        NAMES,
        st.builds(
            AppSettings,
            hosts=st.lists(HOSTS).map(tuple),
            paths=st.lists(PATHS).map(tuple),
            mounts=st.lists(PATHS).map(tuple),
        ),
    ),
    HOSTS,
    PATHS,
)
def test_any_request_gets_a_configured_app_or_the_default(
    apps: dict[str, AppSettings], host: str, path: str
) -> None:
    assert AppResolver(apps, default="none of them")(host, path) in {"none of them", *map(clean, apps)}


def _segments(prefix: str) -> list[str]:
    return prefix.rstrip("/").split("/")


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.dictionaries(NAMES, st.builds(AppSettings, paths=st.lists(PATHS.map("/".__add__)).map(tuple))),
    PATHS.map("/".__add__),
)
def test_the_longest_prefix_of_whole_segments_wins(apps: dict[str, AppSettings], path: str) -> None:
    """The same, said without tables: of all prefixes whose segments the path starts with, the longest."""
    given_first: dict[tuple[str, ...], str] = {}
    for name, app in apps.items():
        for prefix in app.paths:
            given_first.setdefault(tuple(_segments(prefix)), clean(name))
    parts = path.split("/")
    matching = [prefix for prefix in given_first if tuple(parts[: len(prefix)]) == prefix]
    expected = given_first[max(matching, key=len)] if matching else "unknown"
    assert expected == AppResolver(apps, default="unknown")("", path)


def _sizes(resolver: AppResolver) -> list[int]:
    return [len(table) for table in vars(resolver).values() if isinstance(table, dict)]


def test_a_resolver_keeps_nothing_of_what_clients_send() -> None:
    resolve = AppResolver(APPS, default="unknown")
    before = _sizes(resolve)
    for number in range(1000):
        resolve(f"host{number}.pages.example", f"/path{number}")
    assert before == _sizes(resolve)


def test_who_has_what_matches_no_app() -> None:
    assert ["shop", "unknown", "unknown"] == [
        default_app({}, "shop"),
        default_app({}, ""),
        default_app(APPS, "shop"),
    ]


@pytest.mark.parametrize(
    ("app", "apps", "service"),
    [
        ("shop", {"shop": AppSettings()}, "shop"),
        ("shop", {"shop": AppSettings(log_bodies=True), "api": AppSettings(paths=("/api",))}, "shop"),
        ("api", {"api": AppSettings(log_level="debug")}, "shop"),
        ("api", {"api": AppSettings(slow_request_ms=50)}, ""),
        ("unknown", {"api": AppSettings(version="1.2")}, "shop"),
        ("unknown", {"shop": AppSettings(hosts=("shop.example",))}, "shop"),
        ("unknown", {"api": AppSettings(log_level="debug"), "web": AppSettings()}, "shop"),
    ],
)
def test_an_app_that_can_only_be_meant_has_what_nobody_claims(
    app: str, apps: dict[str, AppSettings], service: str
) -> None:
    """`[apps.shop] log_level` alone, for the only application of the process, does something."""
    assert app == default_app(apps, service)


def _raises(host: str, path: str) -> str:
    raise LookupError(host)


@pytest.mark.parametrize(
    ("resolver", "reason"),
    [
        (_raises, "_raises raised LookupError"),
        (lambda _host, _path: None, "<lambda> returned NoneType"),
        (lambda _host, _path: b"shop", "<lambda> returned bytes"),
        (lambda _host, _path: "", "<lambda> returned no name"),
        (lambda: "shop", "<lambda> raised TypeError"),
    ],
)
def test_a_broken_resolver_is_told_once_and_its_requests_are_of_no_known_app(
    resolver: Callable[..., Any], reason: str
) -> None:
    told: list[str] = []
    resolve = guarded(resolver, failed=told.append)
    assert ["unknown"] * 3 == [resolve("h", "/p") for _ in range(3)]
    assert [
        f"[telemetry] app_resolver: {reason}, so the app is 'unknown'; return an app's name for every request"
    ] == told


def test_a_broken_resolver_without_anybody_to_tell_is_harmless() -> None:
    assert "unknown" == guarded(_raises)("h", "/p")


def test_a_callback_that_fails_is_harmless_too() -> None:
    def failed(line: str) -> None:
        raise OSError(line)

    assert "unknown" == guarded(_raises, failed=failed)("h", "/p")


def test_a_resolver_that_works_is_asked_each_time() -> None:
    assert "www.example/x" == guarded(lambda host, path: host + path)("www.example", "/x")


def test_what_a_resolver_returns_is_cleaned() -> None:
    assert "a\ufffd" == guarded(lambda _host, _path: "a\0")("", "")


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    found = ModuleType("shop_telemetry")
    monkeypatch.setitem(sys.modules, "shop_telemetry", found)
    return found


def test_a_resolver_is_named_by_module_and_function(module: ModuleType) -> None:
    module.resolvers = type("Resolvers", (), {"by_path": staticmethod(lambda _host, path: path)})  # type: ignore[attr-defined]
    assert "/x" == import_resolver("shop_telemetry:resolvers.by_path")("", "/x")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (
            "shop_telemetry:missing",
            "module 'shop_telemetry' has no 'missing'; name a function as module:function",
        ),
        (
            "shop_telemetry:constant",
            "is int; expected a function of host and path that returns the name of an app",
        ),
        (
            "no.such.module:f",
            "'no.such.module' cannot be imported (ModuleNotFoundError); name a function as module:function",
        ),
        (":f", "'' cannot be imported (ValueError); name a function as module:function"),
    ],
)
def test_a_resolver_that_is_not_there_is_a_config_error(
    module: ModuleType, reference: str, message: str
) -> None:
    module.constant = 3  # type: ignore[attr-defined]
    with pytest.raises(ConfigError) as raised:
        import_resolver(reference)
    assert f"[telemetry] app_resolver = {reference!r}: {message}" == str(raised.value)


def test_outside_of_any_work_there_is_no_app() -> None:
    assert current_app() is None


def test_the_app_is_in_the_context_and_in_no_baggage() -> None:
    """Which goes to whomever is called: see `test_propagation`."""
    context = with_app("shop", Context())
    token = attach(context)
    try:
        assert "shop" == current_app()
    finally:
        detach(token)
    assert {} == dict(baggage.get_all(context))


def test_incoming_baggage_is_not_believed() -> None:
    token = attach(extract({"baggage": "bext.app=evil"}))
    try:
        assert current_app() is None
    finally:
        detach(token)


class Color(str, Enum):
    RED = "red"


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", ""),
        ('q"uo\\te\n', 'q"uo\\te\n'),
        ("a\0b", "a\ufffdb"),
        ("\ud83d\ude00\udc80", "\ufffd\ufffd\ufffd"),
        ("é" * 256, "é" * 256),
        (b"caf\xc3\xa9\xff", "café\ufffd"),
        (bytearray(b"x"), "x"),
        (b"\xf0\x9f\x98\x80" * 256, "\U0001f600" * 256),
        (200, "200"),
        (1.5, "1.5"),
        (True, "true"),
        (False, "false"),
        (None, "None"),
        (Color.RED, "red"),
        (["a", 1], '["a", 1]'),
        (Unprintable(), "unknown"),
    ],
)
def test_a_label_value_is_clean_text(value: object, text: str) -> None:
    assert text == clean(value)
    assert str is type(clean(value))


@pytest.mark.parametrize(
    "long", ["é" * 300, b"\xf0\x9f\x98\x80" * 1000, ["x"] * 200, "y" * 200_000, b"z" * 200_000]
)
def test_long_values_are_cut_and_stay_apart(long: Any) -> None:
    """Wherever they differ; and the same one is the same each time."""
    middle = len(long) // 2
    half = long[:middle]
    texts = [
        clean(value)
        for value in (long, long + half[:1], long[1:], half[:-1] + long[:1] + long[middle:] + half[:2])
    ]
    assert 4 == len(set(texts))
    assert texts[0] == clean(long)
    assert {256} == {len(text) for text in texts}
    assert (clean(long[:5]) if isinstance(long, str) else texts[0][:5]) == texts[0][:5]


def test_that_values_are_cut_is_one_line_for_a_label_and_counted_once_for_a_value(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Other tests cut more values than are remembered.
    monkeypatch.setattr(apps, "_cut_values", {})
    before = cut_figures().get("label_values_cut", 0)
    with caplog.at_level("WARNING"):
        for number in range(3):
            for _ in range(2):
                for label in ("query.one", "query.two"):
                    clean(f"{number}" * 300, label)
    assert ["query.one", "query.two"] == [message.split()[3] for message in caplog.messages]
    assert before + 3 == cut_figures()["label_values_cut"]


ANYTHING = (
    st.text()
    | st.text(st.characters(whitelist_categories=("Cs", "Cc", "Lu")))
    | st.binary()
    | st.integers()
    | st.floats()
    | st.none()
)


@settings(deadline=None)  # a busy machine is no failure
@given(ANYTHING | st.lists(ANYTHING))
def test_clean_text_can_be_written_and_stays_as_it_is(value: object) -> None:
    text = clean(value)
    assert text == text.encode().decode()
    assert "\0" not in text
    assert len(text) <= 256
    assert text == clean(text)


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.text(max_size=3)), st.integers(0, 10))
def test_no_more_values_are_shown_than_the_budget_has(values: list[str], limit: int) -> None:
    """Admitted values stay admitted, the first ones are those, and every other one is counted."""
    budget = Budget(Label("route", ""), limit)
    first = list(dict.fromkeys(value for value in values if value != OVERFLOW))[:limit]
    expected = [value if value in first else OVERFLOW for value in values]
    assert expected == [budget.admit(value) for value in values]
    assert sum(shown != value for shown, value in zip(expected, values, strict=True)) == budget.overflowed
    assert first == [budget.admit(value) for value in first]


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.lists(st.text(max_size=3) | st.sampled_from(METHOD.values or ())),
    st.sampled_from([METHOD, LAYER, INVALIDATED_BY]),
)
def test_a_closed_set_stays_closed(values: list[str], label: Label) -> None:
    budget = Budget(label, label.budget)
    shown = {budget.admit(value) for value in values}
    assert shown <= {*(label.values or ()), OVERFLOW}


@pytest.mark.parametrize(
    ("label", "value", "shown"),
    [(METHOD, "BREW", "_OTHER"), (LAYER, "l2", "unknown"), (INVALIDATED_BY, "moon", OVERFLOW)],
)
def test_a_value_outside_a_closed_set_becomes_the_other_one(label: Label, value: str, shown: str) -> None:
    assert shown == Budget(label, label.budget).admit(value)


def test_a_closed_set_can_have_a_smaller_budget() -> None:
    budget = Budget(METHOD, 2)
    assert ["GET", "_OTHER", OVERFLOW, "_OTHER"] == [
        budget.admit(value) for value in ("GET", "BREW", "POST", "COOK")
    ]


def test_labels_of_one_name_have_budgets_of_their_own() -> None:
    budgets = Budgets({})
    assert budgets.of(METHOD) is budgets.of(METHOD)
    assert ["_OTHER", "tag"] == [budgets.of(METHOD).admit("tag"), budgets.of(INVALIDATED_BY).admit("tag")]


def test_a_setting_changes_a_budget() -> None:
    budgets = Budgets({"app": 1})
    assert ["a", OVERFLOW, OVERFLOW] == [budgets.of(APP).admit(value) for value in ("a", "b", "c")]
    assert {"app": 2} == budgets.overflowed()


def test_what_never_overflowed_is_not_told() -> None:
    budgets = Budgets({})
    budgets.of(APP).admit("a")
    assert {} == budgets.overflowed()


def test_threads_together_stay_within_the_budget() -> None:
    budget = Budget(Label("route", ""), 50)
    start = threading.Barrier(4)
    shown: list[set[str]] = [set() for _ in range(4)]

    def admit(mine: set[str], seed: int) -> None:
        start.wait()
        mine.update(budget.admit(str((number * seed) % 499)) for number in range(2000))

    threads = [
        threading.Thread(target=admit, args=(mine, seed))
        for mine, seed in zip(shown, (3, 5, 7, 11), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = set().union(*shown)
    assert 51 == len(together)
    assert OVERFLOW in together


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_child_forked_during_an_admission_can_admit() -> None:
    """A thread of the parent may hold the lock at the moment of the fork."""
    from bext_otel import apps

    holding, release = threading.Event(), threading.Event()

    def hold() -> None:
        with apps._admission:
            holding.set()
            release.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert holding.wait(30)
        child = os.fork()
        if child == 0:
            signal.alarm(30)  # ends the child if it waits for the lock
            os._exit(0 if Budget(APP, 1).admit("a") == "a" else 1)
    finally:
        release.set()
        thread.join()
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
