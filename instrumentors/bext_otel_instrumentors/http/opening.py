"""How a request begins: its app, and its span by the HTTP semantic conventions (stable)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import Any, TypeAlias

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import Link, Span, SpanKind

from bext_otel.apps import with_app
from bext_otel.catalogue import METHODS, UNKNOWN
from bext_otel.operation import set_request_logged, settings, tracer
from bext_otel.redaction import redact_query
from bext_otel.text import encodable
from bext_otel.timing import Anchor, anchor_of
from bext_otel_instrumentors._kit.carrying import rooted
from bext_otel_instrumentors.http.exchange import current
from bext_otel_instrumentors.http.forwarded import Told

__all__ = ["Opening", "RequestLine", "open_request", "parentage", "server_span", "span_for_this_request"]

_KNOWN_METHODS = frozenset(METHODS)
_DEFAULT_PORTS: Mapping[str, int] = {"http": 80, "https": 443, "ws": 80, "wss": 443}

# What a client may put into a span; servers accept more.
_MAX_PATH = 4096
_MAX_QUERY = 4096
_MAX_HEADER = 512

# A name or address, and a port; never userinfo, which may be a password.
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([\w.~%!$&'()*+,;=-]+))(?::([0-9]{1,5})?)?", re.ASCII)
# What a proxy is asked for (RFC 9112, section 3.2.2), and some servers hand on as it is.
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_SCHEMES = frozenset({"http", "https"})
_OF_SOCKETS: Mapping[str, str] = {"http": "ws", "https": "wss"}
# What the spans of many requests begin with, by all that it is made of. The first ones, since clients may
# name any number of hosts.
_shared: dict[tuple[str, ...], dict[str, Any]] = {}
_MAX_SHARED = 2000
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


RequestLine: TypeAlias = (
    "tuple[str, str, str, str, str, str, tuple[str, int | None] | None, tuple[str, int | None] | None, str]"
)
"""What a server says of a request: method, scheme, path, query, version, the Host header, socket addresses of
the server and of the client (None: not told), user agent; text that is missing is empty. Servers put the
port 0 beside an address that a header says."""


def open_request(
    method: str,
    scheme: str,
    path: str,
    query: str,
    version: str,
    host: str,
    server: tuple[str, int | None] | None,
    client: tuple[str, int | None] | None,
    user_agent: str,
    context: Context,
    sent: tuple[Context, str] | None = None,
    told: Told | None = None,
) -> Opening:
    """Begin a request (see `RequestLine`), in `context` (what is current, or empty), as a span of kind SERVER
    unless one stands for it already.

    `sent` is what propagation found on top of `context`, and the address (text, "": not known) of whoever
    opened the connection: it counts if that one is trusted. None: there is none. `told` is what proxies that
    are trusted say.
    """
    started = perf_counter()
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
    anchor = _NO_ANCHOR
    owned = span is None
    if span is None:
        describe = partial(
            _described,
            method,
            known,
            scheme,
            path,
            query,
            version,
            host,
            server,
            client,
            user_agent,
            app,
            told,
        )
        name = known if known is method else "HTTP"
        tracing = tracer()
        if getattr(tracing, "describes", False):
            # Ours, which asks for the attributes of a span that is recorded.
            span = tracing.start_span(name, context, SpanKind.SERVER, None, links, describe=describe)  # type: ignore[call-arg]  # ours
        else:
            span = tracing.start_span(name, context, SpanKind.SERVER, describe(), links)
        anchor = anchor_of(span)
    return started, app, known, scheme, path, version, span, owned, anchor, _context_of(app, context)


def _described(
    method: str,
    known: str,
    scheme: str,
    path: str,
    query: str,
    version: str,
    host: str,
    server: tuple[str, int | None] | None,
    client: tuple[str, int | None] | None,
    user_agent: str,
    app: str,
    told: Told | None,
) -> dict[str, Any]:
    """The attributes that a span begins with; `known` is the method as it is counted."""
    if told is not None and told[1]:
        host = told[1]
    key = (known, scheme, version, host, app)
    attributes = (_shared.get(key) or _share(key, server)).copy()
    attributes["url.path"] = path if len(path) <= _MAX_PATH else path[:_MAX_PATH]
    if query:
        attributes["url.query"] = redact_query(query[:_MAX_QUERY])
    if client is not None and client[0]:
        attributes["client.address"] = client[0]
        if client[1] != 0:
            attributes["network.peer.address"] = client[0]
        if client[1]:
            attributes["client.port"] = attributes["network.peer.port"] = client[1]
    if told is not None and told[2] is not None:
        attributes["client.address"], port = told[2]
        attributes.pop("client.port", None)
        if port:
            attributes["client.port"] = port
    if user_agent:
        attributes["user_agent.original"] = user_agent[:_MAX_HEADER]
    if known is not method:
        attributes["http.request.method_original"] = encodable(method[:_MAX_HEADER])
    return attributes


def _share(key: tuple[str, str, str, str, str], server: tuple[str, int | None] | None) -> dict[str, Any]:
    """What all requests of this method, scheme, version, Host header and app have in common; where no host is
    named, or something that is none, those to this address of the server."""
    known, scheme, version, host, app = key
    attributes: dict[str, Any] = {"http.request.method": known, "url.scheme": scheme, "bext.app": app}
    if version:
        attributes["network.protocol.version"] = version
    named = _authority(host) if host else None
    if named is not None:
        attributes["server.address"], port = named
        if port is None:
            port = _DEFAULT_PORTS.get(scheme)
    elif server is not None:
        attributes["server.address"], port = server
    else:
        port = None
    if port is not None:
        attributes["server.port"] = port
    if named is not None and len(_shared) < _MAX_SHARED:
        _shared[key] = attributes
    return attributes


def _authority(host: str) -> tuple[str, int | None] | None:
    """Name and port (None: it names none) of a Host header; None where it is none, by RFC 9110 (section 7.2)
    and RFC 3986 (section 3.2)."""
    match = _HOST.fullmatch(host) if len(host) <= _MAX_HEADER else None
    port = int(match[3]) if match and match[3] else None
    return (match[1] or match[2], port) if match and (port is None or 0 < port < 65536) else None


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
