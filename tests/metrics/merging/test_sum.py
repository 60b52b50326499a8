"""Several workers as one service: whoever counts, reads, dies or takes over, the sum is what happened."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from bext_otel.apps import Budgets
from bext_otel.catalogue import (
    CACHE_ENTRIES,
    CACHE_HITS,
    FLOW_ACTIVE_RUNS,
    HTTP_SERVER_REQUEST_DURATION,
    LABEL_OVERFLOW,
    OTEL_SDK_EXPORTER_SPAN_EXPORTED,
    OVERFLOW,
    PLUGIN_FUEL_CONSUMED,
    REQUEST_DURATION,
    REQUESTS,
    Metric,
)
from bext_otel.metrics.merging.sum import Tally, compacted
from bext_otel.metrics.merging.totals import one_row
from bext_otel.metrics.merging.wire import Publication, decode, encode
from bext_otel.metrics.provider import BextMeterProvider
from bext_otel.metrics.reader import SnapshotReader
from bext_otel.metrics.snapshot import Distribution, Family, Histogram, Point, Series, Snapshot
from bext_otel.metrics.store.streams import Streams
from bext_otel.operation import SHARED
from bext_otel.testing import Clock

SHOP = {"app": "shop", "layer": "isr"}
PAGE = {"app": "shop", "route": "/"}
REQUEST = {"app": "shop", "method": "GET", "status": "200", "route": "/"}


@dataclass
class Peer:
    slot: int
    sequence: int
    payload: bytes
    alive: bool = True


class Board:
    """Where workers of one test publish: the ledger's contract, without processes."""

    def __init__(self) -> None:
        self.places: dict[int, Peer] = {}
        self.joined = 0

    def join(self) -> Seat:
        self.joined += 1
        return Seat(self)


class Seat:
    reason = ""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.slot: int | None = None

    def has_peers(self) -> bool:
        return self.board.joined > 1

    def take(self) -> bytes | None:
        dead = next((peer for peer in self.board.places.values() if not peer.alive), None)
        if dead is not None:
            self.slot, dead.alive = dead.slot, True
            return dead.payload
        self.slot = len(self.board.places)
        self.board.places[self.slot] = Peer(self.slot, 0, b"")
        return None

    def publish(self, payload: bytes) -> bool:
        assert self.slot is not None
        place = self.board.places[self.slot]
        place.payload, place.sequence = payload, place.sequence + 1
        return True

    def peers(self, known: Mapping[int, int]) -> list[Peer]:
        return [peer for peer in self.board.places.values() if peer.slot != self.slot and peer.payload]

    def members(self) -> list[int]:
        return []

    def die(self) -> None:
        if self.slot is not None:
            self.board.places[self.slot].alive = False


class Worker:
    def __init__(
        self,
        board: Board,
        clock: Clock,
        *,
        budgets: Budgets | None = None,
        telemetry: Mapping[str, int | str] = MappingProxyType({}),
    ) -> None:
        self.seat = board.join()
        self.streams = Streams(budgets or Budgets({}), monotonic=clock, clock=clock)
        self.provider = BextMeterProvider(self.streams, Resource({}))
        self.reading = SnapshotReader(
            self.streams,
            self.provider.instruments,
            ledger=self.seat,
            include_process=False,
            telemetry=lambda: dict(telemetry),
        )
        self.reading.stop()

    def hit(self, times: float = 1) -> None:
        self.streams.stream(CACHE_HITS).cell(SHOP).add(times)

    def hold(self, entries: int) -> None:
        self.streams.stream(CACHE_ENTRIES).cell(SHOP).add(entries)

    def take(self, milliseconds: float) -> None:
        self.streams.stream(REQUEST_DURATION).cell(PAGE).add(milliseconds)
        self.streams.stream(HTTP_SERVER_REQUEST_DURATION).cell({"http.request.method": "GET"}).add(
            milliseconds / 1e3
        )
        self.streams.stream(REQUESTS).cell(REQUEST).add(1)

    def publish(self) -> None:
        assert self.reading._service is not None
        self.reading._publish(self.reading._service, self.reading.observed())


def number(snapshot: Snapshot, metric: object = CACHE_HITS) -> float:
    found = [family for family in snapshot.families if family.metric is metric]
    return sum(
        point.value for family in found for point in family.points if isinstance(point.value, (int, float))
    )


@pytest.fixture
def clock() -> Clock:
    return Clock(10_000.0)


@pytest.fixture
def worker(clock: Clock) -> Callable[[], Worker]:
    board = Board()
    return lambda: Worker(board, clock)


def test_one_that_is_alone_publishes_nothing(worker: Callable[[], Worker]) -> None:
    only = worker()
    only.hit()
    only.reading.tick()
    assert 1 == number(only.reading.snapshot())
    assert {} == only.seat.board.places


def test_one_that_is_alone_says_once_what_it_has_counted_when_work_pauses(clock: Clock) -> None:
    """Whoever joins finds it, though the ticker sleeps by then."""
    board = Board()
    only = Worker(board, clock)
    only.hit()
    assert only.reading.tick(), "it was busy"
    assert {} == board.places
    assert not only.reading.tick()
    assert 1 == board.places[0].sequence
    assert not only.reading.tick()
    assert 1 == board.places[0].sequence
    assert 1 == number(Worker(board, clock).reading.snapshot())


def test_what_is_measured_while_one_publishes_for_a_scrape_is_not_shown_before_others_know(
    worker: Callable[[], Worker],
) -> None:
    one, other = worker(), worker()
    one.hit()
    publish = one.seat.publish

    def and_measure(payload: bytes) -> bool:
        said = publish(payload)
        one.hit()
        return said

    one.seat.publish = and_measure  # type: ignore[method-assign]
    assert number(one.reading.snapshot()) <= number(other.reading.snapshot())


def test_what_other_libraries_count_is_everybodys_after_a_tick(worker: Callable[[], Worker]) -> None:
    """Nothing of the catalogue need be measured for it."""
    one, other = worker(), worker()
    things = one.provider.get_meter("shop").create_counter("shop.things")
    things.add(2, {"kind": "tea"})
    assert one.reading.tick()
    things.add(3, {"kind": "tea"})
    one.reading.tick()
    (family,) = (family for family in other.reading.snapshot().families if family.name == "shop_things_total")
    assert [5] == [point.value for point in family.points]


def test_callbacks_that_take_long_are_not_called_at_each_tick(clock: Clock) -> None:
    """The time that passes in them is a twentieth of all time at most."""
    board, called = Board(), []
    one, _ = Worker(board, clock), Worker(board, clock)

    def slow(_: CallbackOptions) -> list[Observation]:
        called.append(clock.now)
        clock.advance(0.5)
        return [Observation(1)]

    one.provider.get_meter("shop").create_observable_gauge("shop.depth", [slow])
    for _ in range(40):
        one.hit()
        one.reading.tick()
        clock.advance(1)
    assert 4 == len(called)


def test_what_is_counted_unheard_is_everybodys_too_and_idle_costs_no_publication(
    worker: Callable[[], Worker], clock: Clock
) -> None:
    """`prometheus_client` tells nobody that somebody counts with it."""
    one, other = worker(), worker()
    jobs, looks = [0.0], list[float]()

    def registered() -> list[Family]:
        looks.append(clock.now)
        clock.advance(0.05)
        gauge = Family("process_open_fds", "gauge", "", "", [Point(Series(()), clock.now)])
        return [gauge, Family("jobs_total", "counter", "", "", [Point(Series(()), jobs[0])])]

    one.reading.third_party.registered = registered
    assert not one.reading.tick()
    assert [] == looks
    one.reading.third_party.watched = lambda: True
    for count in range(1, 4):
        jobs[0] = count
        clock.advance(60)
        assert one.reading.tick(), "it goes on looking"
        assert [count] == [
            family.points[0].value
            for family in other.reading.snapshot().families
            if family.name == "jobs_total"
        ]
    said = one.seat.board.places[0].sequence
    looks.clear()
    for _ in range(60):
        clock.advance(1)
        assert one.reading.tick()
    assert said == one.seat.board.places[0].sequence
    assert 10 <= len(looks) <= 15, "a hundredth of the time, as each takes a twentieth of a second"


def test_one_that_is_alone_does_not_look_for_what_is_counted_unheard(clock: Clock) -> None:
    only = Worker(Board(), clock)
    only.reading.third_party.watched = lambda: True
    only.reading.third_party.registered = lambda: pytest.fail("nobody would read it")
    assert not only.reading.tick()


def test_why_nothing_can_be_shared_any_more_is_one_line(
    worker: Callable[[], Worker], caplog: pytest.LogCaptureFixture
) -> None:
    one, _ = worker(), worker()
    one.seat.publish = lambda _: False  # type: ignore[method-assign]
    one.seat.reason = "no space left"
    for _ in range(3):
        one.hit()
        one.reading.tick()
    (record,) = caplog.records
    assert "(no space left)" in record.getMessage()
    assert 3 == number(one.reading.snapshot())


def test_any_worker_shows_the_sum(worker: Callable[[], Worker]) -> None:
    workers = [worker() for _ in range(3)]
    for count, each in enumerate(workers, 1):
        each.hit(count)
        each.publish()
    assert [6, 6, 6] == [number(each.reading.snapshot()) for each in workers]


def test_what_one_has_shown_the_next_one_shows_too(worker: Callable[[], Worker]) -> None:
    one, other = worker(), worker()
    for each in (one, other):
        each.publish()
    shown = 0.0
    for turn in range(10):
        reader = (one, other)[turn % 2]
        reader.hit()
        now = number(reader.reading.snapshot())
        assert now > shown
        shown = now


def test_the_counts_of_the_dead_stay_and_what_they_held_goes(worker: Callable[[], Worker]) -> None:
    one, other = worker(), worker()
    for each in (one, other):
        each.hit(5)
        each.hold(7)
        each.publish()
    other.seat.die()
    snapshot = one.reading.snapshot()
    assert (10, 7) == (number(snapshot), number(snapshot, CACHE_ENTRIES))


def test_what_went_up_and_not_down_in_a_worker_that_died_goes_with_it(worker: Callable[[], Worker]) -> None:
    one, other = worker(), worker()
    for each in (one, other):
        for amount in (3, -1):
            each.streams.stream(FLOW_ACTIVE_RUNS).cell({}).add(amount)
        each.publish()
    assert 4 == number(one.reading.snapshot(), FLOW_ACTIVE_RUNS)
    other.seat.die()
    assert 2 == number(one.reading.snapshot(), FLOW_ACTIVE_RUNS)


def test_what_workers_share_counts_once_and_what_each_holds_adds_up(worker: Callable[[], Worker]) -> None:
    workers = [worker() for _ in range(3)]
    for entries, each in enumerate(workers, 1):
        observers = each.streams.stream(CACHE_ENTRIES).observers
        observers.append(lambda entries=entries: [(entries, SHOP)])
        observers.append(lambda: [(100, {**SHOP, SHARED: "redis://cache"})])
        observers.append(lambda: [(1000, {**SHOP, SHARED: "redis://other"})])
        each.publish()
    assert [1106] * 3 == [number(each.reading.snapshot(), CACHE_ENTRIES) for each in workers]
    workers[0].seat.die()
    assert 1105 == number(workers[1].reading.snapshot(), CACHE_ENTRIES)


def test_who_takes_a_dead_workers_place_answers_for_its_counts(worker: Callable[[], Worker]) -> None:
    one, former = worker(), worker()
    for each in (one, former):
        each.hit(5)
        each.publish()
    former.seat.die()
    heir = worker()
    heir.hit(1)
    assert 11 == number(heir.reading.snapshot())
    assert 11 == number(one.reading.snapshot())
    assert 2 == len(one.seat.board.places)


def test_counts_survive_any_number_of_successions(worker: Callable[[], Worker]) -> None:
    witness = worker()
    witness.publish()
    for _ in range(20):
        heir = worker()
        heir.hit(1)
        heir.take(10.0)
        heir.publish()
        heir.seat.die()
    snapshot = witness.reading.snapshot()
    assert 20 == number(snapshot)
    assert 2 == len(witness.seat.board.places)
    (family,) = [family for family in snapshot.families if family.metric is REQUEST_DURATION]
    (point,) = family.points
    assert isinstance(point.value, Distribution)
    assert (20, 200.0, 10.0) == (point.value.count, point.value.sum, dict(point.value.quantiles())[0.5])


def test_quantiles_are_of_all_workers_windows_together(worker: Callable[[], Worker]) -> None:
    workers, rng = [worker() for _ in range(4)], random.Random(3)
    values = [rng.lognormvariate(1, 1) for _ in range(2000)]
    for position, value in enumerate(values):
        workers[position % 4].take(value)
    for each in workers:
        each.publish()
    (family,) = [
        family for family in workers[0].reading.snapshot().families if family.metric is REQUEST_DURATION
    ]
    value = family.points[0].value
    assert isinstance(value, Distribution)
    for q, found in value.quantiles():
        assert sorted(values)[math.ceil(q * len(values)) - 1] == pytest.approx(found, rel=0.01)


def test_histograms_and_rates_add_up(worker: Callable[[], Worker], clock: Clock) -> None:
    one, other = worker(), worker()
    clock.advance(120)
    for each in (one, other):
        for _ in range(60):
            each.take(2.0)
        each.publish()
    clock.advance(30)
    other.publish()
    snapshot = one.reading.snapshot()
    (family,) = [family for family in snapshot.families if family.metric is HTTP_SERVER_REQUEST_DURATION]
    assert isinstance(family.points[0].value, Histogram)
    assert (120, 120) == (family.points[0].value.counts[0], family.points[0].value.count)
    (rate,) = snapshot.rates[REQUESTS.exported].values()
    assert 2.0 <= rate < 2.5  # 120 in the minute that the window holds, unfinished steps left out


def test_the_window_of_a_worker_that_fell_silent_is_forgotten_in_time(
    worker: Callable[[], Worker], clock: Clock
) -> None:
    one, other = worker(), worker()
    other.take(500.0)
    other.publish()
    one.take(1.0)
    one.publish()
    clock.advance(400)
    one.take(1.0)
    (family,) = [family for family in one.reading.snapshot().families if family.metric is REQUEST_DURATION]
    value = family.points[0].value
    assert isinstance(value, Distribution)
    assert (3, 1.0) == (value.count, dict(value.quantiles())[0.99])


def test_the_service_is_as_old_as_its_oldest_worker(worker: Callable[[], Worker], clock: Clock) -> None:
    old = worker()
    old.publish()
    clock.advance(100)
    young = worker()
    young.publish()
    assert 100.0 == young.reading.snapshot().uptime_seconds
    old.seat.die()
    assert 100.0 == young.reading.snapshot().uptime_seconds


def test_what_cannot_be_read_is_passed_over(worker: Callable[[], Worker]) -> None:
    one, other = worker(), worker()
    one.hit(2)
    other.publish()
    other.seat.board.places[0].payload = b"\xc1 nonsense"
    assert 2 == number(one.reading.snapshot())


def plugins(snapshot: Snapshot, metric: Metric = PLUGIN_FUEL_CONSUMED) -> dict[str, float]:
    family = snapshot.family(metric)
    assert family is not None
    return {
        point.series.labels[0][1]: point.value
        for point in family.points
        if isinstance(point.value, (int, float))
    }


def test_a_budget_holds_for_the_service_and_every_worker_folds_the_same_values() -> None:
    board, clock = Board(), Clock(1000.0)
    workers = [Worker(board, clock, budgets=Budgets({"plugin": 10})) for _ in range(3)]
    for number_ in range(24):
        worker = workers[number_ % 3]
        worker.streams.stream(PLUGIN_FUEL_CONSUMED).cell({"plugin": f"plugin-{number_:02}"}).add(1)
    for worker in workers:
        worker.publish()
    shown = [plugins(worker.reading.snapshot()) for worker in workers]
    assert shown[0] == shown[1] == shown[2]
    assert {*(f"plugin-{number_:02}" for number_ in range(10)), OVERFLOW} == set(shown[0])
    assert 24 == sum(shown[0].values())
    assert {"plugin": 14} == plugins(workers[0].reading.snapshot(), LABEL_OVERFLOW)


def test_what_is_taken_over_stays_within_the_budgets_however_many_workers_die() -> None:
    board, clock = Board(), Clock(1000.0)
    watcher = Worker(board, clock, budgets=Budgets({"plugin": 10}))
    watcher.publish()
    shown, sizes = dict[str, float](), list[int]()
    for generation in range(12):
        heir = Worker(board, clock, budgets=Budgets({"plugin": 10}))
        heir.publish()
        for value in range(10):
            heir.streams.stream(PLUGIN_FUEL_CONSUMED).cell({"plugin": f"{generation}-{value}"}).add(1.5)
        heir.publish()
        now = plugins(watcher.reading.snapshot())
        assert all(now[name] >= value for name, value in shown.items())
        assert 15 * (generation + 1) == sum(now.values())
        assert 10 * generation == sum(
            plugins(watcher.reading.snapshot(), LABEL_OVERFLOW).values() if generation else ()
        )
        shown = now
        sizes.append(len(board.places[1].payload))
        heir.seat.die()
        clock.advance(10)
    assert {*(f"0-{value}" for value in range(10)), OVERFLOW} == set(shown)
    assert max(sizes[2:]) <= 1.1 * min(sizes[2:])


def test_what_a_living_worker_admitted_first_is_not_folded_when_another_dies() -> None:
    board, clock = Board(), Clock(1000.0)
    living, former = (Worker(board, clock, budgets=Budgets({"plugin": 3})) for _ in range(2))
    fuel = [each.streams.stream(PLUGIN_FUEL_CONSUMED) for each in (living, former)]
    fuel[0].cell({"plugin": "shared"}).add(1)
    for name in ("x", "y", "shared"):
        fuel[1].cell({"plugin": name}).add(1)
    for each in (living, former):
        each.publish()
    for budgets in (
        5,
        3,
    ):  # what it took over, with what it measured, is past the budget at the second succession
        former.seat.die()
        former = Worker(board, clock, budgets=Budgets({"plugin": 3}))
        former.publish()
        former.streams.stream(PLUGIN_FUEL_CONSUMED).cell({"plugin": f"late-{budgets}"}).add(1)
        former.publish()
    former.seat.die()
    heir = Worker(board, clock, budgets=Budgets({"plugin": 3}))
    assert {"shared": 2, "x": 1, "y": 1, OVERFLOW: 2} == plugins(heir.reading.snapshot())
    assert heir.reading._service is not None
    assert heir.reading._service.base is not None
    assert 4 == len(heir.reading._service.base.rows(PLUGIN_FUEL_CONSUMED.exported))


def test_labels_of_one_name_have_budgets_of_their_own() -> None:
    """`error.type` is what failed of a request, and of an export."""
    board, clock = Board(), Clock(1000.0)
    workers = [Worker(board, clock, budgets=Budgets({"error.type": 20})) for _ in range(3)]
    for number_, worker in enumerate(workers):
        durations = worker.streams.stream(HTTP_SERVER_REQUEST_DURATION)
        for value in range(20):
            durations.cell({"http.request.method": "GET", "error.type": f"E{number_}-{value}"}).add(0.1)
        worker.streams.stream(OTEL_SDK_EXPORTER_SPAN_EXPORTED).cell({"error.type": "ConnectionError"}).add(1)
        worker.publish()
    snapshot = workers[0].reading.snapshot()
    requests, exports = (
        snapshot.family(HTTP_SERVER_REQUEST_DURATION),
        snapshot.family(OTEL_SDK_EXPORTER_SPAN_EXPORTED),
    )
    assert requests is not None
    assert exports is not None
    shown = {dict(point.series.labels)["error.type"] for point in requests.points}
    assert (21, True) == (len(shown), OVERFLOW in shown)
    assert [("ConnectionError", 3)] == [
        (dict(point.series.labels)["error.type"], point.value) for point in exports.points
    ]
    assert {"error.type": 40} == plugins(snapshot, LABEL_OVERFLOW)


def test_quantiles_forget_what_is_long_ago_also_while_workers_succeed_each_other(clock: Clock) -> None:
    board = Board()
    slow, watcher = Worker(board, clock), Worker(board, clock)
    slow.take(5000.0)
    slow.publish()
    slow.seat.die()
    for _ in range(15):
        heir = Worker(board, clock)
        heir.publish()
        heir.take(1.0)
        clock.advance(60)
        heir.publish()
        heir.seat.die()
    family = watcher.reading.snapshot().family(REQUEST_DURATION)
    assert family is not None
    (point,) = family.points
    assert isinstance(point.value, Distribution)
    assert (16, 5015.0, 1.0) == (point.value.count, point.value.sum, dict(point.value.quantiles())[0.99])


def sums(snapshot: Snapshot) -> dict[str, float]:
    return {
        family.name: point.value.sum if isinstance(point.value, (Distribution, Histogram)) else point.value
        for family in snapshot.families
        for point in family.points
    }


def test_every_worker_shows_the_same_last_digit_and_no_succession_lowers_it(clock: Clock) -> None:
    """Prometheus takes a counter that falls by it for one that has begun anew."""
    board, rng = Board(), random.Random(3)
    workers = [Worker(board, clock) for _ in range(4)]
    shown = dict[str, float]()
    for turn in range(60):
        for each in workers:
            each.take(rng.lognormvariate(2, 1))
            meter = each.provider.get_meter("theirs")
            meter.create_counter("seconds").add(rng.random())
            meter.create_histogram("waits").record(rng.random())
            each.streams.stream(PLUGIN_FUEL_CONSUMED).cell({"plugin": "p"}).add(rng.random())
            each.reading.snapshot()
        now = sums(workers[0].reading.snapshot())
        assert [now] * 3 == [sums(each.reading.snapshot()) for each in workers[1:]]
        assert all(now[name] >= value for name, value in shown.items())
        assert {
            "seconds_total",
            "waits",
            REQUEST_DURATION.exported,
            PLUGIN_FUEL_CONSUMED.exported,
        } <= now.keys()
        workers[turn % 4].seat.die()
        workers[turn % 4] = Worker(board, clock)
        shown = sums(workers[turn % 4].reading.snapshot())
        assert now == {name: shown[name] for name in now}


def test_exemplars_of_durations_are_the_services(worker: Callable[[], Worker]) -> None:
    one, other = worker(), worker()
    with TracerProvider().get_tracer("t").start_as_current_span("s") as span:
        one.take(5.0)
    one.publish()
    snapshot = other.reading.snapshot()
    for metric in (REQUEST_DURATION, HTTP_SERVER_REQUEST_DURATION, REQUESTS):
        family = snapshot.family(metric)
        assert family is not None
        assert [f"{span.get_span_context().trace_id:032x}"] == [
            point.exemplar and point.exemplar.trace_id for point in family.points
        ]


def test_what_the_dead_delivered_and_lost_stays_in_the_figures_of_telemetry(clock: Clock) -> None:
    board = Board()
    told = {
        "spans_failed": 20,
        "spans_exported": 3,
        "metric_points_dropped": 2,
        "log_lines_lost": 1,
        "spans_queued": 7,
        "spans_export": "failing",
    }
    one, other = (Worker(board, clock, telemetry=told) for _ in range(2))
    for each in (one, other):
        each.publish()
    kept = {"spans_failed": 40, "spans_exported": 6, "metric_points_dropped": 4, "log_lines_lost": 2}
    assert {
        **kept,
        "spans_queued": 14,
        "spans_export": "failing",
        "series": 0,
    } == one.reading.snapshot().telemetry
    for _ in range(3):
        other.seat.die()
        assert {
            **kept,
            "spans_queued": 7,
            "spans_export": "failing",
            "series": 0,
        } == one.reading.snapshot().telemetry
        other = Worker(board, clock)
        other.publish()


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(["hit", "take", "publish", "scrape", "die", "idle"]), st.integers(0, 3)),
        max_size=60,
    )
)
def test_any_sequence_of_records_publications_scrapes_and_deaths_keeps_the_totals_and_never_goes_back(
    events: list[tuple[str, int]],
) -> None:
    board, clock = Board(), Clock(1000.0)
    workers = [Worker(board, clock) for _ in range(4)]
    for each in workers:
        each.publish()
    hits, shown = 0, 0.0
    for event, who in events:
        worker = workers[who]
        if event == "hit":
            worker.hit()
            hits += 1
        elif event == "take":
            worker.take(5.0)
        elif event == "publish":
            worker.publish()
        elif event == "idle":
            clock.advance(70)
        elif event == "scrape":
            now = number(worker.reading.snapshot())
            assert now >= shown
            shown = now
        else:
            # what was not published dies with it: that is the one tick which a kill may cost
            worker.publish()
            worker.seat.die()
            workers[who] = Worker(board, clock)
    for each in workers:
        each.publish()
    assert {hits} == {number(each.reading.snapshot()) for each in workers}
    assert len(board.places) <= 8


amounts = st.lists(st.tuples(st.integers(0, 5), st.floats(0.01, 1e4)), min_size=1, max_size=20)


def contribution(measured: list[tuple[int, float]]) -> Publication:
    worker = Worker(Board(), Clock(1000.0))
    for times, value in measured:
        worker.hit(times)
        worker.take(value)
    made = decode(encode(worker.reading._contribution(worker.reading.observed(), None)))
    assert made is not None
    return made


def told(*contributions: Publication) -> object:
    tally = Tally(1000.0)
    for each in contributions:
        tally.add(each, alive=False)
    compact = compacted(contributions, 1000.0)
    found = {
        name: [one_row(labels, rows, 1000.0) for labels, rows in held.items()]
        for name, held in tally.series.items()
    }
    assert found == {name: compact.rows(name) for name in compact.series}
    assert {
        CACHE_HITS.exported,
        REQUEST_DURATION.exported,
        HTTP_SERVER_REQUEST_DURATION.exported,
    } <= found.keys()
    return found


@settings(max_examples=30)
@given(amounts, amounts, amounts)
def test_merging_is_commutative_and_associative(
    one: list[tuple[int, float]], two: list[tuple[int, float]], three: list[tuple[int, float]]
) -> None:
    a, b, c = contribution(one), contribution(two), contribution(three)
    expected = told(a, b, c)
    assert expected == told(c, a, b)
    assert expected == told(compacted([a, b], 1000.0), c)
    assert expected == told(a, compacted([b, c], 1000.0))


def test_bytes_of_another_version_or_of_nobody_are_no_contribution() -> None:
    assert decode(b"") is None
    assert decode(b"\x93\x02\x00\x00") is None
