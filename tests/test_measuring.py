"""Who measures names each label of the row, once; whatever is wrong about that is told with the metric, the
label and the remedy."""

from __future__ import annotations

import ast
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint

import bext_otel_instrumentors
from bext_otel import catalogue, measuring
from bext_otel.catalogue import CACHE_HITS, HTTP_SERVER_REQUEST_DURATION, REQUESTS, Label, Metric, Work
from bext_otel.errors import CatalogueError
from bext_otel.measuring import count, gauge, joint, measure, name_units, observe, recorder

Points = Callable[[Metric], list[NumberDataPoint | HistogramDataPoint]]


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> Iterator[Points]:
    """What the provider that is set has of a metric."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: provider)
    yield lambda metric: points_of(reader, metric)
    provider.shutdown()


def points_of(reader: InMemoryMetricReader, metric: Metric) -> list[NumberDataPoint | HistogramDataPoint]:
    data = reader.get_metrics_data()
    resources = data.resource_metrics if data is not None else []
    streams = [stream for each in resources for scope in each.scope_metrics for stream in scope.metrics]
    found = [point for stream in streams if stream.name == metric.name for point in stream.data.data_points]
    assert all(isinstance(point, NumberDataPoint | HistogramDataPoint) for point in found)
    return found  # type: ignore[return-value]  # as asserted


def test_labels_are_named_in_any_order(points: Points) -> None:
    measure(REQUESTS, 1, app="shop", method="GET", status="200", route="/")
    measure(REQUESTS, 1, route="/", status="200", method="GET", app="shop")
    recorder(REQUESTS, "app", "method", "status", "route")(1, "shop", "GET", "200", "/")
    recorder(REQUESTS, "route", "method", "app", "status")(1, "/", "GET", "shop", "200")
    (point,) = points(REQUESTS)
    assert {"app": "shop", "method": "GET", "status": "200", "route": "/"} == dict(point.attributes or {})
    assert isinstance(point, NumberDataPoint)
    assert 4 == point.value


def test_what_is_bound_together_is_bound_once_for_each_provider(
    points: Points, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests, made = recorder(REQUESTS, "route", "method", "app", "status"), []

    def bind(app: str, route: str) -> tuple[measuring.Measure, measuring.Measure]:
        made.append(app)
        return requests.bind(route, "GET", app, "200"), requests.bind(route, "POST", app, "200")

    series = joint(bind)
    for _ in range(3):
        first, second = series(("shop", "/"))
        first(1)
        second(2, None)
    assert ["shop"] == made
    assert [("GET", 3), ("POST", 6)] == sorted(
        (str(point.attributes["method"]), point.value)
        for point in points(REQUESTS)
        if isinstance(point, NumberDataPoint) and point.attributes
    )
    reader = InMemoryMetricReader()
    other = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: other)
    series(("shop", "/"))[0](1)
    assert ["shop", "shop"] == made
    assert 1 == len(points_of(reader, REQUESTS))
    other.shutdown()


class Bound:
    """What some labels are bound to."""


@pytest.mark.parametrize("length", [1, 2_000])
def test_labels_without_end_that_are_bound_together_take_no_memory_without_end(
    points: Points, length: int
) -> None:
    made: list[weakref.ref[Bound]] = []

    def bind(_label: str) -> Bound:
        bound = Bound()
        made.append(weakref.ref(bound))
        return bound

    series = joint(bind)
    for number in range(5_000):
        series((f"{number:0{length}}",))
    assert 5_000 == len(made)
    assert (2_000 if length == 1 else 1) > sum(one() is not None for one in made[:-1])


def test_a_dot_of_a_labels_name_may_be_an_underscore(points: Points) -> None:
    said = {
        "http.request.method": "GET",
        "url.scheme": "http",
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
    }
    record = recorder(HTTP_SERVER_REQUEST_DURATION, *said, "http.route", "error.type")
    record(0.2, *said.values(), "/", None)
    measure(
        HTTP_SERVER_REQUEST_DURATION,
        0.2,
        http_request_method="GET",
        url_scheme="http",
        http_response_status_code=200,
        http_route="/",
        network_protocol_version="1.1",
        error_type=None,
    )
    (point,) = points(HTTP_SERVER_REQUEST_DURATION)
    assert {**said, "http.route": "/"} == dict(point.attributes or {})
    assert isinstance(point, HistogramDataPoint)
    assert 2 == point.count


def test_observers_answer_in_the_order_that_they_named(points: Points) -> None:
    undo = observe(catalogue.CACHE_ENTRIES, lambda: [(7, ("isr", "observed"))], "layer", "app")
    try:
        found = [dict(point.attributes or {}) for point in points(catalogue.CACHE_ENTRIES)]
        assert {"app": "observed", "layer": "isr"} in found
    finally:
        undo()


@pytest.mark.parametrize(
    ("labels", "wrong"),
    [
        ({"app": "shop"}, "'layer' is missing"),
        ({"app": "shop", "layer": "isr", "route": "/"}, "'route' is not one of them"),
        ({"app": "shop", "lair": "isr"}, "'layer' is missing, 'lair' is not one of them"),
        ({}, "'app' is missing, 'layer' is missing"),
    ],
)
def test_a_label_that_is_missing_or_unknown_is_told_with_metric_and_remedy(
    points: Points, labels: dict[str, str], wrong: str
) -> None:
    said = rf"bext.cache.hits has the labels \(app, layer\): {wrong}; name each label of its row"
    with pytest.raises(CatalogueError, match=said):
        measure(CACHE_HITS, 1, **labels)
    with pytest.raises(CatalogueError, match=said):
        count(CACHE_HITS, **labels)
    with pytest.raises(CatalogueError, match=said):
        gauge(CACHE_HITS, 1, **labels)
    with pytest.raises(CatalogueError, match=said):
        recorder(CACHE_HITS, *labels)
    with pytest.raises(CatalogueError, match=said):
        observe(CACHE_HITS, list, *labels)
    assert [] == points(CACHE_HITS)


def test_a_label_that_is_named_twice_or_of_a_metric_without_labels() -> None:
    with pytest.raises(CatalogueError, match="'app' is named twice"):
        recorder(CACHE_HITS, "app", "layer", "app")
    with pytest.raises(CatalogueError, match=r"bext.flow.completed has no labels: 'app' is not one of them"):
        count(catalogue.FLOW_COMPLETED, app="shop")


@pytest.mark.parametrize("names", [("app", "layer"), ("layer", "app")])
@pytest.mark.parametrize("values", [("shop",), ("shop", "isr", "more"), ()])
def test_a_recorder_wants_a_value_for_each_name(
    points: Points, names: tuple[str, ...], values: tuple[str, ...]
) -> None:
    with pytest.raises(CatalogueError, match=r"bext.cache.hits takes 2 label values \(app, layer\), not"):
        recorder(CACHE_HITS, *names)(1, *values)


def test_a_recorder_follows_the_provider_that_is_set(points: Points, monkeypatch: pytest.MonkeyPatch) -> None:
    record = recorder(CACHE_HITS, "app", "layer")
    record(1, "shop", "isr")
    later = InMemoryMetricReader()
    provider = MeterProvider([later], shutdown_on_exit=False)
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: provider)
    record(2, "shop", "isr")
    name_units(on_instruments=True)
    record(3, "shop", "isr")
    assert [1] == [getattr(point, "value", None) for point in points(CACHE_HITS)]
    assert [5] == [getattr(point, "value", None) for point in points_of(later, CACHE_HITS)]
    provider.shutdown()


def test_the_context_names_the_span_of_the_exemplar(points: Points) -> None:
    span = trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=False, trace_flags=trace.TraceFlags(1)))
    here = trace.set_span_in_context(span)
    recorder(CACHE_HITS, "app", "layer")(1, "shop", "isr", context=here)
    measure(CACHE_HITS, 1, app="shop", layer="fragment", context=here)
    assert [{2}, {2}] == [{exemplar.span_id for exemplar in point.exemplars} for point in points(CACHE_HITS)]


@pytest.mark.parametrize("names", [("app", "context"), ("by",), ("http.route", "http_route")])
def test_a_row_has_no_label_that_a_call_could_not_name(names: tuple[str, ...]) -> None:
    labels = tuple(Label(name, "Any.") for name in names)
    with pytest.raises(CatalogueError, match="could not be named in a call; give it another name"):
        Metric("bext.things", "counter", "{thing}", "Things.", labels)


def test_a_row_that_gets_another_label_tells_who_measures_it_before_anything_is_measured() -> None:
    """What happens to modules that name the labels at their import, when somebody edits the row."""
    grown = replace(REQUESTS, labels=(*REQUESTS.labels, Label("tenant", "Whose.")))
    with pytest.raises(CatalogueError, match=r"bext.requests has the labels .*: 'tenant' is missing"):
        recorder(grown, "app", "method", "status", "route")


# --- Every call ---------------------------------------------------------------------------------------------

ROOT = Path(measuring.__file__).parent.parent
PLACES = [
    Path(measuring.__file__).parent,
    Path(bext_otel_instrumentors.__file__).parent,
    ROOT / "examples",
    ROOT / "benchmarks",
    ROOT / "tests",
]
BY_KEYWORD = {"measure": 2, "count": 1, "gauge": 2}
BY_NAME = {"recorder": 1, "observe": 2}
BY_WORK = {"operation", "start"}
OPTIONS = {"context", "by", "name", "kind", "attributes"}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Calls of functions and methods, by their last name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            yield name, node


def rows(expression: ast.expr) -> list[Metric | Work]:
    """The rows that an expression may be."""
    if isinstance(expression, ast.IfExp):
        return [*rows(expression.body), *rows(expression.orelse)]
    name = expression.id if isinstance(expression, ast.Name) else getattr(expression, "attr", "")
    row = getattr(catalogue, name, None) if name.isupper() else None
    return [row] if isinstance(row, Metric | Work) else []


def faults(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The lines whose labels are not those of the row, and what is wrong."""
    made = recorders(tree)
    for name, call in calls(tree):
        if (
            name in made
            and len(call.args) != made[name] + 1
            and not any(isinstance(each, ast.Starred) for each in call.args)
        ):
            yield call.lineno, f"{name} takes {made[name]} label values"
        for row in rows(call.args[0]) if call.args else []:
            if isinstance(row, Work):
                expected, given = sorted(label.name for label in row.labels), sorted(keywords(call) - OPTIONS)
                if name in BY_WORK and not (set(expected) <= set(given)):
                    yield call.lineno, f"{row.name} has the labels {expected}, not {given}"
            elif name in BY_KEYWORD:
                if len(call.args) != BY_KEYWORD[name] or keywords(call) - {"context", "by"} != set(
                    row.keywords
                ):
                    yield call.lineno, f"{row.name} has the labels {row.keywords}"
            elif name in BY_NAME:
                names = [each.value for each in call.args[BY_NAME[name] :] if isinstance(each, ast.Constant)]
                if sorted(names) != sorted(row.label_names) or len(names) + BY_NAME[name] != len(call.args):
                    yield call.lineno, f"{row.name} has the labels {row.label_names}"


def keywords(call: ast.Call) -> set[str]:
    return {each.arg or "**" for each in call.keywords}


def recorders(tree: ast.Module) -> dict[str, int]:
    """The recorders that a module makes, by their names, and how many labels each has."""
    assigned = [
        node for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
    ]
    return {
        target.id: len(node.value.args) - 1
        for node in assigned
        for target in node.targets
        if isinstance(target, ast.Name)
        and isinstance(node.value, ast.Call)
        and getattr(node.value.func, "id", "") == "recorder"
    }


def sources() -> list[Path]:
    return sorted(
        path for place in PLACES for path in place.rglob("*.py") if path.name != Path(__file__).name
    )


def test_every_call_names_exactly_the_labels_of_its_row() -> None:
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sources()}
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {said}"
        for path, tree in trees.items()
        for line, said in faults(tree)
    ]
    assert [] == wrong
    measured = {
        row
        for tree in trees.values()
        for _, call in calls(tree)
        for row in (rows(call.args[0]) if call.args else [])
    }
    assert {
        REQUESTS,
        HTTP_SERVER_REQUEST_DURATION,
        CACHE_HITS,
        catalogue.CACHE_ENTRIES,
        catalogue.RENDER,
    } <= measured


@pytest.mark.parametrize(
    ("call", "wrong"),
    [
        ('measure(REQUESTS, 1, app="a", method="GET", status="200", route="/")', 0),
        ('measure(REQUESTS, 1, app="a", method="GET", status="200")', 1),
        ('measure(REQUESTS, 1, "a", "GET", "200", "/")', 1),
        ('measure(REQUESTS, 1, app="a", method="GET", status="200", route="/", tenant="b")', 1),
        ('count(CACHE_HITS if hit else CACHE_MISSES, app="a", layer="isr", by=2)', 0),
        ('count(CACHE_HITS if hit else CACHE_MISSES, app="a")', 2),
        ("measuring.count(catalogue.CACHE_HITS, **labels)", 1),
        ('observe(CACHE_ENTRIES, entries, "app", "layer", shared="a")', 0),
        ("observe(CACHE_ENTRIES, entries)", 1),
        ('record = recorder(REQUEST_SIZE, "app", "direction")\nrecord(1, "a", "request", context=here)', 0),
        ('record = recorder(REQUEST_SIZE, "app", "direction")\nrecord(1, "a")', 1),
        ('record = recorder(REQUEST_SIZE, "app", "way")', 1),
        ('operation(RENDER, app="a")', 0),
        ("operation(RENDER)", 1),
        ('start(CACHE, name="load", app="a", layer="isr", operation="store")', 0),
        ('start(CACHE, name="load", app="a", operation="store")', 1),
    ],
)
def test_what_walks_the_calls_sees_what_is_wrong(call: str, wrong: int) -> None:
    assert wrong == len(list(faults(ast.parse(call))))
