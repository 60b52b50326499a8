"""Celery, with a worker in a thread over a broker in memory; its shapes, and that they are what they were."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import celery
import pytest
from celery import _state, beat, chain, chord, group
from celery.contrib.testing.worker import start_worker
from celery.exceptions import Ignore, Reject
from celery.signals import before_task_publish, task_failure, task_postrun, task_received
from opentelemetry import context, trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor as Upstream
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from bext_otel import runs
from bext_otel.catalogue import FLOW_COMPLETED, FLOW_FAILED, FLOW_STEP_DURATION
from bext_otel_instrumentors.celery.instrumentor import CeleryInstrumentor
from bext_otel_instrumentors.celery.messages import before_publish
from tests.instrumentors.conftest import Telemetry
from tests.waiting import until

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

STEP = "bext.flow.step "


class App:
    """An application with a worker in a thread."""

    def __init__(self) -> None:
        self.app = app = celery.Celery(
            "shop", broker="memory://", backend="cache+memory://", set_as_current=False
        )
        app.conf.update(
            worker_hijack_root_logger=False,
            result_expires=None,
            task_default_queue=f"queue-{id(self)}",
            broker_transport_options={"polling_interval": 0.02},
        )
        self.waiting = threading.Event()
        self.go_on = threading.Event()
        self.tried: dict[str, int] = {}

        @app.task(name="add", shared=False)
        def add(x: int, y: int = 1) -> int:
            return x + y

        @app.task(name="total", shared=False)
        def total(numbers: list[int]) -> int:
            return sum(numbers)

        @app.task(name="fail", shared=False)
        def fail(*_: Any) -> None:
            raise LookupError("gone")

        @app.task(name="flaky", shared=False, bind=True, default_retry_delay=0, max_retries=5)
        def flaky(task: Any, times: int, *, because: bool = True) -> int:
            tried = self.tried[task.request.id] = self.tried.get(task.request.id, 0) + 1
            if tried <= times:
                raise task.retry(exc=LookupError("not yet")) if because else task.retry()
            return tried

        @app.task(name="rejects", shared=False)
        def rejects() -> None:
            raise Reject(LookupError("out of stock"), requeue=False)

        @app.task(name="hesitant", shared=False, acks_late=True)
        def hesitant() -> None:
            tried = self.tried["hesitant"] = self.tried.get("hesitant", 0) + 1
            if tried == 1:
                raise Reject("not now", requeue=True)

        @app.task(name="patient", shared=False, bind=True)
        def patient(task: Any) -> str:
            if not task.request.retries:
                raise task.retry(countdown=1)
            return "done"

        @app.task(name="hold", shared=False)
        def hold() -> str:
            self.waiting.set()
            self.go_on.wait(20)
            return "held"

        @app.task(name="ignored", shared=False)
        def ignored() -> None:
            raise Ignore

        @app.task(name="replaced", shared=False, bind=True)
        def replaced(task: Any) -> int:
            return task.replace(add.s(40))  # type: ignore[no-any-return]

        @app.task(name="parent", shared=False)
        def parent() -> None:
            chain(add.s(1), add.s(2)).apply_async()
            add.delay(5)

        self.add, self.total, self.fail, self.flaky, self.patient = add, total, fail, flaky, patient
        self.hold, self.ignored, self.replaced, self.parent = hold, ignored, replaced, parent


@contextmanager
def working(pool: str = "solo") -> Iterator[App]:
    made = App()
    with start_worker(
        made.app, perform_ping_check=False, pool=pool, concurrency=4, loglevel="CRITICAL", shutdown_timeout=30
    ):
        yield made


@pytest.fixture(scope="module")
def shop() -> Iterator[App]:
    """One worker for many tests: it takes seconds to stop one."""
    with working() as made:
        yield made


@pytest.fixture
def instrumented(telemetry: Telemetry) -> Iterator[Telemetry]:
    CeleryInstrumentor().instrument()
    yield telemetry
    CeleryInstrumentor().uninstrument()
    assert 0 == runs._active


def spans(telemetry: Telemetry, name: str) -> list[ReadableSpan]:
    return [span for span in telemetry.spans() if span.name == name]


def attribute(span: ReadableSpan, name: str) -> Any:
    return (span.attributes or {}).get(name)


def trace_ids(telemetry: Telemetry) -> set[int]:
    return {span.context.trace_id for span in telemetry.spans() if span.context}


def ended(telemetry: Telemetry, completed: int, failed: int = 0) -> None:
    """Runs that completed and failed; waits for them, since a result is there before the task has ended."""
    until(
        lambda: (
            sum(telemetry.counts(FLOW_COMPLETED).values()) >= completed
            and sum(telemetry.counts(FLOW_FAILED).values()) >= failed
        )
    )
    found = telemetry.counts(FLOW_COMPLETED).get((), 0), telemetry.counts(FLOW_FAILED).get((), 0)
    assert (completed, failed) == found


def steps(telemetry: Telemetry) -> dict[Any, int]:
    """Steps by flow."""
    return {flow: count for (flow,), count in telemetry.counts(FLOW_STEP_DURATION).items()}


def whole(telemetry: Telemetry) -> None:
    """One trace, in which nobody misses a parent."""
    assert 1 == len(trace_ids(telemetry))
    known = {span.context.span_id for span in telemetry.spans() if span.context}
    assert 1 == len([span for span in telemetry.spans() if span.parent is None])
    assert {span.parent.span_id for span in telemetry.spans() if span.parent} <= known


def sends(app: Any) -> str:
    """The name of the span of a publisher: what it does, and where to."""
    return f"send {app.conf.task_default_queue}"


def test_a_plain_task_is_a_run_of_one_step_in_the_publishers_trace(
    instrumented: Telemetry, shop: App
) -> None:
    with instrumented.tracer_provider.get_tracer("app").start_as_current_span("request"):
        sent = shop.add.delay(2)
    assert 3 == sent.get(timeout=10)
    ended(instrumented, 1)
    whole(instrumented)
    names = ("request", sends(shop.app), f"process {shop.app.conf.task_default_queue}", f"{STEP}add")
    (request,), (send,), (process,), (step,) = (spans(instrumented, name) for name in names)
    assert (SpanKind.PRODUCER, SpanKind.CONSUMER, SpanKind.INTERNAL) == (send.kind, process.kind, step.kind)
    above = (request, send, process)
    assert [span.context and span.context.span_id for span in above] == [
        span.parent and span.parent.span_id for span in (send, process, step)
    ]
    for span, operation in ((send, "send"), (process, "process")):
        shown = [attribute(span, f"messaging.{name}") for name in ("system", "message.id", "operation.name")]
        assert ["celery", sent.id, operation] == shown
        assert operation == attribute(span, "messaging.operation.type")
    assert {"add": 1} == steps(instrumented)


@contextmanager
def worker_within(telemetry: Telemetry, name: str) -> Iterator[None]:
    """A worker that was started within a span, as by a command that is traced: in its thread, that is
    current."""
    span = telemetry.tracer_provider.get_tracer("click").start_span(name)
    tokens: list[Any] = []

    def begin(**_: Any) -> None:
        tokens.append(context.attach(trace.set_span_in_context(span)))

    def end(**_: Any) -> None:
        context.detach(tokens.pop())

    task_received.connect(begin, weak=False)
    task_postrun.connect(end, weak=False)
    try:
        yield
        until(lambda: not tokens)
    finally:
        task_received.disconnect(begin)
        task_postrun.disconnect(end)


def test_a_message_without_a_trace_begins_one_whatever_the_worker_was_started_in(
    instrumented: Telemetry, shop: App
) -> None:
    before_task_publish.disconnect(before_publish)  # a publisher without instrumentation
    with worker_within(instrumented, "celery worker"):
        for _ in range(2):
            assert 3 == shop.add.delay(2).get(timeout=10)
        ended(instrumented, 2)
    both = spans(instrumented, f"process {shop.app.conf.task_default_queue}")
    assert [None, None] == [span.parent for span in both]
    assert 2 == len({span.context.trace_id for span in both if span.context})


def test_what_beat_sends_is_a_trace_each_whatever_it_was_started_in(instrumented: Telemetry) -> None:
    app = App().app
    scheduler = beat.Scheduler(app, lazy=True)
    with instrumented.tracer_provider.get_tracer("click").start_as_current_span("celery beat"):
        for _ in range(2):
            scheduler.apply_async(scheduler.Entry(name="hourly", task="add", schedule=60, args=(1,), app=app))
    assert [None, None] == [span.parent for span in spans(instrumented, sends(app))]


def test_a_chain_is_one_run_named_after_its_first_task(instrumented: Telemetry, shop: App) -> None:
    assert 8 == chain(shop.add.s(1), shop.add.s(2), shop.total.si([8])).delay().get(timeout=10)
    ended(instrumented, 1)
    whole(instrumented)
    assert {"add": 3} == steps(instrumented)
    first, second = spans(instrumented, f"{STEP}add")
    assert first.context is not None
    assert [(), (first.context.span_id,)] == [
        tuple(link.context.span_id for link in span.links) for span in (first, second)
    ]


def test_the_caller_may_name_the_flow(instrumented: Telemetry, shop: App) -> None:
    chain(shop.add.s(1), shop.add.s(2)).apply_async(headers={"bext_flow": "checkout"}).get(timeout=10)
    ended(instrumented, 1)
    assert {"checkout": 2} == steps(instrumented)


def test_a_chord_is_one_run_that_ends_with_its_body(instrumented: Telemetry, shop: App) -> None:
    assert 5 == chord([shop.add.s(1), shop.add.s(2)], shop.total.s()).delay().get(timeout=20)
    ended(instrumented, 1)
    assert {"add": 3} == steps(instrumented)
    assert not [span.name for span in instrumented.spans() if "celery." in span.name]


def test_a_chain_through_a_group_is_one_run(instrumented: Telemetry, shop: App) -> None:
    assert 9 == chain(shop.add.s(1), group(shop.add.s(2), shop.add.s(3)), shop.total.s()).delay().get(
        timeout=20
    )
    ended(instrumented, 1)
    whole(instrumented)
    assert {"add": 4} == steps(instrumented)


def test_each_branch_of_a_group_ends_by_itself(instrumented: Telemetry, shop: App) -> None:
    sent = group(shop.total.s([1]), shop.add.s(2), shop.fail.s()).delay()
    assert [1, 3] == [sent[0].get(timeout=10), sent[1].get(timeout=10)]
    ended(instrumented, 2, 1)
    assert {"total": 3} == steps(instrumented)


def test_tasks_that_a_task_publishes_are_runs_of_their_own_in_its_trace(
    instrumented: Telemetry, shop: App
) -> None:
    shop.parent.delay().get(timeout=10)
    ended(instrumented, 3)
    whole(instrumented)
    assert {"parent": 1, "add": 3} == steps(instrumented)


def test_a_task_that_fails_ends_its_run(instrumented: Telemetry, shop: App) -> None:
    sent = chain(shop.add.s(1), shop.fail.s(), shop.add.s(2)).delay()
    with pytest.raises(LookupError, match="gone"):
        sent.parent.get(timeout=10)
    ended(instrumented, 0, 1)
    whole(instrumented)
    (step,) = spans(instrumented, f"{STEP}fail")
    assert (StatusCode.ERROR, "LookupError") == (step.status.status_code, attribute(step, "error.type"))
    (record,) = [data.log_record for data in instrumented._records.get_finished_logs()]
    assert ("ERROR", "flow failed", {"flow_name": "add", "error_type": "LookupError"}) == (
        record.severity_text,
        record.body,
        dict(record.attributes or {}),
    )


@pytest.mark.parametrize(("because", "failed"), [(True, StatusCode.ERROR), (False, StatusCode.UNSET)])
def test_each_attempt_is_a_step_of_the_same_run(
    instrumented: Telemetry, shop: App, because: bool, failed: StatusCode
) -> None:
    """One that failed with something is an error; one that only asks to be called again is not."""
    assert 3 == shop.flaky.delay(2, because=because).get(timeout=20)
    ended(instrumented, 1)
    whole(instrumented)
    assert {"flaky": 3} == steps(instrumented)
    attempts = sorted(spans(instrumented, f"{STEP}flaky"), key=lambda span: attribute(span, "bext.attempt"))
    assert [(1, failed, True), (2, failed, True), (3, StatusCode.UNSET, None)] == [
        (attribute(span, "bext.attempt"), span.status.status_code, attribute(span, "bext.retried"))
        for span in attempts
    ]
    assert [0, 1, 1] == [len(span.links) for span in attempts]


def test_a_run_that_is_never_done_fails_once(instrumented: Telemetry, shop: App) -> None:
    with pytest.raises(LookupError):
        shop.flaky.delay(100).get(timeout=20)
    ended(instrumented, 0, 1)
    assert {"flaky": 6} == steps(instrumented)


def test_a_task_that_is_ignored_neither_completed_nor_failed(instrumented: Telemetry, shop: App) -> None:
    shop.ignored.delay()
    assert until(lambda: {"ignored": 1} == steps(instrumented))
    shop.add.delay(1).get(timeout=10)
    ended(instrumented, 1)


def test_a_task_that_is_replaced_goes_on_as_the_other(instrumented: Telemetry, shop: App) -> None:
    assert 41 == shop.replaced.delay().get(timeout=10)
    ended(instrumented, 1)
    whole(instrumented)
    assert {"replaced": 2} == steps(instrumented)


def test_a_revoked_task_failed(instrumented: Telemetry, shop: App) -> None:
    sent = shop.add.apply_async((1,), expires=-10)
    with pytest.raises(celery.exceptions.TaskRevokedError):
        sent.get(timeout=10)
    ended(instrumented, 0, 1)
    whole(instrumented)
    (step,) = spans(instrumented, f"{STEP}add")
    assert "expired" == attribute(step, "error.type")


def test_a_task_called_eagerly_is_a_run_in_this_process(instrumented: Telemetry) -> None:
    shop = App()
    seen: list[int] = []

    @task_postrun.connect
    def look(**_: Any) -> None:
        seen.append(runs._active)

    with instrumented.tracer_provider.get_tracer("app").start_as_current_span("request"):
        assert 3 == shop.add.apply((2,)).get()
        with pytest.raises(LookupError):
            shop.fail.apply(throw=True)
    ended(instrumented, 1, 1)
    whole(instrumented)
    assert ["LookupError"] == [attribute(span, "error.type") for span in spans(instrumented, f"{STEP}fail")]


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> App:
    shop = App()
    shop.app.conf.task_always_eager = True
    # A worker that another test had in this process leaves it behind that nobody may wait for a result.
    monkeypatch.setattr(_state, "_task_join_will_block", False)
    return shop


@pytest.mark.parametrize("how", ["apply", "apply_async"])
@pytest.mark.parametrize("inside", [True, False])
def test_an_eager_chain_is_one_run_in_one_trace(
    instrumented: Telemetry, eager: App, how: str, inside: bool
) -> None:
    seen: list[int] = []

    @task_postrun.connect
    def look(**_: Any) -> None:
        seen.append(runs._active)

    made = chain(eager.add.s(1), eager.add.s(2), eager.total.si([8]))
    with (
        instrumented.tracer_provider.get_tracer("app").start_as_current_span("request")
        if inside
        else nullcontext()
    ):
        assert 8 == getattr(made, how)().get()
    ended(instrumented, 1)
    whole(instrumented)
    assert {"add": 3} == steps(instrumented)
    assert [1, 1, 1] == seen
    first, second = spans(instrumented, f"{STEP}add")
    (third,) = spans(instrumented, f"{STEP}total")
    assert first.context is not None
    assert second.context is not None
    assert [[], [first.context.span_id], [second.context.span_id]] == [
        [link.context.span_id for link in span.links] for span in (first, second, third)
    ]


def test_an_eager_chord_is_one_run_that_ends_with_its_body(instrumented: Telemetry, eager: App) -> None:
    assert 5 == chord([eager.add.s(1), eager.add.s(2)], eager.total.s()).apply_async().get()
    ended(instrumented, 1)
    whole(instrumented)
    assert {"add": 3} == steps(instrumented)
    assert {(): 1} == instrumented.counts(FLOW_COMPLETED)


def test_an_eager_chain_through_a_group_is_one_run_that_its_caller_may_name(
    instrumented: Telemetry, eager: App
) -> None:
    made = chain(eager.add.s(1), group(eager.add.s(2), eager.add.s(3)), eager.total.s())
    assert 9 == made.apply_async(headers={"bext_flow": "checkout"}).get()
    ended(instrumented, 1)
    whole(instrumented)
    assert {"checkout": 4} == steps(instrumented)


def test_each_branch_of_an_eager_group_ends_by_itself(instrumented: Telemetry, eager: App) -> None:
    sent = group(eager.total.s([1]), chain(eager.add.s(2), eager.add.s(3)), eager.fail.s()).apply_async()
    assert [1, 6] == [sent[0].get(), sent[1].get()]
    ended(instrumented, 2, 1)
    whole(instrumented)
    assert {"total": 4} == steps(instrumented)


@pytest.mark.parametrize("last", [True, False])
def test_an_eager_chain_fails_once_with_the_task_that_fails(
    instrumented: Telemetry, eager: App, last: bool
) -> None:
    made = chain(eager.add.s(1), eager.fail.s(), *(() if last else (eager.add.s(2),)))
    with pytest.raises(LookupError, match="gone"):
        made.apply_async((1,)).get()
    ended(instrumented, 0, 1)
    whole(instrumented)
    assert {"add": 2} == steps(instrumented)
    (record,) = [data.log_record for data in instrumented._records.get_finished_logs()]
    assert {"flow_name": "add", "error_type": "LookupError"} == dict(record.attributes or {})
    (failed,) = spans(instrumented, f"{STEP}fail")
    assert failed.context is not None
    assert failed.context.span_id == record.span_id


def test_what_an_eager_chain_calls_back_ends_its_run(instrumented: Telemetry, eager: App) -> None:
    assert 4 == chain(eager.add.s(1), eager.add.s(2)).apply_async(link=eager.total.si([1])).get()
    # Once; older versions of Celery call it after each task of the chain.
    ended(instrumented, steps(instrumented)["total"])
    whole(instrumented)


def test_tasks_that_an_eager_canvas_s_task_calls_are_runs_of_their_own_in_its_trace(
    instrumented: Telemetry, eager: App
) -> None:
    chain(eager.parent.si(), eager.add.si(1)).apply_async()
    ended(instrumented, 3)
    whole(instrumented)
    assert {"parent": 2, "add": 3} == steps(instrumented)


def test_what_cannot_be_published_is_told_and_raised_as_ever(instrumented: Telemetry) -> None:
    shop = App()
    shop.app.conf.broker_url = "filesystem://"
    shop.app.conf.broker_transport_options = {"data_folder_in": "/nowhere", "data_folder_out": "/nowhere"}
    shop.app.conf.task_publish_retry = False
    with pytest.raises(Exception, match=r"nowhere|No such"):
        shop.add.delay(1)
    (span,) = spans(instrumented, sends(shop.app))
    assert StatusCode.ERROR is span.status.status_code


@pytest.mark.parametrize("first", ["ours", "upstream's"])
def test_beside_upstreams_instrumentation_there_is_one_trace_and_no_span_twice(
    instrumented: Telemetry, shop: App, first: str
) -> None:
    if first == "upstream's":
        CeleryInstrumentor().uninstrument()
    Upstream().instrument(
        tracer_provider=instrumented.tracer_provider, meter_provider=instrumented.meter_provider
    )
    try:
        CeleryInstrumentor().instrument()
        assert 8 == chain(shop.add.s(1), shop.add.s(2), shop.total.si([8])).delay().get(timeout=10)
        ended(instrumented, 1)
    finally:
        Upstream().uninstrument()
    whole(instrumented)
    assert {"add": 3} == steps(instrumented)
    assert [
        "apply_async/add",
        "apply_async/add",
        "apply_async/total",
        "run/add",
        "run/add",
        "run/total",
    ] == sorted(span.name for span in instrumented.spans())


def behaviour(shop: App) -> list[str]:
    """What an application sees of Celery: results, states, errors, signals."""
    seen: list[Any] = []

    @task_failure.connect
    def failure(sender: Any, exception: BaseException, **_: Any) -> None:
        seen.append(("failure", sender.name, repr(exception)))

    @task_postrun.connect
    def postrun(task: Any, retval: Any, state: str, **_: Any) -> None:
        # How often a chord is looked at depends on the time.
        if state != "RETRY":
            seen.append(("postrun", task.name, repr(retval), state))

    calls = [
        shop.add.delay(1),
        chain(shop.add.s(1), shop.add.s(2)).delay(),
        chord([shop.add.s(1), shop.add.s(2)], shop.total.s()).delay(),
        shop.flaky.delay(1),
        shop.fail.delay(),
        shop.add.delay("x"),
        shop.add.apply((1,)),
        chain(shop.add.s(1), shop.add.s(2)).apply(),
        chord([shop.add.s(1), shop.add.s(2)], shop.total.s()).apply(),
        chain(shop.add.s(1), shop.fail.s()).apply(),
    ]
    for call in calls:
        try:
            seen.append((call.get(timeout=20), call.state))
        except Exception as error:
            seen.append((repr(error), call.state))
    with pytest.raises(TypeError):
        shop.add.delay()
    # The only worker takes one after the other: all before this one have ended.
    shop.total.delay([7]).get(timeout=10)
    return sorted(repr(event) for event in seen if event != ("postrun", "total", "7", "SUCCESS"))


def test_celery_behaves_as_it_does_without_us(telemetry: Telemetry, shop: App) -> None:
    plain = behaviour(shop)
    CeleryInstrumentor().instrument()
    try:
        assert plain == behaviour(shop)
    finally:
        CeleryInstrumentor().uninstrument()
    telemetry.clear()
    assert plain == behaviour(shop)
    assert [] == telemetry.spans()
    assert celery.Celery.send_task.__module__ == "celery.app.base"


def test_a_failure_of_ours_reaches_nobody(
    instrumented: Telemetry, shop: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("telemetry is broken")

    for name in ("propagate.inject", "propagate.extract", "trace.get_current_span"):
        monkeypatch.setattr(f"opentelemetry.{name}", broken)
    assert 5 == chain(shop.add.s(1), shop.add.s(3)).delay().get(timeout=10)


def test_a_task_that_rejects_its_message_for_good_failed_once_in_its_trace(
    instrumented: Telemetry, shop: App
) -> None:
    told: list[str] = []

    def failed(task_id: str = "", **_: Any) -> None:
        told.append(task_id)

    task_failure.connect(failed)
    try:
        with instrumented.tracer_provider.get_tracer("test").start_as_current_span("web"):
            shop.app.tasks["rejects"].delay()
        until(lambda: instrumented.counts(FLOW_FAILED))
        if celery.VERSION >= (5, 7):  # only then it tells of them, in the main process
            until(lambda: told)
    finally:
        task_failure.disconnect(failed)
    (span,) = spans(instrumented, f"{STEP}rejects")
    assert (StatusCode.ERROR, "out of stock", "LookupError") == (
        span.status.status_code,
        span.status.description,
        attribute(span, "error.type"),
    )
    assert 1 == len(trace_ids(instrumented))
    assert ({}, {(): 1}) == (instrumented.counts(FLOW_COMPLETED), instrumented.counts(FLOW_FAILED))


def test_a_task_that_rejects_its_message_to_be_called_again_has_not_failed(
    instrumented: Telemetry, shop: App
) -> None:
    shop.app.tasks["hesitant"].delay()
    until(lambda: instrumented.counts(FLOW_COMPLETED))
    assert [StatusCode.UNSET] * 2 == [
        span.status.status_code for span in spans(instrumented, f"{STEP}hesitant")
    ]
    assert ({(): 1}, {}) == (instrumented.counts(FLOW_COMPLETED), instrumented.counts(FLOW_FAILED))


@pytest.mark.parametrize("queue", [None, "letters"])
def test_both_ends_name_the_queue(instrumented: Telemetry, shop: App, queue: str | None) -> None:
    if queue is not None:
        shop.app.control.add_consumer(queue, reply=True, timeout=5)
    shop.app.tasks["add"].apply_async((1,), queue=queue)
    until(lambda: spans(instrumented, f"{STEP}add"))
    ends = [span for span in instrumented.spans() if span.kind in {SpanKind.PRODUCER, SpanKind.CONSUMER}]
    assert {
        (SpanKind.PRODUCER, queue or shop.app.conf.task_default_queue),
        (SpanKind.CONSUMER, queue or shop.app.conf.task_default_queue),
    } == {(span.kind, attribute(span, "messaging.destination.name")) for span in ends}


def test_both_ends_count_and_time_messages_as_the_conventions_have_it(
    instrumented: Telemetry, shop: App
) -> None:
    """By destination, and by what they failed with."""
    shop.add.delay(2).get(timeout=10)
    with pytest.raises(LookupError):
        shop.fail.delay().get(timeout=10)
    ended(instrumented, 1, 1)
    queue = shop.app.conf.task_default_queue
    common = {"messaging.system": "celery", "messaging.destination.name": queue}
    send = {**common, "messaging.operation.name": "send"}
    process = {**common, "messaging.operation.name": "process"}
    failed = {**process, "error.type": "LookupError"}
    expected = {
        "messaging.client.sent.messages": {(2, frozenset(send.items()))},
        "messaging.client.operation.duration": {
            (2, frozenset({**send, "messaging.operation.type": "send"}.items()))
        },
        "messaging.client.consumed.messages": {
            (1, frozenset(process.items())),
            (1, frozenset(failed.items())),
        },
        "messaging.process.duration": {(1, frozenset(process.items())), (1, frozenset(failed.items()))},
    }
    found = {
        name: {
            (getattr(point, "count", getattr(point, "value", 0)), frozenset(point.attributes.items()))
            for point in instrumented.points_of(name)
        }
        for name in expected
    }
    assert expected == found


def test_a_task_that_no_message_asked_for_is_a_step_alone(instrumented: Telemetry, shop: App) -> None:
    shop.add.apply((1,))
    assert [(f"{STEP}add", SpanKind.INTERNAL)] == [(span.name, span.kind) for span in instrumented.spans()]


def test_what_cannot_be_sent_is_counted_with_its_error(
    instrumented: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = celery.Celery("shop", broker="memory://", set_as_current=False)

    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionError("no broker")

    monkeypatch.setattr(app.amqp, "send_task_message", refuse)
    with pytest.raises(ConnectionError):
        app.send_task("add")
    (span,) = spans(instrumented, "send")
    assert ("ConnectionError", StatusCode.ERROR) == (attribute(span, "error.type"), span.status.status_code)
    points = instrumented.points_of("messaging.client.sent.messages")
    (point,) = [point for point in points if "error.type" in point.attributes]
    assert (1, "ConnectionError") == (point.value, point.attributes["error.type"])
