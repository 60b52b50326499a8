"""What each part of a Starlette request costs us, alone and with warm caches: the budget of docs/adr says how
much each may.

`python -m benchmarks.request_parts`. In an application, whose own code takes the processor's caches between
two of our parts, each costs up to three times as much; `benchmarks.requests` has the whole.
"""

from __future__ import annotations

import argparse
import asyncio
import timeit
from collections.abc import Awaitable, Callable, Iterator
from time import process_time
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from benchmarks import requests, sides

_TIMES, _REPEATS = 1_000, 25
_ROUTE = "/products/{slug}"
_START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}
_BODY = {"type": "http.response.body", "body": b"a chair"}

Part = tuple[str, float]


def _us(work: Callable[[], object]) -> float:
    return min(timeit.repeat(work, timer=process_time, number=_TIMES, repeat=_REPEATS)) / _TIMES * 1e6


def _drive(work: Awaitable[object]) -> None:
    for _ in work.__await__():
        raise AssertionError("nothing waits here")


async def _send(_: Any) -> None:
    pass


async def _answer(send: Callable[[Any], Awaitable[None]]) -> None:
    await send(_START)
    await send(_BODY)


def _beginning(scope: dict[str, Any], line: Any) -> Iterator[Part]:
    from bext_otel.operation import set_request_logged, settings, tracer
    from bext_otel_instrumentors.http import opening
    from bext_otel_instrumentors.http.asgi_request import ASGI
    from bext_otel_instrumentors.http.current_request import measured
    from bext_otel_instrumentors.http.propagation import extract_parent, is_w3c_only

    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    known, empty, tracing = settings(), Context(), tracer()

    def app() -> None:
        assert known.resolver is not None
        set_request_logged(told=False, app=known.resolver(line[5], line[2]))

    def described() -> dict[str, Any]:
        method, scheme, path, query, version, host, server, client, agent = line
        return opening._described(
            method, method, scheme, path, query, version, host, server, client, agent, "shop", None
        )

    yield "is it measured already", _us(lambda: measured(scope))
    yield "what the server says", _us(lambda: ASGI.read(scope))
    yield "propagation, nothing sent", _us(is_w3c_only)
    yield "propagation, a parent sent", _us(lambda: extract_parent(parent, empty))
    yield "whose it is", _us(app)
    yield "a span begun without attributes", _us(lambda: tracing.start_span("GET", empty, SpanKind.SERVER))
    yield "its attributes", _us(described)


def _inside(scope: dict[str, Any], new: Callable[[], Any]) -> Iterator[Part]:
    from bext_otel_instrumentors.http.asgi_messages import receiving, sending
    from bext_otel_instrumentors.http.current_request import working_for
    from bext_otel_instrumentors.http.request_metrics import count_active
    from bext_otel_instrumentors.http.routes import template

    routed = new()
    routed.match(_ROUTE)

    def current() -> None:
        with working_for(routed):
            pass

    def wrapped() -> None:
        receiving(_send, routed)  # type: ignore[arg-type]  # it is not called
        _drive(_answer(sending(_send, scope, routed)))

    async def within_a_loop() -> None:
        found.append(_us(wrapped) - _us(lambda: _drive(_answer(_send))))

    found: list[float] = []
    asyncio.run(within_a_loop())
    yield "its context, current and left", _us(current)
    yield "in progress, up and down", _us(lambda: count_active("GET", "http")(-1))
    yield "receive and send, two messages of an answer", found[0]
    yield "its route", _us(lambda: template(routed, scope))


def _end(new: Callable[[], Any]) -> Iterator[Part]:
    from bext_otel.operation import tracer
    from bext_otel_instrumentors.http.request_metrics import record_request
    from bext_otel_instrumentors.http.server_span import show_result

    request, tracing = new(), tracer()
    attributes = dict(request.span.attributes)

    def span() -> Any:
        return tracing.start_span("GET", Context(), SpanKind.SERVER, describe=lambda: {**attributes})  # type: ignore[call-arg]  # ours

    def ended() -> None:
        one = span()
        show_result(one, "GET", _ROUTE, 200)
        one.end()

    yield "five measurements", _us(lambda: record_request(request, _ROUTE, 200, 200, None))
    yield "the span concluded and encoded", _us(ended) - _us(span)


class _Nothing:
    def flush(self, _seconds: float, /) -> bool:
        return True

    end = flush


def main() -> None:
    """Measure and print."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    from bext_otel.export.origins import Origins
    from bext_otel.export.span_encoder import SpanEncoder
    from bext_otel_instrumentors.http.asgi_request import ASGI
    from bext_otel_instrumentors.http.environment import NO_CHOICES
    from bext_otel_instrumentors.http.incoming import exchange_for

    runtime = sides.ours(export=False)
    provider: Any = runtime.tracer_provider
    # Without a queue, whose thread would be measured in whatever part it falls.
    provider.add_sink(SpanEncoder(Origins()).encode, _Nothing())
    scope = requests.http_scope()

    def new() -> Any:
        return exchange_for(ASGI, scope, NO_CHOICES, upstream=False, asked=None)

    line = ASGI.read(scope)[0]
    for name, us in (
        *_beginning(scope, line),
        ("all of that: the opening, and no more", _us(lambda: new().withdraw())),
        *_inside(scope, new),
        *_end(new),
    ):
        print(f"{name:46} {us:6.2f} us")
    runtime.shutdown()


if __name__ == "__main__":
    main()
