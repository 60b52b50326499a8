"""`bext-otel demo`: the demo platform, traffic for it, and a page that shows what came of it."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from bext_otel.cli.arrivals import arrivals, wait_for
from bext_otel.cli.child import Child
from bext_otel.cli.platform import (
    Platform,
    Request,
    find_broker,
    find_examples,
    missing_requirements,
    traffic,
)
from bext_otel.cli.ports import free_port, local_port_of, open_viewer, port_of, token_option
from bext_otel.cli.sending import Sent, send
from bext_otel.cli.signals import UntilInterrupted
from bext_otel.cli.tree import best_trace, trace_tree
from bext_otel.text import visible
from bext_otel.viewer import Limits, Viewer

__all__ = ["demo"]

_START_SECONDS = 60.0
_PER_SECOND = 40.0
# The last spans, lines and counts leave within a second; a slow machine gets twenty, at four looks a second.
_ARRIVAL_TRIES = 80
_SEED = 7


@click.command()
@click.option(
    "--once",
    is_flag=True,
    help="End after the traffic: exit code 0 only if spans, logs and metrics of all requests arrived.",
)
@click.option(
    "--requests",
    type=click.IntRange(1, 100_000),
    default=300,
    show_default=True,
    help="How many requests to send.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=None,
    help="The demo's own port.  [default: PORT; 8000, or a free one]",
)
@click.option(
    "--view-port",
    type=click.IntRange(1, 65535),
    default=None,
    help="The viewer's port.  [default: that of OTEL_EXPORTER_OTLP_ENDPOINT if it is on this machine; "
    "4318, or a free one]",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(1, 65535),
    default=None,
    help="The port of /metrics and /health.  [default: OTEL_EXPORTER_PROMETHEUS_PORT; 9464, or a free one]",
)
@token_option
@click.option(
    "--examples",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help="The folder with bext_demo.  [default: ./examples]",
)
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Show what the demo prints (JSON lines) instead of only keeping it in a file.",
)
def demo(
    *,
    once: bool,
    requests: int,
    port: int | None,
    view_port: int | None,
    metrics_port: int | None,
    token: bool | None,
    examples: Path | None,
    verbose: bool,
) -> None:
    """See everything at once: a small platform, its traffic, its telemetry.

    Starts a local OTLP receiver with a page, the demo platform under bext-otel run, sends it some
    traffic, and stays up until Ctrl-C. Nothing leaves this machine.
    """
    folder = find_examples(examples)
    if missing := missing_requirements():
        raise click.ClickException(f"the demo needs {', '.join(missing)}: pip install 'bext-otel[demo]'")
    planned = traffic(folder, requests, _SEED)
    app_port = free_port(port or port_of("PORT"), usual=8000, option="--port")
    view_port = view_port or local_port_of("OTEL_EXPORTER_OTLP_ENDPOINT")
    metrics_port = metrics_port or port_of("OTEL_EXPORTER_PROMETHEUS_PORT")
    endpoints_port = free_port(metrics_port, usual=9464, option="--metrics-port")
    code = 130 if once else 0
    with (
        UntilInterrupted() as end,
        open_viewer(view_port, option="--view-port", limits=_limits(requests), token=token) as viewer,
    ):
        platform = Platform(folder, app_port, endpoints_port, viewer.url, find_broker(folder))
        code = _run(platform, viewer, planned, once=once, verbose=verbose)
    if end.interrupted:
        # The end that everybody but --once waits for; there it is 130, the shell's code for Ctrl-C.
        click.echo("Stopped.")
    raise SystemExit(code)


def _limits(requests: int) -> Limits:
    """Room for every trace of the traffic, so that --once can tell whether all came."""
    return Limits(traces=max(Limits.traces, requests * 2), spans=max(Limits.spans, requests * 40))


def _run(platform: Platform, viewer: Viewer, planned: list[Request], *, once: bool, verbose: bool) -> int:
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="bext-demo-") as folder:
        log = Path(folder) / "demo.log"
        echo = (lambda line: console.print(Text(visible(line), style="dim"))) if verbose else None
        shared = platform.shared(Path(folder))
        cwd = platform.examples.parent
        with (
            Child(platform.argv(), env={**platform.environ(), **shared}, cwd=cwd, log=log, echo=echo) as app,
            ExitStack() as further,
        ):
            console.print(
                f"Starting bext-otel run uvicorn --app-dir {platform.examples.name} bext_demo.asgi:app"
            )
            endpoints = _wait_ready(platform, app)
            if endpoints is None:
                return _failed(console, app, _why(app))
            if platform.broker is not None:
                console.print("Starting bext-otel run celery -A bext_demo.worker worker")
                env = platform.worker_environ(shared)
                further.enter_context(
                    Child(
                        platform.worker_argv(), env=env, cwd=cwd, log=log.with_name("worker.log"), echo=echo
                    )
                )
            sent = _send(console, platform, planned, app)
            if app.returncode is not None:
                return _failed(console, app, _why(app))
            missing = wait_for(viewer.store, sent.answered, wait=app.wait, tries=_ARRIVAL_TRIES)
            _show(console, platform, viewer, endpoints, log)
            if missing:
                for line in missing:
                    console.print(Text(f"Missing: {line}", style="red"))
                if once:
                    return _failed(console, app, "not everything arrived")
            if once:
                console.print("All of it arrived: spans, logs and metrics of every request.")
                return 0
            console.print("Stop it with Ctrl-C.")
            while not app.wait(3600):
                pass
            return _failed(console, app, _why(app))


def _wait_ready(platform: Platform, app: Child) -> int | None:
    """The port of the endpoints once the platform is ready; None if it ended or took too long."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        endpoints = platform.endpoints()
        if endpoints is not None or app.wait(0.2):
            return endpoints
    return None


def _send(console: Console, platform: Platform, planned: list[Request], app: Child) -> Sent:
    """Send the traffic with a bar, or a line each tenth where there is no terminal. Ends early with the
    platform."""
    living = (request for request in planned if app.returncode is None)
    if not console.is_terminal:
        step = max(1, len(planned) // 10)

        def tell(sent: Sent) -> None:
            done = sent.answered + sent.unanswered
            if done % step == 0 or done == len(planned):
                console.print(f"Sent {done} of {len(planned)} requests")

        return send(living, platform.port, per_second=_PER_SECOND, on_each=tell)
    columns = (
        TextColumn("Sending traffic"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("[dim]{task.description}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=len(planned))

        def advance(sent: Sent) -> None:
            progress.update(
                bar, completed=sent.answered + sent.unanswered, description=f"{sent.failed} answered 5xx"
            )

        return send(living, platform.port, per_second=_PER_SECOND, on_each=advance)


def _show(console: Console, platform: Platform, viewer: Viewer, endpoints: int, log: Path) -> None:
    trace = best_trace(viewer.store)
    if trace is not None:
        console.print()
        console.print(trace_tree(trace))
    came = arrivals(viewer.store)
    console.print(
        f"\n{came.traces} traces of {came.requests} requests, {came.counted} requests counted, {came.logs} "
        "log lines.\n"
    )
    app, service = f"http://127.0.0.1:{platform.port}", f"http://127.0.0.1:{endpoints}"
    rows = (
        ("Viewer", viewer.page_url, "traces, logs, metrics"),
        ("Website", f"{app}/", "rendered in isolates, cached"),
        ("Dashboard", f"{app}/dashboard/", "Flask"),
        ("API", f"{app}/api/products", "JSON on SQLite"),
        ("Metrics", f"{service}/metrics", "for Prometheus"),
        ("JSON", f"{service}/metrics?format=json", ""),
        ("Health", f"{service}/health", "also /health/live, /health/ready"),
        ("Output", str(log), "JSON lines; gone at the end"),
    )
    for name, address, words in rows:
        # Not a table: it would break addresses where the terminal is narrow, and nobody could follow them.
        console.print(
            Text.assemble(f"{name:<11}", (f"{address:<43}", "bold"), (f" {words}" if words else "", "dim")),
            soft_wrap=True,
        )
    console.print()


def _why(app: Child) -> str:
    code = app.returncode
    return (
        f"the demo was not ready within {_START_SECONDS:g} s"
        if code is None
        else f"the demo ended with code {code}"
    )


def _failed(console: Console, app: Child, why: str) -> int:
    console.print(Text(f"The demo failed: {why}. Its last lines:", style="bold red"))
    last = "\n".join(map(visible, app.tail().splitlines()))
    console.print(Text(last or "(it printed nothing)"), soft_wrap=True)
    return 1
