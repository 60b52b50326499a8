"""The endpoints as an ASGI application, to mount."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any, TypeAlias

from bext_otel.endpoints.endpoints import NOT_FOUND, Endpoints, Reply, finished, plain_text
from bext_otel.endpoints.visitors import BUSY
from bext_otel.listener.lanes import Lane, Together
from bext_otel.listener.pace import Pace

__all__ = ["ASGIEndpoints"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_MOST_WAITING = 64
_PATIENCE_SECONDS = 25.0
# Between two parts the loop has time for others, and a client that does not read is waited for.
_SENT_AT_ONCE = 64 * 1024


class ASGIEndpoints:
    """Answers the paths of the endpoints and 404 for any other; what stands in `root_path` is the mount's
    prefix.

    Its callers are visitors of the application, so none is trusted. On asyncio a reply is made in a thread of
    our own (the loop's default executor may be full of the application's work, and a probe should not wait
    for that): scrapes one at a time, for a share of the time, and those who wait share one collection; on
    another loop, such as trio, it is made at once, since the wait for a thread would need that loop's own
    library.
    """

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self.owns = endpoints.owns
        self._begin()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        elif scope["type"] == "http":
            reply = await self._reply(scope)
            headers = [
                (b"content-type", reply.content_type.encode()),
                *((name.encode(), value.encode()) for name, value in reply.headers),
            ]
            await send({"type": "http.response.start", "status": reply.status, "headers": headers})
            await _send_body(reply.body, send)

    async def _reply(self, scope: Scope) -> Reply:
        path, mount = scope["path"], scope.get("root_path", "")
        # Since ASGI 3.0's clarification `path` includes `root_path`; older servers and frameworks leave it
        # out.
        path = path[len(mount) :] if mount and path.startswith(mount) else path
        method = scope["method"]
        query = scope.get("query_string", b"").decode("latin-1")
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        name = self._endpoints.lane(path, headers)
        loop = _running_loop()
        if name is None or loop is None:
            return self._now(method, path, query, headers)
        if self._pid != os.getpid():  # a fork leaves the parent's threads behind
            self._begin()
        if self._waiting >= _MOST_WAITING:
            return finished(BUSY, method, headers)
        made: asyncio.Future[Reply] = loop.create_future()

        def job(together: Together) -> None:
            reply = self._now(method, path, query, headers, together)
            with suppress(RuntimeError):  # the loop is closed meanwhile
                loop.call_soon_threadsafe(_settle, made, reply)

        lane = self._lanes[name]
        self._waiting += 1
        try:
            lane.add(job)
            return await asyncio.wait_for(made, _PATIENCE_SECONDS)
        except (TimeoutError, asyncio.TimeoutError):
            late = plain_text(503, f"{path} takes too long: something that is asked for it hangs")
            return finished(late, method, headers)
        finally:
            self._waiting -= 1
            lane.discard(job)

    def _now(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        together: Together | None = None,
    ) -> Reply:
        reply = self._endpoints.reply(method, path, query, headers, trusted=False, together=together)
        return reply or finished(NOT_FOUND, method, headers)

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._waiting = 0
        self._lanes = {
            "scrapes": Lane("bext-otel-mounted-scrapes", Pace()),
            "health": Lane("bext-otel-mounted-health"),
        }


def _running_loop() -> asyncio.AbstractEventLoop | None:
    """None where the loop is not asyncio's."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _settle(made: asyncio.Future[Reply], reply: Reply) -> None:
    if not made.done():  # nobody waits any more
        made.set_result(reply)


async def _send_body(body: bytes, send: Send) -> None:
    end = max(len(body) - 1, 0) // _SENT_AT_ONCE * _SENT_AT_ONCE
    for start in range(0, end, _SENT_AT_ONCE):
        part = body[start : start + _SENT_AT_ONCE]
        await send({"type": "http.response.body", "body": part, "more_body": True})
        if _running_loop() is not None:
            await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": body[end:]})


async def _lifespan(receive: Receive, send: Send) -> None:
    """Nothing to start or stop; said in the protocol's words, for servers that ask."""
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
