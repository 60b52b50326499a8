"""A WSGI and an ASGI application: each request counts one, and is told who answered and what the service has
counted."""

from __future__ import annotations

import json
import os
from urllib.parse import parse_qs

from counter import counter, ledger


def answer(query: str) -> bytes:
    counter.add(int(parse_qs(query).get("by", ["0"])[0]))
    return json.dumps(
        {"pid": os.getpid(), "total": counter.total(), "alone": ledger.alone, "reason": ledger.reason}
    ).encode()


def wsgi(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json"), ("Connection", "close")])
    return [answer(environ["QUERY_STRING"])]


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer(scope["query_string"].decode())})
