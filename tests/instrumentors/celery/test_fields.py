"""Fields of the application's own in Celery tasks: their own ones as long as they run, and by choice those of who
started them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import celery
import pytest
from celery.contrib.testing.worker import start_worker

from bext_otel import bind, bound, fields
from bext_otel.fields import FieldSettings, use
from tests.instrumentors.celery.test_instrumentor import instrumented
from tests.instrumentors.conftest import Telemetry

__all__ = ["instrumented"]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "_settings", FieldSettings())


@pytest.fixture
def seeing() -> Iterator[tuple[Any, list[dict[str, object]]]]:
    """A task that says what is bound in it, and what it has said."""
    seen: list[dict[str, object]] = []
    app = celery.Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.update(
        worker_hijack_root_logger=False,
        task_default_queue=f"queue-{id(seen)}",
        broker_transport_options={"polling_interval": 0.02},
    )

    @app.task(name="see", shared=False)
    def see(user: int) -> None:
        seen.append(bound())
        bind(user=user)
        seen.append(bound())

    with start_worker(app, perform_ping_check=False, pool="solo", loglevel="CRITICAL", shutdown_timeout=30):
        yield see, seen


def test_what_a_task_binds_is_its_own(
    instrumented: Telemetry, seeing: tuple[Any, list[dict[str, object]]]
) -> None:
    see, seen = seeing
    with bind(tenant="acme"):
        see.delay(1).get(timeout=20)
    see.delay(2).get(timeout=20)
    assert [{}, {"user": 1}, {}, {"user": 2}] == seen


def test_a_task_inherits_what_the_operator_names(
    instrumented: Telemetry, seeing: tuple[Any, list[dict[str, object]]]
) -> None:
    use(FieldSettings(tasks=frozenset({"tenant"})))
    see, seen = seeing
    with bind(tenant="acme", other=1):
        see.delay(1).get(timeout=20)
    see.delay(2).get(timeout=20)
    assert [{"tenant": "acme"}, {"tenant": "acme", "user": 1}, {}, {"user": 2}] == seen


def test_lines_of_a_worker_that_binds_nothing_look_for_what_it_inherits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a process of its own nothing else has said that there are fields."""
    monkeypatch.setattr(fields, "used", False)
    use(FieldSettings(tasks=frozenset({"tenant"})))
    assert ({}, False) == (fields.restored('{"other": 1}'), fields.used)
    assert ({"tenant": "acme"}, True) == (fields.restored('{"tenant": "acme"}'), fields.used)
