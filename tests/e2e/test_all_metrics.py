"""The demo's traffic under opentelemetry-instrument: every metric of the specification moves, and each event
counts once."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from bext_demo.plugins import Hook, Plugin, PluginError
from bext_demo.settings import Settings
from bext_demo.traffic import Request, plan
from tests.examples.serving import Served, served
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SPECIFICATION = Path(__file__).parents[1] / "golden" / "specification_metrics.txt"
# What `bext-otel demo` sends.
REQUESTS, SEED = 300, 7

Samples = Mapping[str, float]
"""Values by series, as text."""


def names() -> list[str]:
    found = re.findall(r"^(bext_\w+)", SPECIFICATION.read_text(encoding="utf-8"), re.MULTILINE)
    assert 24 == len(found)
    return found


def scrape(platform: Served) -> Samples:
    """Empty while nobody answers."""
    try:
        answer = httpx.get(f"{platform.endpoints_url}/metrics", trust_env=False, timeout=30)
    except httpx.TransportError:
        return {}
    lines = [line for line in answer.text.splitlines() if line and not line.startswith("#")]
    return {series: float(value) for series, _, value in (line.rpartition(" ") for line in lines)}


def total(samples: Samples, name: str, **labels: str) -> float:
    """The sum of all series of a metric with these labels; of how often it was measured where it is a
    summary."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    of_metric = [
        (series, value)
        for series, value in samples.items()
        if series.partition("{")[0] in {name, f"{name}_count"}
    ]
    return sum(
        value
        for series, value in of_metric
        if all(one in series for one in wanted) and "quantile=" not in series
    )


class Seen:
    """The most that was ever seen of each metric."""

    def __init__(self) -> None:
        self.most = dict.fromkeys(names(), 0.0)

    def look(self, samples: Samples) -> None:
        self.most = {name: max(most, total(samples, name)) for name, most in self.most.items()}


@contextmanager
def watching(platform: Served) -> Iterator[Seen]:
    """Look at the metrics again and again, as a gauge may rise and fall between two looks."""
    seen, stop = Seen(), threading.Event()

    def look() -> None:
        while not stop.wait(0.05):
            seen.look(scrape(platform))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


class Board:
    """What a visitor knows to have happened, from the answers alone."""

    def __init__(self) -> None:
        self.cache: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.codings: Counter[tuple[str, str]] = Counter()
        self.payments: Counter[int] = Counter()
        self.hooks: list[tuple[Hook, bytes]] = []
        self.unknown_products = self.messages = 0

    def enter(self, request: Request, answer: httpx.Response) -> None:
        path = request.path.partition("?")[0]
        app = next((app for app in ("api", "dashboard") if path.startswith(f"/{app}")), "marketing")
        if coding := answer.headers.get("content-encoding"):
            self.codings[app, {"br": "brotli"}.get(coding, coding)] += 1
        if path.endswith("/payment"):
            self.payments[answer.status_code] += 1
        if path.endswith("/price") and answer.status_code == 303:
            self.hooks.append(("on_request", b"/revalidate?"))  # the dashboard asks the website
        if app == "marketing":
            self._website(request, path, answer)

    def _website(self, request: Request, path: str, answer: httpx.Response) -> None:
        self.hooks.append(("on_request", path.encode() + b"?" + request.path.partition("?")[2].encode()))
        outcome = answer.headers.get("x-bext-cache")
        if outcome is not None:
            self.cache[outcome] += 1
        elif answer.status_code >= 500:
            # A busy machine may be slower than the greedy draft: it is then stopped by the clock, as it says.
            page = path.removeprefix("/drafts/")
            failed = {"endless": "timeout", "greedy": "out_of_memory", "broken": "script_error"}[page]
            self.errors["timeout" if answer.status_code == 504 else failed] += 1
        if answer.status_code == 404:
            self.messages += 1
            self.unknown_products += path.startswith("/products/")
        if outcome is not None or answer.status_code == 404:
            self.hooks.append(("on_response", answer.content))

    @property
    def renders(self) -> int:
        """Without those behind the backs of visitors, who got a stale page."""
        return self.cache["miss"] + self.cache["bypass"] + self.messages + sum(self.errors.values())

    def fuel(self) -> tuple[int, int]:
        """What the plugin burns for all this, and how often that is more than it may."""
        settings = Settings()
        budgets: Mapping[Hook, int] = {
            "on_request": settings.request_fuel,
            "on_response": settings.response_fuel,
        }
        plugin = Plugin(fuel=budgets)
        plugin.start()
        burned = failed = 0
        for hook, data in self.hooks:
            try:
                plugin.call(hook, data)
            except PluginError:
                failed += 1
            burned += budgets[hook] - plugin._store.get_fuel()
        plugin.close()
        return burned, failed


def test_the_demos_traffic_moves_every_metric_of_the_specification_and_each_event_counts_once(
    tmp_path: Path,
) -> None:
    """A visitor's own count of renders, lookups, compressions, hooks, fuel and flows is the one that is
    published."""
    ledger = Board()
    with (
        served(tmp_path, telemetry=True) as platform,
        httpx.Client(base_url=platform.url, trust_env=False, timeout=30) as visitor,
    ):
        # One request of the fixture's own is counted before: what matters is what is added.
        before = until(
            lambda: (found := scrape(platform)) and total(found, "bext_requests_total") and found,
            why="metrics",
        )

        def send(request: Request) -> None:
            ledger.enter(
                request,
                visitor.request(
                    request.method, request.path, headers=dict(request.headers), content=request.body
                ),
            )

        with watching(platform) as seen:
            for request in plan(REQUESTS, SEED):
                send(request)

            def a_flow_was_active() -> bool:
                send(Request("POST", "/api/orders/8/payment", {"accept-encoding": "identity"}))
                return seen.most["bext_flow_active_runs"] > 0

            until(a_flow_was_active, why="an active flow among the published metrics")

            def a_draft_ran_out_of_memory() -> bool:
                if not ledger.errors["out_of_memory"]:
                    send(Request("GET", "/drafts/greedy", {"accept-encoding": "identity"}))
                return ledger.errors["out_of_memory"] > 0

            until(a_draft_ran_out_of_memory, why="a draft that eats its memory before its time is over")

        def settled() -> Samples | None:
            """A response arrives just before it is counted, and what is paid is shipped a little later: a run
            of its own."""
            after = scrape(platform)
            flows = total(after, "bext_flow_completed_total") + total(after, "bext_flow_failed_total")
            return after if flows == 2 * ledger.payments[200] + ledger.payments[500] else None

        after = until(settled, why="the last request to be counted")
        seen.look(after)
    assert [] == [name for name in names() if not seen.most[name] > 0]
    compare(ledger, before, after)


def compare(ledger: Board, before: Samples, after: Samples) -> None:
    def added(name: str, **labels: str) -> float:
        return total(after, name, **labels) - total(before, name, **labels)

    on_request = sum(hook == "on_request" for hook, _ in ledger.hooks)
    assert on_request == added("bext_requests_total", app="marketing")
    for (app, encoding), bodies in ledger.codings.items():
        if app != "api":  # which the website asks as well
            assert bodies == added("bext_compression_ratio", app=app, encoding=encoding), (app, encoding)
            assert bodies == added("bext_compression_duration_us", app=app, encoding=encoding), (
                app,
                encoding,
            )

    assert ledger.cache["hit"] + ledger.cache["stale"] == added("bext_cache_hits_total", layer="isr")
    assert ledger.cache["miss"] + ledger.unknown_products == added("bext_cache_misses_total", layer="isr")
    assert 0 == total(after, "bext_cache_hits_total", layer="unknown") + total(
        after, "bext_cache_misses_total", layer="unknown"
    )
    # A stale page is rendered again, once for all who get it meanwhile.
    assert (
        ledger.renders <= added("bext_isolate_render_duration_ms") <= ledger.renders + ledger.cache["stale"]
    )
    assert {"timeout", "out_of_memory", "script_error"} == set(ledger.errors)
    for error_type, errors in ledger.errors.items():
        assert errors == added("bext_isolate_errors_total", error_type=error_type, app="marketing"), (
            error_type
        )

    burned, failed = ledger.fuel()
    assert on_request == added("bext_plugin_duration_us", plugin="fingerprint", hook="on_request")
    assert len(ledger.hooks) == added("bext_plugin_duration_us")
    assert (burned, failed) == (added("bext_plugin_fuel_consumed"), added("bext_plugin_errors_total"))

    paid, unpaid = ledger.payments[200], ledger.payments[500]
    assert (2 * paid, unpaid) == (added("bext_flow_completed_total"), added("bext_flow_failed_total"))
    assert 2 * (paid + unpaid) == added("bext_flow_step_duration_ms", flow_name="order")
    assert 3 * paid == added("bext_flow_step_duration_ms", flow_name="fulfilment.pick")
    assert (
        1
        == total(after, "bext_deploys_total", app="marketing", status="success")
        == total(after, "bext_deploy_duration_ms")
    )
