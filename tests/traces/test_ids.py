"""Ids of spans and traces are nobody's to repeat: no seed, no fork, no thread does."""

from __future__ import annotations

import ctypes
import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bext_otel.traces import ids
from bext_otel.traces.ids import SystemIdGenerator
from tests.fresh import fresh

MANY = 2_000


def test_a_seed_repeats_no_id_and_no_id_moves_the_seeds_numbers_on() -> None:
    generator, seen = SystemIdGenerator(), []
    random.seed(2)
    expected = [random.random() for _ in range(3)]
    for _ in range(2):
        random.seed(2)
        for number in expected:
            seen += [generator.generate_trace_id(), generator.generate_span_id()]
            assert number == random.random()
    assert len(seen) == len(set(seen))


def test_ids_have_all_their_bits_and_are_never_invalid() -> None:
    generator = SystemIdGenerator()
    spans = [generator.generate_span_id() for _ in range(MANY)]
    traces = [generator.generate_trace_id() for _ in range(MANY)]
    assert 2 * MANY == len({*spans, *traces})
    assert all(0 < each < 1 << 64 for each in spans)
    assert all(0 < each < 1 << 128 for each in traces)
    for bits, found in ((64, spans), (128, traces)):
        for bit in range(bits):  # 2,000 fair coins: a tenth off the half is nine deviations
            assert 0.4 < sum(each >> bit & 1 for each in found) / MANY < 0.6


def test_a_zero_of_the_systems_is_no_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "urandom", lambda count: bytes(8) + bytes([1]) * (count - 8))
    generator = SystemIdGenerator()
    assert {0x0101010101010101} == {generator.generate_span_id() for _ in range(1_000)}


@pytest.mark.parametrize("error", [NotImplementedError(), OSError("no descriptor is left")])
def test_without_the_systems_randomness_there_are_ids_all_the_same(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def urandom(_: int) -> bytes:
        raise error

    generator = SystemIdGenerator()
    monkeypatch.setattr(ids, "urandom", urandom)
    random.seed(2)
    first = [generator.generate_trace_id() for _ in range(MANY)]
    random.seed(2)
    again = SystemIdGenerator()
    assert 2 * MANY == len({*first, *(again.generate_trace_id() for _ in range(MANY))})


def test_threads_share_a_generator_and_no_id() -> None:
    generator = SystemIdGenerator()
    found: list[list[int]] = []
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        found.append([generator.generate_span_id() for _ in range(MANY)])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 8 * MANY == len({each for ids_of_one in found for each in ids_of_one})


def told_by_child(fork: Callable[[], int], generator: SystemIdGenerator) -> Iterator[int]:
    read, write = os.pipe()
    child = fork()
    if child == 0:
        os.write(write, ",".join(str(generator.generate_span_id()) for _ in range(100)).encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as told:
        yield from map(int, told.read().split(","))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("fork", [os.fork, lambda: ctypes.CDLL(None).fork()], ids=["fork", "unheard"])
def test_parent_and_children_have_ids_of_their_own(fork: Callable[[], int]) -> None:
    """Also where Python was not told of the fork, as under uWSGI."""
    generator = SystemIdGenerator()
    generator.generate_span_id()
    children = [*told_by_child(fork, generator), *told_by_child(fork, generator)]
    assert 300 == len({*children, *(generator.generate_span_id() for _ in range(100))})


SEEDED = """
import random
from opentelemetry import trace
import bext_otel
bext_otel.configure()
traces, flags = [], []
for _ in range(2):
    random.seed(2)
    with trace.get_tracer("shop").start_as_current_span("page") as span:
        traces.append(span.get_span_context().trace_id)
        flags.append(span.get_span_context().trace_flags)
show([len(set(traces)), [f"{each:02x}" for each in flags]])
"""


def test_an_application_that_seeds_random_has_a_trace_a_request(tmp_path: Path) -> None:
    """And says that its trace ids are random (W3C Trace Context, level 2)."""
    assert [2, ["03", "03"]] == fresh(SEEDED, tmp_path)[0]


def test_the_sdks_generator_is_used_where_it_is_asked_for(tmp_path: Path) -> None:
    assert 1 == fresh(SEEDED, tmp_path, OTEL_PYTHON_ID_GENERATOR="random")[0][0]


def test_the_ids_of_a_trace_and_its_first_span_are_two_ids() -> None:
    generator = SystemIdGenerator()
    pairs = [generator.generate_ids() for _ in range(MANY)]
    assert 2 * MANY == len({each for pair in pairs for each in pair})
    assert all(0 < trace_id < 1 << 128 and 0 < span_id < 1 << 64 for trace_id, span_id in pairs)
