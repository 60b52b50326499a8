"""What runs in a process: built from settings, and ended together within one deadline."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from bext_otel.config import load
from bext_otel.endpoints.endpoints import Endpoints
from bext_otel.export.delivery import Delivery
from bext_otel.health.evaluation import Health
from bext_otel.runtime import Runtime
from tests.e2e.otlp import receiving
from tests.fresh import fresh


def test_a_close_that_fails_keeps_nothing_from_being_flushed(tmp_path: Path) -> None:
    config = load({}, environ={}, cwd=tmp_path).config
    health = Health(timeout_seconds=1, interval_seconds=1, version="1")
    endpoints = Endpoints(metrics=config.metrics, health_settings=config.health, read=None, health=health)
    done: list[object] = []

    def fails() -> None:
        raise RuntimeError("cannot join thread before it is started")

    runtime = Runtime(config, health, lambda: endpoints)
    for close in (lambda: done.append("first"), fails, lambda: done.append("last")):
        runtime._undoing.callback(close)
    runtime._endings.append(lambda seconds: done.append(seconds))
    assert runtime.shutdown()
    assert ["last", "first", config.telemetry.shutdown_timeout_seconds] == done
    assert runtime.shutdown()
    assert 3 == len(done), "once"


def runtime_of(tmp_path: Path, *deliveries: Delivery) -> Runtime:
    config = load({"telemetry": {"shutdown_timeout_seconds": 1.5}}, environ={}, cwd=tmp_path).config
    health = Health(timeout_seconds=1, interval_seconds=1, version="1")
    endpoints = Endpoints(metrics=config.metrics, health_settings=config.health, read=None, health=health)
    return Runtime(config, health, lambda: endpoints, _deliveries=list(deliveries))


def test_a_flush_that_waited_in_vain_leaves_the_end_next_to_nothing_to_wait_for(tmp_path: Path) -> None:
    """A server flushes when its application ends, and ends itself a moment later: that is one deadline, not
    two."""
    given: list[float] = []
    never = threading.Event()
    runtime = runtime_of(tmp_path)
    runtime._flushings.append(lambda _: never.wait(60))  # type: ignore[arg-type,return-value]
    runtime._endings.append(given.append)
    assert not runtime.flush()
    runtime.shutdown()
    never.set()
    assert given[0] <= 0.2


@pytest.mark.parametrize(("failing", "expected"), [([True, True], 1.0), ([True, False], 1.5), ([], 1.5)])
def test_the_end_waits_less_where_nothing_got_through_lately(
    tmp_path: Path, failing: list[bool], expected: float
) -> None:
    given: list[float] = []
    deliveries = [Delivery("traces", "here") for _ in failing]
    for delivery, fails in zip(deliveries, failing, strict=True):
        delivery.failing = fails
    runtime = runtime_of(tmp_path, *deliveries)
    runtime._endings.append(given.append)
    runtime.shutdown()
    assert [expected] == given


def test_a_second_ctrl_c_ends_the_waiting_at_exit(tmp_path: Path) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    runtime = runtime_of(tmp_path)
    runtime._undoing.callback(interrupted)
    assert runtime.at_exit() is None  # type: ignore[func-returns-value]
    runtime._undoing.callback(interrupted)
    with pytest.raises(KeyboardInterrupt):
        runtime.shutdown()


def test_the_end_delivers_what_is_queued_and_work_goes_on_unharmed(tmp_path: Path) -> None:
    with receiving() as received:
        shown, _ = fresh(
            """
            import logging
            import bext_otel
            from bext_otel.catalogue import RENDER
            runs = bext_otel.configure()
            def work(name):
                with bext_otel.operation(RENDER, app=name):
                    logging.getLogger("shop").warning("rendering", extra={"where": name})
            work("before")
            ended = runs.shutdown()
            work("after")
            show([ended, runs.shutdown()])
            """,
            tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=received.endpoint,
        )
        assert [True, True] == shown
        assert ["before"] == [span.attributes["bext.app"] for span in received.spans()]
        assert ["before"] == [line.attributes["where"] for line in received.lines("rendering")]
        assert received.metrics("bext_isolate_render_duration_ms")


@pytest.mark.parametrize("signals", [("TRACES",), ("LOGS",), ("METRICS",), ("TRACES", "LOGS", "METRICS")])
def test_an_exporter_that_hangs_costs_one_deadline(tmp_path: Path, signals: tuple[str, ...]) -> None:
    """A process that is not within the minute that the helper gives it fails the test; the runtime says that
    it was not in time."""
    with socket.create_server(("127.0.0.1", 0)) as black_hole:
        endpoint = f"http://127.0.0.1:{black_hole.getsockname()[1]}"
        shown, _ = fresh(
            """
            import logging, time
            import bext_otel
            from bext_otel.catalogue import RENDER
            runs = bext_otel.configure(telemetry={"shutdown_timeout_seconds": 0.5})
            with bext_otel.operation(RENDER, app="shop"):
                logging.getLogger("shop").warning("rendering")
            began = time.monotonic()
            runs.shutdown()
            show(time.monotonic() - began < 8)
            """,
            tmp_path,
            **{f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT": endpoint for signal in signals},
        )
    assert shown, "without the deadline it is the ten seconds of an export, or a multiple"


def test_health_says_that_log_lines_are_being_lost(tmp_path: Path) -> None:
    shown, _ = fresh(
        """
        import logging
        import os
        import bext_otel
        os.mkdir("logs")
        runs = bext_otel.configure(logging={"output": "file", "file_path": "logs/app.log"}, health={"interval_seconds": 0.01})
        before = runs.health.full().checks["telemetry"].status
        os.rename("logs", "gone")
        logging.getLogger("shop").warning("nowhere")
        check = runs.health.full().checks["telemetry"]
        text = runs.endpoints.reply("GET", "/metrics", "", {}, trusted=True).body.decode()
        show([
            before,
            check.status,
            check.details["log_lines_lost"],
            runs.health.full().status,
            [line for line in text.splitlines() if line.startswith("bext_otel_log_lines_dropped_total")],
        ])
        """,
        tmp_path,
    )
    told = ['bext_otel_log_lines_dropped_total{sink="file",reason="missing"} 1']
    assert ["healthy", "degraded", 1, "degraded", told] == shown


def test_the_resource_tells_engine_apps_and_what_code_adds(tmp_path: Path) -> None:
    (tmp_path / "bext.config.toml").write_text("[apps.till]\n[apps.shop]\n")
    shown, _ = fresh(
        """
        import bext_otel
        runs = bext_otel.configure(resource={"shop.floor": "2"}, telemetry={"service_name": "shop"})
        show(dict(runs.tracer_provider.resource.attributes))
        """,
        tmp_path,
        OTEL_RESOURCE_ATTRIBUTES="service.name=other,team=blue",
    )
    assert {
        "service.name": "shop",
        "bext.engine": "bext",
        "bext.apps": "shop,till",
        "shop.floor": "2",
        "team": "blue",
    }.items() <= shown.items()
    assert not [name for name in shown if "command" in name], "arguments may hold a secret"


@pytest.mark.parametrize(
    ("given", "fields"),
    [({}, {"traceparent", "tracestate", "baggage"}), ({"OTEL_PROPAGATORS": "baggage"}, {"baggage"})],
)
def test_context_is_propagated_as_w3c_has_it_unless_told_otherwise(
    tmp_path: Path, given: dict[str, str], fields: set[str]
) -> None:
    shown, _ = fresh(
        """
        import bext_otel
        bext_otel.configure()
        from opentelemetry.propagate import get_global_textmap
        show(sorted(get_global_textmap().fields))
        """,
        tmp_path,
        **given,
    )
    assert sorted(fields) == shown


def test_a_process_that_measures_nothing_has_no_thread(tmp_path: Path) -> None:
    """As a server's master has none: threads do not survive a fork, and a fork among threads may deadlock."""
    shown, _ = fresh(
        """
        import threading
        import bext_otel
        bext_otel.configure()
        show([thread.name for thread in threading.enumerate()])
        """,
        tmp_path,
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
    )
    assert ["MainThread"] == shown


def test_disabled_telemetry_sets_no_provider(tmp_path: Path) -> None:
    shown, lines = fresh(
        """
        import logging, sys
        import bext_otel
        runs = bext_otel.configure()
        logging.getLogger("shop").warning("as it was")
        from opentelemetry import metrics, trace
        show([type(trace.get_tracer_provider()).__name__, type(metrics.get_meter_provider()).__name__, runs.health.ready().http_status])
        """,
        tmp_path,
        OTEL_SDK_DISABLED="true",
    )
    assert ["ProxyTracerProvider", "_ProxyMeterProvider", 200] == shown
    assert [] == lines


GUARDED = """
    import io, logging
    written = io.StringIO()
    logging.getLogger("bext_otel").addHandler(logging.StreamHandler(written))
    import bext_otel
    runs = bext_otel.configure()
    from bext_otel.endpoints.wsgi import WSGIEndpoints
    statuses = []
    def ask(**headers):
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics", **headers}
        b"".join(WSGIEndpoints(runs.endpoints)(environ, lambda status, headers: statuses.append(status[:3])))
    ask()
    ask(HTTP_AUTHORIZATION="Bearer s3cret")
    show([statuses, "no token is set" in written.getvalue()])
    """


def test_metrics_for_the_token_are_for_whoever_has_that_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    guarded = {"BEXT_ENDPOINTS_METRICS": "token"}
    shown, _ = fresh(GUARDED, tmp_path, BEXT_TELEMETRY_TOKEN_FILE="token", **guarded)
    assert [["401", "200"], False] == shown


def test_metrics_for_a_token_that_nobody_set_are_closed_and_one_line_says_so(tmp_path: Path) -> None:
    shown, _ = fresh(GUARDED, tmp_path, BEXT_ENDPOINTS_METRICS="token")
    assert [["401", "401"], True] == shown


TRUSTING = """
    import bext_otel
    bext_otel.configure(apps={"back": {"paths": ["/back"], "trust_parent": "all"}})
    from bext_otel.operation import settings
    trusts = settings().trusts
    show(trusts and [trusts(app, address) for app in ("unknown", "back") for address in ("10.0.0.1", "")])
    """


def test_whose_traces_count_is_what_the_settings_say(tmp_path: Path) -> None:
    assert fresh(TRUSTING, tmp_path)[0] is None
    shown, _ = fresh(TRUSTING, tmp_path, BEXT_TELEMETRY_TRUST_PARENT="10.0.0.0/8")
    assert [True, False, True, True] == shown


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [("localhost:4318", ["degraded", "unusable"]), ("", ["healthy", None])],
)
def test_an_endpoint_that_is_none_degrades_health(
    tmp_path: Path, endpoint: str, expected: list[str | None]
) -> None:
    """Somebody wants export, and gets none."""
    shown, _ = fresh(
        """
        import bext_otel
        check = bext_otel.configure().health.full().checks["telemetry"]
        show([check.status, check.details.get("otlp_endpoint")])
        """,
        tmp_path,
        OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
    )
    assert expected == shown
