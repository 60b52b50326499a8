"""An application of no framework, as its users start it, under every server that is instrumented: its
requests are measured where the server calls it."""

from __future__ import annotations

import importlib.util
import os
import signal
import time
from pathlib import Path

import httpx
import pytest

from tests.e2e.launching import SOON, Launched, free_port, launched
from tests.e2e.otlp import receiving
from tests.waiting import until

pytestmark = pytest.mark.e2e

ASGI = {
    "uvicorn": "uvicorn --port {port} bare_asgi:app",
    "uvicorn's workers": "uvicorn --port {port} --workers 2 bare_asgi:app",
    "uvicorn's reload": "uvicorn --port {port} --reload bare_asgi:app",
    "hypercorn's reload": "hypercorn --reload -b 127.0.0.1:{port} bare_asgi:app",
    "uvicorn's factory": "uvicorn --port {port} --factory bare_asgi:make",
    "UvicornWorker": "gunicorn -k uvicorn_worker.UvicornWorker -b 127.0.0.1:{port} bare_asgi:app",
    "gunicorn's asgi": "gunicorn -k asgi -b 127.0.0.1:{port} bare_asgi:app",
    "hypercorn": "hypercorn -w 2 -b 127.0.0.1:{port} bare_asgi:app",
    "granian": "granian --interface asgi --port {port} bare_asgi:app",
    "granian without lifespan": "granian --interface asginl --port {port} bare_asgi:app",
    "daphne": "daphne -p {port} bare_asgi:app",
}
WSGI = {
    "sync": "gunicorn -b 127.0.0.1:{port} bare_wsgi:app",
    "gthread": "gunicorn -k gthread --threads 2 --preload -w 2 -b 127.0.0.1:{port} bare_wsgi:app",
    "gevent": "gunicorn -k gevent -b 127.0.0.1:{port} bare_wsgi:app",
    "gevent_pywsgi": "gunicorn -k gevent_pywsgi -b 127.0.0.1:{port} bare_wsgi:app",
    "hypercorn's wsgi": "hypercorn -b 127.0.0.1:{port} bare_wsgi:app",
    "uvicorn's wsgi": "uvicorn --interface wsgi --port {port} bare_wsgi:app",
    "granian's wsgi": "granian --interface wsgi --workers 2 --port {port} bare_wsgi:app",
    "waitress": "waitress-serve --listen 127.0.0.1:{port} bare_wsgi:app",
    **{
        name: f"python -m bare_wsgi {name} {{port}}"
        for name in ("werkzeug", "waitress", "wsgiref", "cheroot", "pywsgi", "pywsgi-patched-late")
    },
}
OWN = {
    "aiohttp": "python -m own_servers aiohttp {port}",
    "GunicornWebWorker": "gunicorn -k aiohttp.GunicornWebWorker -b 127.0.0.1:{port} own_servers:aiohttp_factory",
    "tornado": "python -m own_servers tornado {port}",
}
BEHIND = {
    "uvicorn": "uvicorn --port {port} bare_asgi:behind",
    "hypercorn": "hypercorn -b 127.0.0.1:{port} bare_asgi:behind",
    "sync": "gunicorn -b 127.0.0.1:{port} bare_wsgi:behind",
    "gunicorn's tornado": "gunicorn -k tornado -b 127.0.0.1:{port} bare_wsgi:behind",
    "waitress": "waitress-serve --listen 127.0.0.1:{port} bare_wsgi:behind",
}


def requests(program: Launched) -> dict[tuple[str, str], float]:
    """How many requests were counted, by status and route."""
    found = {}
    for name, value in program.metrics().items():
        if name.startswith("bext_requests_total{"):
            labels = dict(part.split("=", 1) for part in name[name.index("{") + 1 : -1].split(","))
            found[labels["status"].strip('"'), labels["route"].strip('"')] = value
    return found


@pytest.mark.parametrize("server", [*ASGI, *WSGI])
def test_an_application_of_no_framework_is_measured(tmp_path: Path, server: str) -> None:
    if server == "cheroot" and importlib.util.find_spec("cheroot") is None:
        pytest.skip("cheroot is not installed")
    command = {**ASGI, **WSGI}[server]
    with receiving() as received:
        env = {**SOON, "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint, "OTEL_SERVICE_NAME": "shop"}
        with launched(tmp_path, command, env=env, path="/first") as program:
            for number in range(3):
                answer = program.get(f"/tea/{number}")
                assert (200, "tea 0") == (answer.status_code, answer.text)
            assert 500 == program.get("/fails").status_code
            line = program.completion("/tea/2")
            span = until(lambda: received.spans(kind="server", url_path="/tea/2"), why="a span")
            failed = until(lambda: received.spans(kind="server", url_path="/fails"), why="a span")
            expected = {("200", "unmatched"): 4, ("500", "unmatched"): 1}
            until(lambda: expected == requests(program), why=lambda: f"{expected}, not {requests(program)}")
    assert (200, "unmatched", "shop") == (line["status"], line.get("route", "unmatched"), line["app"])
    assert (1, 1) == (len(span), len(failed))
    assert "LookupError" == failed[0].attributes["error.type"]
    if server == "pywsgi-patched-late":
        assert "threading.py" not in program.output()


@pytest.mark.parametrize("server", OWN)
def test_a_framework_with_a_server_of_its_own_is_measured(tmp_path: Path, server: str) -> None:
    pytest.importorskip("tornado" if server == "tornado" else "aiohttp")
    with receiving() as received:
        env = {**SOON, "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint, "OTEL_SERVICE_NAME": "shop"}
        with launched(tmp_path, OWN[server], env=env, path="/first") as program:
            for number in range(3):
                answer = program.get(f"/tea/{number}")
                assert (200, "tea 0") == (answer.status_code, answer.text)
            assert (500, 404) == (program.get("/fails").status_code, program.get("/none").status_code)
            line = program.completion("/tea/2")
            spans = until(lambda: received.spans(kind="server", url_path="/tea/2"), why="a span")
            expected = {
                ("200", "/first"): 1,
                ("200", "/tea/{number}"): 3,
                ("500", "/fails"): 1,
                ("404", "unmatched"): 1,
            }
            until(lambda: expected == requests(program), why=lambda: f"{expected}, not {requests(program)}")
    assert (200, "shop") == (line["status"], line["app"])
    assert ["GET /tea/{number}"] == [span.name for span in spans]


@pytest.mark.parametrize("server", BEHIND)
def test_a_framework_that_nobody_sees_from_outside_tells_its_route(tmp_path: Path, server: str) -> None:
    with receiving() as received:
        env = {**SOON, "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint}
        with launched(tmp_path, BEHIND[server], env=env) as program:
            assert 404 == program.get("/none").status_code
            spans = until(lambda: received.spans(kind="server", url_path="/items/0"), why="a span")
            counted = requests(program)
    route = "/items/<item>" if "wsgi" in BEHIND[server] else "/items/{item}"
    assert {("200", route): len(spans), ("404", "unmatched"): 1} == counted
    assert {route} == {span.attributes["http.route"] for span in spans}


@pytest.mark.parametrize("server", ["uvicorn", "sync", "hypercorn", "waitress", "sanic", "twisted"])
def test_metrics_are_there_before_any_request(tmp_path: Path, server: str) -> None:
    own = {"sanic": f"sanic sanic_app:app --port {free_port()}", "twisted": "twist web --path . --port tcp:0"}
    if server in own:
        pytest.importorskip(server)
    command = {**ASGI, **WSGI, **own}[server].replace("{port}", "0")
    with launched(tmp_path, command, env=SOON) as program:
        assert "bext_" in program.endpoint("/metrics").text


UWSGI = "uwsgi --http-socket 127.0.0.1:{port} --die-on-term "


@pytest.mark.parametrize(
    "options",
    ["--touch-reload touched --master --processes 2 --module bare_wsgi:app", "--mount /=bare_wsgi:app"],
)
def test_uwsgi_measures_what_a_module_holds_also_after_a_reload(tmp_path: Path, options: str) -> None:
    if importlib.util.find_spec("uwsgidecorators") is None:
        pytest.skip("uWSGI is not installed")
    (tmp_path / "touched").write_text("")
    with receiving() as received:
        env = {**SOON, "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint, "OTEL_SERVICE_NAME": "shop"}
        with launched(tmp_path, UWSGI + options, env=env, path="/first") as program:
            assert "tea 0" == program.get("/tea/1").text
            with pytest.raises(httpx.RemoteProtocolError):  # so it is without us
                program.get("/fails")
            line = program.completion("/fails")
            expected = {("200", "unmatched"): 2, ("500", "unmatched"): 1}
            until(lambda: expected == requests(program), why=lambda: f"{expected}, not {requests(program)}")
            if "touched" in options:
                os.utime(tmp_path / "touched", (time.time() + 60,) * 2)  # uWSGI looks at whole seconds
                until(lambda: "has been touched" in program.output())
                until(lambda: 200 == answered(program, "/tea/2"))
                until(lambda: received.spans(kind="server", url_path="/tea/2"))
                # It replaces itself by a new program, which counts from nothing.
                until(lambda: 1 <= requests(program).get(("200", "unmatched"), 0))
            assert (500, "LookupError") == (line["status"], line["error_type"])
            assert "LookupError" == received.span(kind="server", url_path="/fails").attributes["error.type"]
            assert (0 if "--master" in options else 30) == program.end()


def answered(program: Launched, path: str) -> int | None:
    try:
        return program.get(path).status_code
    except httpx.TransportError:  # between two lives
        return None


def test_what_a_file_holds_is_not_to_be_reached_in_uwsgi_and_a_line_says_so(tmp_path: Path) -> None:
    if importlib.util.find_spec("uwsgidecorators") is None:
        pytest.skip("uWSGI is not installed")
    (tmp_path / "file.py").write_text("from bare_wsgi import app\n")
    command = f"{UWSGI} --master --wsgi-file file.py --callable app"
    with launched(tmp_path, command, env=SOON, path="/first") as program:
        told = "the application of a file (file.py) is measured where an instrumented framework answers"
        until(lambda: 1 == program.output().count(told), why=program.output)
        assert {} == requests(program)


def test_twisted_s_adapter_is_measured(tmp_path: Path) -> None:
    pytest.importorskip("twisted")
    command = "twist web --wsgi bare_wsgi.app --port tcp:{port}:interface=127.0.0.1"
    with receiving() as received:
        env = {**SOON, "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint, "OTEL_SERVICE_NAME": "shop"}
        with launched(tmp_path, command, env=env, path="/first") as program:
            assert (200, 500) == (program.get("/tea/1").status_code, program.get("/fails").status_code)
            expected = {("200", "unmatched"): 2, ("500", "unmatched"): 1}
            until(lambda: expected == requests(program), why=lambda: f"{expected}, not {requests(program)}")
            until(lambda: 3 == len(received.spans(kind="server")))


@pytest.mark.parametrize("adapter", ["tornado", "gevent"])
def test_bottle_s_adapters_are_measured(tmp_path: Path, adapter: str) -> None:
    with receiving() as received:
        env = {**SOON, "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint, "OTEL_SERVICE_NAME": "shop"}
        command = f"python -m bottle_app {adapter} {{port}}"
        with launched(tmp_path, command, env=env, path="/first") as program:
            assert (200, 500) == (program.get("/tea/1").status_code, program.get("/fails").status_code)
            expected = {("200", "/first"): 1, ("200", "/tea/<number>"): 1, ("500", "/fails"): 1}
            until(lambda: expected == requests(program), why=lambda: f"{expected}, not {requests(program)}")
            until(lambda: 3 == len(received.spans(kind="server")))
            assert -signal.SIGTERM == program.end()


def test_granian_says_that_rsgi_is_not_measured(tmp_path: Path) -> None:
    command = "granian --interface rsgi --port {port} rsgi_app:app"
    with launched(tmp_path, command, env=SOON, path="/first") as program:
        assert "tea" == program.get("/tea/1").text
        assert {} == requests(program)
        assert 1 == program.output().count("granian serves by RSGI, which is not instrumented")


def test_streamlit_as_its_users_start_it(tmp_path: Path) -> None:
    pytest.importorskip("streamlit")
    (tmp_path / "page.py").write_text("import streamlit\nstreamlit.write('tea')\n")
    command = "streamlit run page.py --server.port {port} --server.headless true --server.address 127.0.0.1"
    with launched(tmp_path, command, env=SOON, path="/_stcore/health") as program:
        assert [200, 200] == [program.get(path).status_code for path in ("/", "/nowhere")]
        until(lambda: 2 == requests(program).get(("200", "/{path}")), why=lambda: str(requests(program)))
        assert {"/{path}", "/_stcore/health"} == {route for _, route in requests(program)}
        assert 0 == program.end()


@pytest.mark.parametrize(
    ("command", "broken"),
    [
        ("uvicorn --port 0 --factory bare_asgi:never", "LookupError"),
        ("gunicorn -b 127.0.0.1:0 bare_wsgi:__doc__", "Application object must be callable"),
    ],
)
def test_what_is_no_application_fails_as_it_does_without_us(
    tmp_path: Path, command: str, broken: str
) -> None:
    codes = []
    for instrument in (False, True):
        with launched(tmp_path / str(instrument), command, env=SOON, instrument=instrument) as program:
            codes.append(program.wait(seconds=30))
            assert broken in program.output()
    assert codes[0] == codes[1]


def test_django_s_development_server_is_measured_where_it_serves(tmp_path: Path) -> None:
    command = "django-admin runserver 127.0.0.1:{port}"  # in a process below one that only reloads it
    with launched(tmp_path, command, env={**SOON, "DJANGO_SETTINGS_MODULE": "django_settings"}) as program:
        assert (200, 404) == (program.get("/items/1").status_code, program.get("/static/none").status_code)
        expected = {("200", "/items/<item>"): 2, ("404", "unmatched"): 1}
        until(lambda: expected == requests(program), why=lambda: f"{expected}, not {requests(program)}")


@pytest.mark.parametrize("server", ["uvicorn", "sync", "waitress", "aiohttp", "tornado", "sanic"])
def test_endpoints_that_are_mounted_answer_beside_an_application_whatever_serves_it(
    tmp_path: Path, server: str
) -> None:
    if server == "sanic":
        pytest.importorskip("sanic")
    env = {**SOON, "BEXT_METRICS_MOUNT": "true"}
    command = {**ASGI, **WSGI, **OWN, "sanic": "python -m sanic_app {port}"}[server]
    with launched(tmp_path, command, env=env, path="/first") as program:
        page = until(lambda: "bext_requests_total" in (text := program.get("/metrics").text) and text)
        head = httpx.head(f"{program.url}/metrics", trust_env=False)
    assert 'status="200"' in page
    assert (200, b"", True) == (head.status_code, head.content, int(head.headers["content-length"]) > 0)
