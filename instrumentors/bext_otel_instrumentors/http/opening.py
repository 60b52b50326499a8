"""How a request begins: its app, and its span by the HTTP semantic conventions (stable)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import TypeAlias

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import Link, Span, SpanKind

from bext_otel.apps import with_app
from bext_otel.catalogue import METHODS, UNKNOWN
from bext_otel.described import merged
from bext_otel.operation import set_request_logged, settings, tracer
from bext_otel.text import encodable
from bext_otel.timing import Anchor, anchor_of
from bext_otel_instrumentors._kit.carrying import rooted
from bext_otel_instrumentors.http.described import RequestLine
from bext_otel_instrumentors.http.described import describe as described
from bext_otel_instrumentors.http.exchange import current
from bext_otel_instrumentors.http.forwarded import Told

__all__ = ["Opening", "RequestLine", "open_request", "parentage", "server_span", "span_for_this_request"]

_KNOWN_METHODS = frozenset(METHODS)

# What a proxy is asked for (RFC 9112, section 3.2.2), and some servers hand on as it is.
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_SCHEMES = frozenset({"http", "https"})
_OF_SOCKETS: Mapping[str, str] = {"http": "ws", "https": "wss"}
# What the span of another instrumentation for an HTTP request has, by the stable conventions or those before;
# a websocket has no method.
_OF_HTTP = ("http.request.method", "http.method")
_OF_WEBSOCKETS = ("url.scheme", "http.scheme")

# Tells the times of a request whose span is somebody else's.
_NO_ANCHOR = Anchor()

# Contexts that hold nothing but an app; apps are configured, and a resolver that makes them up only loses the
# shortcut.
_app_contexts: dict[str, Context] = {}
_MAX_APP_CONTEXTS = 1000


Opening: TypeAlias = tuple[float, str, str, str, str, str, Span, bool, Anchor, Context]
"""How a request begins: when, by `perf_counter`; its app, method, scheme, path and version; its span, whether
that is ours or another instrumentation's that stands for this request, and what tells the span's times; what
its context is made from. Read once, so no class."""


def open_request(
    line: RequestLine,
    context: Context,
    sent: tuple[Context, str] | None = None,
    told: Told | None = None,
) -> Opening:
    """Begin a request in `context` (what is current, or empty), as a span of kind SERVER unless one stands
    for it already.

    `sent` is what propagation found on top of `context`, and the address (text, "": not known) of whoever
    opened the connection: it counts if that one is trusted. None: there is none. `told` is what proxies that
    are trusted say.
    """
    started = perf_counter()
    method, scheme, path, _, version, host, _, _, _ = line
    known = method if method in _KNOWN_METHODS else "_OTHER"  # the very method, which tells them apart below
    if not path.isascii():
        path = encodable(path)
    if "://" in path and (absolute := _ABSOLUTE.match(path)) is not None:
        path = path[absolute.end() :] or "/"
    if told is not None and told[0]:
        scheme = told[0] if scheme in _SCHEMES else _OF_SOCKETS[told[0]]
    current_settings = settings()
    app = UNKNOWN if current_settings.resolver is None else current_settings.resolver(host, path)
    set_request_logged(told=current_settings.log_requests, app=app)
    span: Span | None = None
    links: Sequence[Link] = ()
    if context or sent is not None:
        span, context, links = _beginning(context, sent, app, scheme)
        if span is not None:
            return (
                started,
                app,
                known,
                scheme,
                path,
                version,
                span,
                False,
                _NO_ANCHOR,
                _context_of(app, context),
            )
    describe = partial(described, line, known, scheme, path, app, told)
    name = known if known is method else "HTTP"
    tracing = tracer()
    if getattr(tracing, "describes", False):
        # Ours, which asks for the attributes of a span that is recorded.
        span = tracing.start_span(name, context, SpanKind.SERVER, None, links, describe=describe)  # type: ignore[call-arg]  # ours
    else:
        span = tracing.start_span(name, context, SpanKind.SERVER, merged(describe()), links)
    within = _context_of(app, context)
    return started, app, known, scheme, path, version, span, True, anchor_of(span), within


def server_span(context: Context) -> Span | None:
    """The span of kind SERVER below which a request comes in that is not one of ours; None: there is none.

    Such a span is local, recording, and not the one of an exchange of ours: below that, it is a new request
    that the application sends to itself.
    """
    span = trace.get_current_span(context)
    if getattr(span, "kind", None) is not SpanKind.SERVER or not span.is_recording():
        return None
    around = current(context)
    if around is not None and around.span.get_span_context().span_id == span.get_span_context().span_id:
        return None
    return span


def span_for_this_request(context: Context, scheme: str) -> Span | None:
    """The SERVER span that another instrumentation, outside of ours, has started for the HTTP request that is
    just coming in.

    One that says nothing of HTTP (a gateway's, a function's that a cloud calls) stands for what it says, and
    has its own duration and outcome. Ours is then its child, for what is read by the HTTP conventions is to
    be on one span, and nobody's attributes are overwritten.
    """
    span = server_span(context)
    attributes = getattr(span, "attributes", None)
    if span is None or attributes is None:  # of a span that cannot be looked at, nothing else is known
        return span
    said = (*_OF_HTTP, *_OF_WEBSOCKETS) if scheme in {"ws", "wss"} else _OF_HTTP
    return span if any(name in attributes for name in said) else None


def _beginning(
    context: Context, sent: tuple[Context, str] | None, app: str, scheme: str
) -> tuple[Span | None, Context, Sequence[Link]]:
    """The span that stands for the request already, if one does; the context that it begins in, and what its
    span links to."""
    strangers: Sequence[Link] = ()
    if sent is not None:
        context, strangers = _believed(sent, context, app)
    span = span_for_this_request(context, scheme) if context else None
    if span is not None or not context:
        return span, context, strangers
    context, links = _parentage(context)
    return None, context, (*strangers, *links)


def _believed(sent: tuple[Context, str], context: Context, app: str) -> tuple[Context, Sequence[Link]]:
    """The context that a request comes in with, and the link to a parent that is not trusted: then nothing
    that was sent counts, be it the trace, its being sampled, or baggage."""
    said, address = sent
    trusts = settings().trusts
    if trusts is None or trusts(app, address):
        return said, ()
    named = trace.get_current_span(said)
    if named is trace.get_current_span(context):
        return context, ()
    parent = named.get_span_context()
    return context, (Link(parent),) if parent.is_valid else ()


def _parentage(context: Context) -> tuple[Context, Sequence[Link]]:
    """The context that a server span begins in, and what it links to: below a remote parent, a SERVER span of
    the application's (or within one), and a request of ours that sends this one to itself.

    Any other span is what was current when the server was started (a command's), and no request's parent: it
    never ends while there are requests, and one decision to sample would be every request's.
    """
    around = trace.get_current_span(context)
    known = around.get_span_context()
    if not known.is_valid or known.is_remote or current(context) is not None:
        return context, ()
    if getattr(around, "within_server", False) or server_span(context) is not None:
        return context, ()
    return rooted(context), (Link(known),)


@contextmanager
def parentage() -> Iterator[None]:
    """Around whoever else begins the server span of a request: what is current there is a parent of it only
    if it were one of ours."""
    here = get_current()
    context, _ = _parentage(here) if here else (here, ())
    if context is here:
        yield
        return
    token = attach(context)
    try:
        yield
    finally:
        detach(token)


def _context_of(app: str, context: Context) -> Context:
    if context:
        return with_app(app, context)
    found = _app_contexts.get(app)
    if found is None:
        found = with_app(app, Context())
        if len(_app_contexts) < _MAX_APP_CONTEXTS:
            _app_contexts[app] = found
    return found
