"""Django's test clients, which ask an application without its handlers: a project's own tests of its
telemetry find what they asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeAlias

from bext_otel_instrumentors.http import asgi, wsgi

__all__ = ["asking_asgi", "asking_wsgi"]

ServeWSGI: TypeAlias = Callable[[wsgi.WSGIApp, wsgi.Environ, wsgi.StartResponse], Any]
ServeASGI: TypeAlias = Callable[[asgi.ASGIApp, asgi.Scope, asgi.Receive, asgi.Send], Awaitable[None]]


def asking_wsgi(
    serve: ServeWSGI, original: Callable[[Any, wsgi.Environ], Any]
) -> Callable[[Any, wsgi.Environ], Any]:
    """`ClientHandler.__call__`, which gives a response for an environ, measured as `serve` measures an
    application."""

    @wraps(original)
    def call(self: Any, environ: wsgi.Environ) -> Any:
        responses: list[Any] = []

        def app(environ: wsgi.Environ, start_response: wsgi.StartResponse) -> Any:
            response = original(self, environ)
            responses.append(response)
            start_response(f"{response.status_code} {response.reason_phrase}", list(response.items()))
            if not response.streaming:
                return [response.content]
            # Only who reads an asynchronous stream could say when it is over.
            return [] if response.is_async else response.streaming_content

        chunks = serve(app, environ, _unheard)
        response = responses[0]
        if response.streaming and not response.is_async:
            response.streaming_content = chunks
        elif hasattr(chunks, "close"):
            chunks.close()
        return response

    return call


def asking_asgi(
    serve: ServeASGI, original: Callable[[Any, asgi.Scope], Awaitable[Any]]
) -> Callable[[Any, asgi.Scope], Awaitable[Any]]:
    """`AsyncClientHandler.__call__`, likewise for a scope; a stream is over when it begins."""

    @wraps(original)
    async def call(self: Any, scope: asgi.Scope) -> Any:
        responses: list[Any] = []

        async def app(scope: asgi.Scope, _: asgi.Receive, send: asgi.Send) -> None:
            response = await original(self, scope)
            responses.append(response)
            headers = [
                (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.items()
            ]
            await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
            await send(
                {"type": "http.response.body", "body": b"" if response.streaming else response.content}
            )

        await serve(app, scope, _nothing_to_receive, _unsent)
        return responses[0]

    return call


def _unheard(*_: Any) -> None:
    """The client has the response itself."""


async def _unsent(_: Any) -> None:
    """Likewise."""


async def _nothing_to_receive() -> Any:
    """The handler reads the body itself."""
    return {"type": "http.request", "body": b"", "more_body": False}
