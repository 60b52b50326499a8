"""When a process begins to serve: processes of their own, for that has no end."""

from __future__ import annotations

import os
from textwrap import dedent

import pytest

from tests.fresh import printed

HEAD = """
import os, sys, threading
from bext_otel import serving
heard = []
"""


def ran(program: str) -> list[str]:
    """What a program printed."""
    return printed(HEAD + dedent(program)).splitlines()


def test_whoever_waits_is_called_once_and_who_comes_later_at_once() -> None:
    program = """
    def fails(): raise RuntimeError("no")
    undo = serving.on_serving(lambda: heard.append("undone"))
    undo(); undo()
    serving.on_serving(fails)
    serving.on_serving(lambda: heard.append(serving.is_serving()))
    print(serving.is_serving(), serving.since())
    serving.begin(); since = serving.since(); serving.begin()
    serving.on_serving(lambda: heard.append("later"))()
    print(serving.is_serving(), since == serving.since(), *heard)
    """
    assert ["False None", "True True True later"] == ran(program)


def test_a_command_of_a_server_serves_from_the_start_and_nothing_is_replaced() -> None:
    program = """
    import werkzeug.serving
    before = werkzeug.serving.run_simple
    undo = serving.watch([["python", "script.py"], ["python", "-m", "uvicorn", "app:app"]])
    print(serving.is_serving(), before is werkzeug.serving.run_simple)
    undo()
    """
    assert ["True True"] == ran(program)


def test_a_server_that_opens_in_the_process_begins_it() -> None:
    program = """
    undo = serving.watch([sys.orig_argv])
    import uvicorn
    async def app(scope, receive, send): heard.append(serving.is_serving())
    config = uvicorn.Config(app, port=0, lifespan="on", log_level="critical")
    server = uvicorn.Server(config)
    print(serving.is_serving())
    server.should_exit = True
    server.run()
    print(serving.is_serving(), *heard)
    undo()
    print(hasattr(uvicorn.Server.run, "__wrapped__"))
    """
    assert ["False", "True True", "False"] == ran(program)


def test_a_development_server_begins_it_and_a_page_of_metrics_does_not() -> None:
    program = """
    serving.watch()
    import prometheus_client
    server, thread = prometheus_client.start_http_server(0, addr="127.0.0.1")
    print(serving.is_serving())
    server.shutdown()
    import werkzeug.serving
    server = werkzeug.serving.make_server("127.0.0.1", 0, print)
    print(serving.is_serving())
    threading.Timer(0.1, server.shutdown).start()
    server.serve_forever()
    print(serving.is_serving())
    """
    assert ["False", "False", "True"] == ran(program)


def test_nobody_serves_because_an_application_is_called() -> None:
    """As a test client does, or a CGI program."""
    program = """
    serving.watch()
    import flask
    app = flask.Flask("shop")
    app.add_url_rule("/", view_func=lambda: "ok")
    print(app.test_client().get("/").status_code, serving.is_serving())
    """
    assert ["200 False"] == ran(program)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_what_a_process_that_serves_forks_serves_and_a_server_that_a_script_forks_does_alone() -> None:
    program = """
    def forked(call):
        pid = os.fork()
        if not pid:
            call()
            os._exit(10 + serving.is_serving())
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) - 10
    print(forked(lambda: None), forked(serving.begin), serving.is_serving())
    serving.begin()
    print(forked(lambda: None))
    """
    assert ["0 1 False", "1"] == ran(program)
