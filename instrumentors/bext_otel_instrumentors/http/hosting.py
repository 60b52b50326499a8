"""What an instrumentor was asked to serve beside the application: endpoints on its port, and the news that it
serves."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, Protocol, TypeAlias

from bext_otel.answering import answers
from bext_otel.operation import set_request_logged, settings
from bext_otel.process import on_fork
from bext_otel_instrumentors._kit.guard import report

__all__ = ["ASGIMount", "Answer", "Hosting", "WSGIMount"]


class ASGIMount(Protocol):
    """Endpoints as an ASGI application."""

    def owns(self, path: str) -> bool:
        """Whether it answers this path, below the application's root."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""


class WSGIMount(Protocol):
    """Endpoints as a WSGI application."""

    def owns(self, path: str) -> bool:
        """Whether it answers this path, below the application's root."""

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        """Answer a request."""


Answer: TypeAlias = "tuple[int, list[tuple[str, str]], bytes]"
"""Status, headers and body."""

_log = logging.getLogger("bext_otel")


class Hosting:
    """What to serve: `asgi` and `wsgi` are the endpoints, which answer before the application, `on_serving`
    hears of an application being made and of the first request, `on_ending` of an ASGI application that has
    shut down: some servers then end the process by a signal, without exit handlers.

    The first request counts for each process: workers that were forked after an application was made have
    their own.
    """

    def __init__(
        self,
        *,
        asgi: ASGIMount | None = None,
        wsgi: WSGIMount | None = None,
        on_serving: Callable[[], None] | None = None,
        on_ending: Callable[[], object] | None = None,
    ) -> None:
        self.asgi = asgi
        self.wsgi = wsgi
        self._on_ending = on_ending
        self.hears_end = on_ending is not None
        # By path: who knows the application's routes, until that was asked. The endpoints have few paths.
        self._routes: dict[str, Callable[[str], bool] | None] = {}
        self._on_serving = on_serving
        self.tells = on_serving is not None
        self.waiting = self.tells
        _all.add(self)

    def made(self) -> None:
        """An application was made."""
        if self._on_serving is not None:
            try:
                self._on_serving()
            except Exception as error:
                report("on_serving", error)

    def after(self, original: Callable[..., None]) -> Callable[..., None]:
        """An `__init__` that tells us when an application was made."""

        @wraps(original)
        def __init__(application: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807  # it becomes that method
            original(application, *args, **kwargs)
            self.made()

        return __init__

    def first(self) -> None:
        """The first request of this process, or its lifespan."""
        self.waiting = False
        answers()
        self.made()

    def ended(self) -> None:
        """An application has shut down."""
        if self._on_ending is not None:
            try:
                self._on_ending()
            except Exception as error:
                report("on_ending", error)

    def expect(
        self, mount: ASGIMount | WSGIMount | None, path: str, has_route: Callable[[str], bool]
    ) -> None:
        """A request for `path` comes; `has_route` says whether the application has a route of its own
        there."""
        if mount is not None and path not in self._routes and mount.owns(path):
            self._routes[path] = has_route

    def _tell_hidden(self, path: str) -> None:
        """Say once of each path that the endpoints hide a route of the application."""
        has_route = self._routes.get(path)
        if has_route is None:
            return
        self._routes[path] = None
        if has_route(path):
            _log.warning(
                "[metrics] mount answers at %s, where the application has a route of its own that is not "
                "reached any more: "
                "set [metrics] path or [health] path, or serve the endpoints without mount",
                path,
            )

    def wait_again(self) -> None:
        """In a forked child, the first request is still to come."""
        self.waiting = self.tells

    async def answers_asgi(self, path: str, scope: Any, receive: Any, send: Any) -> bool:
        """Whether an endpoint has answered this request; else the application is to. `path` is the one below
        its root."""
        mount, began = self.asgi, False
        if mount is None or not mount.owns(path):
            return False
        set_request_logged(
            told=settings().log_requests
        )  # before it is sent, which is when a server writes its own line

        async def noticing(message: Any) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await mount(scope, receive, noticing)
        except Exception as error:
            if began:
                raise  # the server has something to say to that: its client has gone
            report("an endpoint", error)
            return False
        self._tell_hidden(path)
        return True

    async def whole_answer(self, path: str, scope: Any) -> Answer | None:
        """An endpoint's answer to this request, for servers that speak neither ASGI nor WSGI; None where
        the application is to answer."""
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        if not await self.answers_asgi(path, {**scope, "type": "http"}, None, send):
            return None
        start, *bodies = sent
        headers = [(name.decode(), value.decode()) for name, value in start["headers"]]
        return start["status"], headers, b"".join(message.get("body", b"") for message in bodies)

    def answer_wsgi(self, path: str, environ: Any, start_response: Any) -> Iterable[bytes] | None:
        """An endpoint's answer to this request; None where the application is to answer. `path` is the one
        below its root."""
        mount = self.wsgi
        if mount is None or not mount.owns(path):
            return None
        set_request_logged(told=settings().log_requests)
        try:
            chunks = mount(environ, start_response)
        except Exception as error:
            report("an endpoint", error)
            return None
        self._tell_hidden(path)
        return chunks


_all: weakref.WeakSet[Hosting] = weakref.WeakSet()


def _after_fork() -> None:
    for hosting in tuple(_all):
        hosting.wait_again()


def _after_fork_in_parent() -> None:
    """A parent closes its endpoints for the children's sake; a request of its own shows that it serves
    itself."""
    for hosting in tuple(_all):
        hosting.waiting = hosting.tells


on_fork(in_parent=_after_fork_in_parent, in_child=_after_fork)
