"""The endpoints as an ASGI application, to mount."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

from bext_otel.endpoints.endpoints import NOT_FOUND, Endpoints, Reply, finished

__all__ = ["ASGIEndpoints"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

# Sixteen scrapers wait for one collection, and probes should not queue behind them; threads that nobody
# needed are never started.
_THREADS = 18


class ASGIEndpoints:
    """Answers the paths of the endpoints and 404 for any other; what stands in `root_path` is the mount's
    prefix.

    Its callers are visitors of the application, so none is trusted. On asyncio a reply is made in a thread of
    our own (the loop's default executor may be full of the application's work, and a probe should not wait
    for that); on another loop, such as trio, it is made at once, since the wait for a thread would need that
    loop's own library.
    """

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self.owns = endpoints.owns
        self._threads: ThreadPoolExecutor | None = None
        self._pid = 0

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
            await send({"type": "http.response.body", "body": reply.body})

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
        if self._endpoints.lane(path) is None:
            return self._now(method, path, query, headers)
        try:
            made = asyncio.get_running_loop().run_in_executor(
                self._executor(), self._now, method, path, query, headers
            )
        except RuntimeError:  # not asyncio, or the interpreter ends and starts no more threads
            return self._now(method, path, query, headers)
        return await made

    def _now(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> Reply:
        return self._endpoints.reply(method, path, query, headers, trusted=False) or finished(
            NOT_FOUND, method, headers
        )

    def _executor(self) -> ThreadPoolExecutor:
        """Threads of this process: a fork leaves the parent's behind."""
        if self._threads is None or self._pid != os.getpid():
            self._threads, self._pid = (
                ThreadPoolExecutor(_THREADS, thread_name_prefix="bext-otel-mounted"),
                os.getpid(),
            )
        return self._threads


async def _lifespan(receive: Receive, send: Send) -> None:
    """Nothing to start or stop; said in the protocol's words, for servers that ask."""
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
