"""What a request has done in other threads and processes is part of it, under real servers, and of no other
request."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.launching import SOON, launched
from tests.e2e.otlp import receiving
from tests.waiting import until

pytestmark = pytest.mark.e2e

PROCESSES = ("fork", "forkserver", "spawn", "Pool")
WAYS = ("thread", "timer", "pool", "run_in_executor", *PROCESSES)
SERVERS = {
    "uvicorn": "uvicorn --port {port} elsewhere_asgi:app",
    "gthread": "gunicorn -k gthread --threads 2 -b 127.0.0.1:{port} elsewhere_wsgi:app",
    "gevent": "gunicorn -k gevent -b 127.0.0.1:{port} elsewhere_wsgi:app",
}


@pytest.mark.parametrize("server", SERVERS)
def test_work_elsewhere_is_a_child_of_its_request(tmp_path: Path, server: str) -> None:
    (tmp_path / "bext.config.toml").write_text(
        '[apps.shop]\npaths = ["/shop"]\n[apps.blog]\npaths = ["/blog"]\n'
    )
    ways = [
        way for way in WAYS if server != "gevent" or way not in PROCESSES
    ]  # pools of processes and gevent do not go together
    asked = [f"/{site}/{way}" for way in ways for site in ("shop", "blog")]
    with receiving() as received:
        env = {**SOON, "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint}
        with launched(tmp_path, SERVERS[server], env=env, path="/none") as program:
            for path in asked:
                assert 200 == program.get(path).status_code, program.output()
            until(
                lambda: len(received.spans(name="bext.cache.load")) == len(asked),
                why=lambda: str(received.spans()),
            )
            loads = {span.parent_id: span for span in received.spans(name="bext.cache.load")}
            for path in asked:
                request = received.span(kind="server", url_path=path)
                load = loads[request.span_id]
                assert request.trace_id == load.trace_id
                assert (path.split("/")[1],) * 2 == (
                    request.attributes["bext.app"],
                    load.attributes["bext.app"],
                )
