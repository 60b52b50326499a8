from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import click
import pytest

from bext_otel.cli import platform
from bext_otel.cli.platform import Platform, find_examples, missing_requirements, status_of, traffic
from tests.serving import serving

EXAMPLES = Path(__file__).parents[2] / "examples"
PLATFORM = Platform(EXAMPLES, 8001, 9465, "http://127.0.0.1:4319")


def test_the_demo_of_this_checkout_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert EXAMPLES == find_examples(None)
    assert EXAMPLES == find_examples(EXAMPLES)


def test_a_folder_without_the_demo_is_an_error_that_says_where_it_is(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match=r"Clone the repository and run `make demo`") as told:
        find_examples(tmp_path)
    assert str(tmp_path) in told.value.message


def test_settings_that_would_send_telemetry_elsewhere_do_not_reach_the_demo() -> None:
    outer = {
        "HOME": "/h",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://prod",
        "OTEL_SDK_DISABLED": "true",
        "NO_PROXY": "intranet",
        "PATH": "/bin",
    }
    env = PLATFORM.environ(outer)
    assert "/h" == env["HOME"]
    assert not {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_SDK_DISABLED"} & set(env)
    assert ("http://127.0.0.1:4319", "9465") == (
        env["OTEL_EXPORTER_OTLP_ENDPOINT"],
        env["OTEL_EXPORTER_PROMETHEUS_PORT"],
    )
    assert "intranet,127.0.0.1,localhost" == env["NO_PROXY"] == env["no_proxy"]
    assert [sysconfig.get_path("scripts"), "/bin"] == env["PATH"].split(":")
    assert Path(env["BEXT_CONFIG"]).is_file()


def test_it_is_launched_as_a_user_would() -> None:
    argv = PLATFORM.argv()
    assert ("bext-otel", "run") == (Path(argv[0]).name, argv[1])
    assert [
        "uvicorn",
        "--app-dir",
        str(EXAMPLES),
        "--host",
        "127.0.0.1",
        "--port",
        "8001",
        "bext_demo.asgi:app",
    ] == argv[2:]


def test_what_the_demo_needs_is_read_from_the_extra() -> None:
    assert {"uvicorn", "starlette", "mini-racer", "wasmtime"} <= set(platform._requirements())


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that only some Pythons need may rightly be absent."""
    ours = ['no-such-thing>=1,<2; extra == "demo"', "click; extra == 'demo'"]
    others = ["a>=8.1", 'b; python_version < "3" and extra == "demo"', 'c; extra == "x"']
    monkeypatch.setattr("importlib.metadata.requires", lambda _: [*others, *ours])
    assert ["no-such-thing", "click"] == list(platform._requirements())
    assert ["no-such-thing"] == missing_requirements()


def test_the_traffic_is_the_demo_own_plan_and_bounded() -> None:
    planned = traffic(EXAMPLES, 25, 7)
    assert 25 == len(planned)
    assert all(request.path.startswith("/") for request in planned)


@pytest.fixture
def ready_after_two() -> Iterator[int]:
    """A server whose `/health/ready` is 503, and 200 from the third time on."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            ready = self.path != "/health/ready" or asked.count("/health/ready") > 2
            self.send_response(200 if ready else 503)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with serving(server):
        yield server.server_port


def test_the_platform_is_ready_once_its_endpoint_says_so(ready_after_two: int) -> None:
    mounted = Platform(EXAMPLES, ready_after_two, 1, "")
    assert [None, None, ready_after_two] == [mounted.endpoints() for _ in range(3)]


def test_nothing_has_no_status() -> None:
    assert status_of(1, "/") is None
    assert Platform(EXAMPLES, 1, 1, "").endpoints() is None
