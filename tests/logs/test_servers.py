"""What becomes of the lines of uvicorn and gunicorn, which set logging up themselves, sooner or later than we
do."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from bext_otel.logs.servers import is_access_line
from tests.logs.programs import Ran

UVICORN = """
import uvicorn
uvicorn.Config(None)
server, access = logging.getLogger("uvicorn.error"), logging.getLogger("uvicorn.access")
"""
GUNICORN = """
from gunicorn.config import Config
from gunicorn.glogging import Logger
settings = Config()
settings.set("accesslog", "-")
gunicorn = Logger(settings)
server, access = gunicorn.error_log, gunicorn.access_log
"""
# As UvicornWorker does.
BOTH = (
    UVICORN
    + GUNICORN
    + """
for name, own in (("uvicorn.error", gunicorn.error_log), ("uvicorn.access", gunicorn.access_log)):
    logging.getLogger(name).handlers = own.handlers
    logging.getLogger(name).propagate = False
server, access = logging.getLogger("uvicorn.error"), logging.getLogger("uvicorn.access")
"""
)
LOGGED = "logging.basicConfig(level='INFO')"
EXCEPTION = """
try:
    raise KeyError("k")
except KeyError:
    server.error("broken", exc_info=True)
"""
ACCESS = """access.info('%s - "%s %s HTTP/%s" %d', "127.0.0.1", "GET", "/", "1.1", 200)"""
ACCESS_OF_GUNICORN = "access.info('GET / %(s)s', {'s': 200})"
TOLD = "from bext_otel.operation import set_request_logged; set_request_logged(told=True)"

servers = pytest.mark.parametrize("server", [UVICORN, GUNICORN, BOTH], ids=["uvicorn", "gunicorn", "both"])


@servers
def test_what_a_server_says_is_our_line_once(server: str) -> None:
    ran = Ran(
        server
        + "server.info('Running on %s', 'http://127.0.0.1', extra={'color_message': 'colours'})"
        + EXCEPTION
    )
    running, broken = map(json.loads, ran.out)
    assert (["Running on http://127.0.0.1", "broken"], []) == (ran.exported, ran.err)
    assert ("Running on http://127.0.0.1", "broken", "KeyError") == (
        running["message"],
        broken["message"],
        broken["exception.type"],
    )
    assert "color_message" not in running or server is GUNICORN


@servers
def test_a_server_that_was_set_up_before_us_is_heard_too(server: str) -> None:
    ran = Ran(
        f"installed.remove()\n{server}\ninstall(config, provider, apps={{}})\nserver.warning('careful')"
    )
    assert (["careful"], ["careful"], []) == (ran.messages, ran.exported, ran.err)


def test_a_server_that_is_set_up_again_is_told_once() -> None:
    ran = Ran(f"{UVICORN}\nserver.info('first')\n{UVICORN}\nserver.info('second')")
    assert (["first", "second"], ["first", "second"], []) == (ran.messages, ran.exported, ran.err)


def test_a_server_that_leaves_its_lines_to_the_application_is_told_once() -> None:
    ran = Ran(
        f"{UVICORN}\nserver.info('first')\nlogging.getLogger('uvicorn').propagate = "
        "True\nserver.info('second')"
    )
    assert (["first", "second"], ["first", "second"]) == (ran.messages, ran.exported)


def test_what_the_application_filters_out_of_a_server_s_lines_is_told_nowhere() -> None:
    ran = Ran(
        f"{UVICORN}\nserver.addFilter(lambda record: 'secret' not in "
        "record.getMessage())\nserver.info('secret')"
    )
    assert ([], [], []) == (ran.out, ran.exported, ran.err)


def test_a_server_s_files_are_left_alone(tmp_path: Path) -> None:
    ran = Ran(
        f"{UVICORN}\nlogging.getLogger('uvicorn').addHandler(logging.FileHandler({str(tmp_path / 'own')!r}))\nserver.info('hello')"
    )
    assert (["hello"], [], "hello\n") == (ran.messages, ran.err, (tmp_path / "own").read_text())


def test_other_loggers_that_print_by_a_server_s_handler_are_told_too() -> None:
    ran = Ran(
        UVICORN + "log.propagate = False; log.addHandler(logging.getLogger('uvicorn').handlers[0]); "
        "server.info('one'); log.info('two')"
    )
    assert (["one", "two"], ["one", "two"], []) == (ran.messages, ran.exported, ran.err)


@pytest.mark.parametrize(
    ("server", "access"),
    [
        (UVICORN, ACCESS),
        (GUNICORN, ACCESS_OF_GUNICORN),
        (LOGGED, "logging.getLogger('aiohttp.access').info('GET / 200')"),
        (LOGGED, "logging.getLogger('tornado.access').warning('%d %s %.2fms', 404, 'GET /', 0.5)"),
    ],
    ids=["uvicorn", "gunicorn", "aiohttp", "tornado"],
)
def test_access_lines_are_silent_where_a_completion_record_tells(server: str, access: str) -> None:
    assert ([], []) == ((ran := Ran(f"{server}\n{TOLD}\n{access}")).out, ran.exported)


@pytest.mark.parametrize(
    ("server", "access"), [(UVICORN, ACCESS), (GUNICORN, ACCESS_OF_GUNICORN)], ids=["uvicorn", "gunicorn"]
)
def test_access_lines_are_as_they_were_where_no_completion_record_tells(server: str, access: str) -> None:
    for ran in (Ran(f"{server}\n{access}"), Ran(f"{server}\n{TOLD}\n{access}", requests=False)):
        assert (1, [], []) == (len(ran.out), ran.exported, ran.err)
        assert "GET /" in ran.out[0]
        assert not ran.out[0].startswith("{")


WERKZEUG = """
server = access = logging.getLogger("werkzeug")
access_args = ('127.0.0.1 - - [28/Nov/2026 00:00:00] "%s" %s %s\\n', '\\x1b[33mGET / HTTP/1.1\\x1b[0m', '404', '-')
"""


def test_the_development_server_s_lines_have_no_colours_and_its_access_lines_are_silent_where_a_completion_record_tells() -> (
    None
):
    says = "server.info('\\x1b[31m\\x1b[1mWARNING: no %s\\x1b[0m', 'server')"
    ran = Ran(f"{WERKZEUG}\n{says}\naccess.info(*access_args)\n{TOLD}\naccess.info(*access_args)")
    assert [
        "WARNING: no server",
        '127.0.0.1 - - [28/Nov/2026 00:00:00] "GET / HTTP/1.1" 404 -\n',
    ] == ran.messages
    assert ran.messages == ran.exported


CRASH = """
from bext_otel.apps import with_app
from bext_otel.crashes import note_crash
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, set_span_in_context
here = with_app("shop", set_span_in_context(NonRecordingSpan(SpanContext(1, 2, False)), Context()))
logging.basicConfig()
try:
    raise KeyError("k")
except KeyError as error:
    caught = error
    note_crash(error, here, told={told})
    {says}
{later}
"""
TELLING = {
    "uvicorn": (
        "pass",
        "logging.getLogger('uvicorn.error').error('Exception in ASGI application', exc_info=caught)",
    ),
    "gunicorn": ("logging.getLogger('gunicorn.error').exception('Error handling request %s', '/')", ""),
    "werkzeug": (
        "logging.getLogger('werkzeug').error('Error on request: ' + __import__('traceback').format_exc())",
        "",
    ),
    "granian": (
        "pass",
        "logging.getLogger('_granian.asgi').error('Traceback (most recent call last):\\n  ...\\nKeyError: \\'k\\'')",
    ),
    "daphne": (
        "pass",
        "logging.getLogger('daphne.server').error('Exception inside application: %s', caught)",
    ),
}


@pytest.mark.parametrize("server", TELLING)
def test_a_crash_that_a_completion_record_tells_of_is_not_told_by_its_server(server: str) -> None:
    says, later = TELLING[server]
    ran = Ran(CRASH.format(told=True, says=says, later=later))
    assert ([], [], []) == (ran.out, ran.exported, ran.err)


@pytest.mark.parametrize("server", TELLING)
def test_a_crash_that_no_record_tells_of_is_told_by_its_server_with_the_ids_of_the_request(
    server: str,
) -> None:
    says, later = TELLING[server]
    ran = Ran(CRASH.format(told=False, says=says, later=later))
    (line,) = map(json.loads, ran.out)
    assert ("shop", f"{1:032x}", f"{2:016x}", "error") == (
        line["app"],
        line["trace_id"],
        line["span_id"],
        line["level"],
    )


def test_what_a_server_says_of_another_exception_is_told_and_so_is_what_the_application_says() -> None:
    says = "logging.getLogger('shop').exception('mine')"
    later = "logging.getLogger('uvicorn.error').error('other', exc_info=ValueError('v'))"
    assert ["mine", "other"] == Ran(CRASH.format(told=True, says=says, later=later)).messages


def test_where_lines_are_not_ours_a_server_prints_a_crash_as_ever() -> None:
    says, later = TELLING["uvicorn"]
    ran = Ran(CRASH.format(told=True, says=says, later=later), serves=False)
    assert ([], [], "KeyError: 'k'") == (ran.out, ran.exported, ran.err[-1])


def test_an_access_line_stays_where_an_app_s_level_keeps_the_completion_record_back() -> None:
    told = "from bext_otel.operation import set_request_logged; set_request_logged(told=True, app='shop')"
    ran = Ran(f"{UVICORN}\n{told}\n{ACCESS}", apps={"shop": "error"})
    assert (1, []) == (len(ran.out), ran.exported)
    assert ([], []) == ((ran := Ran(f"{UVICORN}\n{told}\n{ACCESS}", apps={"web": "error"})).out, ran.exported)


def test_the_lines_of_django_s_development_server_are_silent_where_a_completion_record_tells() -> None:
    says = """
access = logging.getLogger("django.server"); access.propagate = False; access.setLevel("INFO")
access.addHandler(logging.StreamHandler())
access.info('"%s" %s %s', 'GET / HTTP/1.1', '200', '5', extra={"server_time": "now"})
"""
    assert ['"GET / HTTP/1.1" 200 5'] == Ran(says).err
    assert ([], []) == ((ran := Ran(f"{TOLD}\n{says}")).out, ran.err)


def test_what_daphne_writes_past_logging_is_silent_where_a_completion_record_tells() -> None:
    pytest.importorskip("daphne")
    writes = """
from daphne.access import AccessLogGenerator
entries = AccessLogGenerator(sys.stdout)
details = {"client": "127.0.0.1:1", "method": "GET", "path": "/", "status": 200, "size": 2}
entries("http", "complete", details)
"""
    (line,) = Ran(writes).out
    assert '"GET /" 200 2' in line
    assert [] == Ran(f"{TOLD}\n{writes}").out
    assert 1 == len(Ran(f"{TOLD}\n{writes}", output="none").out)


def test_what_wsgiref_writes_past_logging_is_silent_where_a_completion_record_tells() -> None:
    writes = """
from wsgiref.simple_server import WSGIRequestHandler
def ask(kind):
    handler = kind.__new__(kind)
    handler.client_address, handler.requestline = ("127.0.0.1", 1), "GET / HTTP/1.1"
    handler.log_request(200, 2)
ask(WSGIRequestHandler)
class Own(WSGIRequestHandler):
    def log_message(self, format, *args): logging.getLogger("own").warning(format, *args)
ask(Own)
"""
    ran = Ran(writes)
    (line,) = ran.err
    assert '"GET / HTTP/1.1" 200 2' in line
    told = Ran(f"{TOLD}\n{writes}")
    assert ([], ['"GET / HTTP/1.1" 200 2']) == (told.err, told.messages)
    assert 2 == len(Ran(f"{TOLD}\n{writes}", output="none").err)


DEBUGGER = """
from opentelemetry.context import Context
from werkzeug.debug import DebuggedApplication
from werkzeug.test import run_wsgi_app
from bext_otel.crashes import note_crash
def broken(environ, start_response):
    try:
        raise KeyError("k")
    except KeyError as caught:
        note_crash(caught, Context(), told={told})
        raise
chunks, status, headers = run_wsgi_app(
    DebuggedApplication(broken), {{"REQUEST_METHOD": "GET", "HTTP_HOST": "localhost", "wsgi.errors": {errors}}}
)
page = b"".join(chunks)
assert page.count(b"KeyError") and status.startswith("500")
"""


def test_a_crash_that_a_completion_record_tells_of_is_not_written_by_werkzeug_s_debugger() -> None:
    pytest.importorskip("werkzeug")
    assert [] == Ran(DEBUGGER.format(told=True, errors="sys.stderr")).err
    for ran in (
        Ran(DEBUGGER.format(told=False, errors="sys.stderr")),
        Ran(DEBUGGER.format(told=True, errors="sys.stderr"), output="none"),
        Ran(DEBUGGER.format(told=True, errors="sys.stderr"), serves=False),
    ):
        assert "KeyError: 'k'" == ran.err[-1]
    kept = "kept = __import__('io').StringIO()\n" + DEBUGGER.format(told=True, errors="kept")
    assert [] == Ran(kept + "assert \"KeyError: 'k'\" in kept.getvalue()\n").err


def test_access_lines_that_propagate_are_told_no_second_time() -> None:
    assert (
        []
        == Ran(
            f"{UVICORN}\nfor each in (access,): each.handlers.clear(); each.propagate = "
            f"True\n{TOLD}\n{ACCESS}"
        ).out
    )


@servers
def test_without_output_a_server_prints_as_ever_and_is_exported(server: str) -> None:
    ran = Ran(f"{server}\nserver.warning('careful')", output="none")
    assert ([], ["careful"], 1) == (ran.out, ran.exported, len(ran.err))
    assert ran.err[0].endswith("careful")
    assert not ran.err[0].startswith("{")


@servers
def test_disabled_logging_leaves_a_server_alone(server: str) -> None:
    ran = Ran(f"{server}\nserver.warning('careful')", enabled=False)
    assert ([], [], 1) == (ran.out, ran.exported, len(ran.err))


@servers
def test_after_our_leaving_a_server_speaks_for_itself(server: str) -> None:
    ran = Ran(
        f"{server}\nserver.warning('one')\ninstalled.remove()\nserver.warning('two')\nassert not "
        "server.filters"
    )
    assert (["one"], ["one"], 1) == (ran.messages, ran.exported, len(ran.err))
    assert ran.err[0].endswith("two")


def test_a_master_that_forks_has_no_thread_and_its_lines_are_exported_in_the_end() -> None:
    script = """
import os, threading
server.info("Starting")
assert threading.active_count() == 1
pid = os.fork()
if not pid:
    provider.force_flush()
    os._exit(len(exporter.get_finished_logs()))
assert os.waitpid(pid, 0)[1] == 0
"""
    assert ["Starting"] == Ran(GUNICORN + script).exported


@pytest.mark.parametrize("name", ["sanic.access", "cherrypy.access", "cherrypy.access.140225629133968"])
def test_a_line_about_a_request_is_known_by_its_logger(name: str) -> None:
    def said(by: str) -> logging.LogRecord:
        return logging.LogRecord(by, logging.INFO, __file__, 1, "GET / 200", (), None)

    assert is_access_line(said(name))
    assert not is_access_line(said(name.replace("access", "error")))
