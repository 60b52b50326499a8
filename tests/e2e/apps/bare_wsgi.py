"""A WSGI application of no framework, as a function; `behind` has Flask inside of a middleware that nobody
knows."""

from __future__ import annotations

import sys
from typing import Any

from flask import Flask


def app(environ: Any, start_response: Any) -> Any:
    if environ["PATH_INFO"] == "/fails":
        raise LookupError("no tea")
    length = len(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return iter([b"tea ", str(length).encode()])


application = app  # the name that uWSGI looks for
framework = Flask(__name__)


@framework.route("/items/<item>")
def item(item: str) -> str:
    return item


def behind(environ: Any, start_response: Any) -> Any:
    return framework(dict(environ), start_response)


if __name__ == "__main__":
    server, port = sys.argv[1], int(sys.argv[2])
    if server == "werkzeug":
        from werkzeug.serving import run_simple

        run_simple("127.0.0.1", port, app)
    elif server == "waitress":
        import waitress

        waitress.serve(app, host="127.0.0.1", port=port)
    elif server == "wsgiref":
        from wsgiref.simple_server import make_server

        make_server("127.0.0.1", port, app).serve_forever()
    elif server == "cheroot":
        from cheroot.wsgi import Server

        Server(("127.0.0.1", port), app).start()
    elif server in {"pywsgi", "pywsgi-patched-late"}:
        if server == "pywsgi-patched-late":  # when all that telemetry does in threads runs
            import logging
            import time

            from gevent import monkey
            from opentelemetry import metrics, trace

            logging.getLogger("shop").warning("tea is made")
            trace.get_tracer("shop").start_span("tea").end()
            metrics.get_meter("shop").create_counter("teas").add(1)
            time.sleep(1)
            monkey.patch_all()
        from gevent.pywsgi import WSGIServer

        WSGIServer(("127.0.0.1", port), app).serve_forever()
