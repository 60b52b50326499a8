from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import prometheus_client
import pytest
from prometheus_client import REGISTRY
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeHistogramMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    StateSetMetricFamily,
    UnknownMetricFamily,
)

from bext_otel.catalogue import FLOW_FAILED
from bext_otel.metrics.families import foreign_parts, of_foreign
from bext_otel.metrics.merging.sum import Tally
from bext_otel.metrics.merging.wire import Publication, decode, encode
from bext_otel.metrics.reader import SnapshotReader
from bext_otel.metrics.snapshot import Family, Histogram, Series, Summary
from bext_otel.metrics.store.streams import Streams
from bext_otel.metrics.third_party import prometheus_client as registry
from bext_otel.metrics.third_party import prometheus_forks as inheritance
from bext_otel.once import Once
from tests.fresh import printed


class Yields:
    """A collector that yields what it was given, and raises what is an exception."""

    def __init__(self, *metrics: Metric | BaseException) -> None:
        self.metrics = metrics

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        for metric in self.metrics:
            if isinstance(metric, BaseException):
                raise metric
            yield metric


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Whatever a test registers is gone afterwards."""
    before = set(REGISTRY._collector_to_names)
    registry._once = Once(200)
    yield
    for collector in set(REGISTRY._collector_to_names) - before:
        REGISTRY.unregister(collector)


def found() -> dict[str, Family]:
    return {family.name: family for family in registry.registered()}


def test_counters_gauges_and_what_has_no_type_are_numbers() -> None:
    prometheus_client.Counter("jobs", "Jobs.", ["queue"]).labels("mail").inc(3)
    prometheus_client.Gauge("depth", "Depth.").set(-1.5)
    prometheus_client.Info("build", "Build.").info({"version": "1"})
    prometheus_client.Enum("state", "State.", states=["up", "down"]).state("up")
    families = found()
    jobs = families["jobs_total"]
    assert ("counter", "Jobs.", None) == (jobs.type, jobs.description, jobs.metric)
    assert [(Series((("queue", "mail"),)), 3.0)] == [(point.series, point.value) for point in jobs.points]
    assert [("gauge", -1.5)] == [(families["depth"].type, point.value) for point in families["depth"].points]
    assert [((("version", "1"),), 1.0)] == [
        (point.series.labels, point.value) for point in families["build_info"].points
    ]
    assert {"up": 1.0, "down": 0.0} == {
        point.series.labels[0][1]: point.value for point in families["state"].points
    }
    assert not [name for name in families if name.endswith("_created")]


def test_histograms_have_their_buckets_and_summaries_their_sums() -> None:
    waits = prometheus_client.Histogram("wait_seconds", "Wait.", ["queue"], buckets=(1.0, 5.0))
    for value in (0.5, 1.0, 3.0, 7.0):
        waits.labels("mail").observe(value)
    prometheus_client.Summary("size", "Size.").observe(2.5)
    families = found()
    assert [Histogram((1.0, 5.0), (2, 1, 1), 11.5, 4)] == [
        point.value for point in families["wait_seconds"].points
    ]
    assert ("summary", [Summary(1, 2.5, ())]) == (
        families["size"].type,
        [point.value for point in families["size"].points],
    )


def test_exemplars_are_kept_with_all_labels_one_for_each_bucket() -> None:
    prometheus_client.Counter("jobs", "Jobs.").inc(1, exemplar={"trace_id": "ab", "span_id": "cd"})
    prometheus_client.Counter("other", "Other.").inc(
        2, exemplar={"order": "7", "user": "u", "trace_id": "ab"}
    )
    waits = prometheus_client.Histogram("wait_seconds", "Wait.", buckets=(1.0, 5.0))
    for value, order in ((0.5, "a"), (3.0, "b"), (9.0, "c")):
        waits.observe(value, exemplar={"order": order})
    families = found()
    (point,) = families["jobs_total"].points
    assert point.exemplar is not None
    assert ("ab", "cd", 1.0) == (point.exemplar.trace_id, point.exemplar.span_id, point.exemplar.value)
    (point,) = families["other_total"].points
    assert point.exemplar is not None
    assert ((("order", "7"), ("user", "u"), ("trace_id", "ab")), 2.0) == (
        point.exemplar.labels,
        point.exemplar.value,
    )
    assert time.time() == pytest.approx(point.exemplar.time_unix, abs=10)
    (point,) = families["wait_seconds"].points
    assert [(0, "a", 0.5), (1, "b", 3.0), (2, "c", 9.0)] == [
        (bucket, each.labels[0][1], each.value) for bucket, each in point.exemplars
    ]


def test_exemplars_of_several_workers_are_the_newest_of_each_bucket() -> None:
    waits = prometheus_client.Histogram("wait_seconds", "Wait.", buckets=(1.0, 5.0))
    published = []
    for value, order in ((0.5, "old"), (3.0, "b"), (0.6, "new")):
        waits.observe(value, exemplar={"order": order})
        parts = foreign_parts(registry.registered())
        published.append(
            decode(encode(Publication(started=0.0, started_unix=0.0, published=0.0, foreign=parts)))
        )
    for alive in (True, False):
        tally = Tally(0.0)
        for contribution in published[::-1]:
            assert contribution is not None
            tally.add(contribution, alive=alive)
        (family,) = [one for one in of_foreign(tally.foreign) if one.name == "wait_seconds"]
        assert {(0, "new"), (1, "b")} == {
            (bucket, each.labels[0][1]) for bucket, each in family.points[0].exemplars
        }


def test_odd_collectors_are_shown_as_far_as_they_can_be() -> None:
    odd = CounterMetricFamily("odd", "Odd.")
    odd.add_sample("odd", {}, 5)  # a counter's sample without _total
    REGISTRY.register(Yields(odd))
    families = found()
    assert [("unknown", 5)] == [(families["odd"].type, point.value) for point in families["odd"].points]


def test_collectors_of_the_application_keep_types_units_and_times() -> None:
    level = GaugeMetricFamily("level_bytes", "Level.", unit="bytes")
    level.add_metric([], 5, timestamp=1700000000.5)
    sizes = GaugeHistogramMetricFamily("sizes", "Sizes.", buckets=[("1.0", 2), ("+Inf", 3)], gsum_value=4)
    info, states = (
        InfoMetricFamily("build", "B.", {"version": "1"}),
        StateSetMetricFamily("phase", "P.", {"idle": True}),
    )
    REGISTRY.register(Yields(level, sizes, info, states, UnknownMetricFamily("thing", "T.", value=3)))
    families = found()
    (point,) = families["level_bytes"].points
    assert ("gauge", "bytes", 5, 1700000000.5) == (
        families["level_bytes"].type,
        families["level_bytes"].unit,
        point.value,
        point.time_unix,
    )
    assert ("gaugehistogram", [Histogram((1.0,), (2, 1), 4, 3)]) == (
        families["sizes"].type,
        [one.value for one in families["sizes"].points],
    )
    assert ("info", "stateset", "unknown") == tuple(
        families[name].type for name in ("build_info", "phase", "thing")
    )
    merges = {
        name: families[name].merge
        for name in ("level_bytes", "build_info", "phase", "process_max_fds", "process_open_fds")
    }
    assert ("livemostrecent", "livemax", "livemax", "livemax", "livesum") == tuple(merges.values())


@pytest.mark.parametrize("error", [ValueError("broken"), SystemExit("broken")], ids=["raises", "exits"])
def test_a_collector_that_fails_is_told_once_and_costs_no_other(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever stands after it is shown, and what it had told before it failed; each time counts."""
    before, after = (
        CounterMetricFamily("before", "Before.", value=1),
        CounterMetricFamily("after", "After.", value=1),
    )
    REGISTRY.register(Yields(before, error))
    REGISTRY.register(Yields(after))
    lost = registry.unread()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert {"before_total", "after_total"} <= found().keys()
    (message,) = caplog.messages
    assert "collector tests.metrics.third_party.test_prometheus_client.Yields could not be read" in message
    assert repr(error) in message
    assert lost + 3 == registry.unread()
    assert not registry.within_reading()


@pytest.mark.parametrize("wrong", ["many", "nan"])
def test_a_bound_that_is_no_number_costs_its_series_only(
    wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    odd = HistogramMetricFamily("wait", "Wait.", labels=["queue"])
    odd.add_metric(["mail"], [("1.0", 2), (wrong, 3), ("+Inf", 3)], 4)
    odd.add_metric(["print"], [("1.0", 2), ("+Inf", 3)], 4)
    strange = Metric("strange", "Strange.", "gauge")
    strange.samples.append("no sample")
    REGISTRY.register(Yields(odd, strange, CounterMetricFamily("after", "After.", value=1)))
    with caplog.at_level(logging.WARNING):
        families = found()
    assert [(("queue", "print"),)] == [point.series.labels for point in families["wait"].points]
    assert "after_total" in families
    assert any("wait of collector" in message for message in caplog.messages)


def test_they_appear_in_the_snapshot_beside_ours_and_names_of_ours_stay_ours(streams: Streams) -> None:
    reading = SnapshotReader(streams, registered=registry.registered, include_process=False)
    reading.stop()
    streams.stream(FLOW_FAILED).cell({}).add(2)
    prometheus_client.Counter("bext_flow_failed", "A rival.").inc(40)
    prometheus_client.Counter("jobs", "Jobs.").inc(3)
    values = {family.name: [point.value for point in family.points] for family in reading.snapshot().families}
    assert ([2], [3.0]) == (values["bext_flow_failed_total"], values["jobs_total"])
    names = [family.name for family in reading.snapshot().families]
    assert len(set(names)) == len(names)


def test_what_the_application_registers_is_watched_but_for_a_process_that_forks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fresh = prometheus_client.CollectorRegistry()
    prometheus_client.ProcessCollector(registry=fresh)
    monkeypatch.setattr(prometheus_client.registry, "REGISTRY", fresh)
    monkeypatch.setattr(inheritance, "_forked", False)
    assert not registry.watched(), "of the library's own there is nothing to see"
    prometheus_client.Counter("jobs", "Jobs.", registry=fresh)
    assert registry.watched()
    inheritance.forked_child()
    assert not registry.watched()
    inheritance.take_baseline()
    assert registry.watched(), "a child has forked nobody yet"
    inheritance._inherited.clear()


def test_workers_add_up_what_can_be_added() -> None:
    """Counts of all; of what describes a process, only the first one's."""
    prometheus_client.Summary("size", "Size.").observe(2.5)
    prometheus_client.Counter("jobs", "Jobs.").inc(3)
    parts = foreign_parts(registry.registered())
    tally = Tally(0.0)
    for _ in range(2):
        tally.add(Publication(started=0.0, started_unix=0.0, published=0.0, foreign=parts), alive=True)
    values = {family.name: family.points[0].value for family in of_foreign(tally.foreign)}
    assert (6.0, Summary(2, 5.0, ())) == (values["jobs_total"], values["size"])
    assert 1 == values["python_info"]


def test_who_does_not_import_the_library_sees_nothing_of_it() -> None:
    """And we do not import it either, since its default metrics would appear."""
    program = (
        "import sys, bext_otel; runs = bext_otel.configure("
        "metrics={'mount': True, 'in_prometheus_client': True})\n"
        "from opentelemetry import metrics; "
        "metrics.get_meter('other').create_counter('other.things').add(1)\n"
        "def page(): return runs.endpoints.reply('GET', '/metrics', '', {}, trusted=True).body.decode()\n"
        "assert 'other_things_total' in page() and 'python_info' not in page(), page()\n"
        "assert 'prometheus_client' not in sys.modules\n"
        "import prometheus_client; prometheus_client.Counter('jobs', 'Jobs.').inc()\n"
        "assert 'python_info' in page() and 'jobs_total 1' in page(), page()\n"
        "theirs = prometheus_client.generate_latest().decode()\n"
        "assert theirs.count('other_things_total{otel_scope_name=\"other\"} 1.0') == theirs.count('\\njobs_total 1.0') == 1, theirs\n"
        "assert page().count('\\njobs_total 1') == page().count('other_things_total{otel_scope_name=\"other\"} 1') == 1, page()\n"
    )
    assert "" == printed(program)
