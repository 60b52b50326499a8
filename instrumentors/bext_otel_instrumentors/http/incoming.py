"""A request that comes in, by whichever interface its server calls the application: what it is opened with.

Nothing here knows a framework: whoever calls the application opens the request, frameworks tell its route.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple, TypeAlias, TypeGuard

from opentelemetry.context import Context, attach, detach
from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled

from bext_otel._compat import get_current
from bext_otel.operation import leave_request_out, settings
from bext_otel.request_facts import Access
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.http.access import access_of
from bext_otel_instrumentors.http.current_request import LeftOut, further_inside, left_out
from bext_otel_instrumentors.http.environment import Choices
from bext_otel_instrumentors.http.exchange import Exchange, current
from bext_otel_instrumentors.http.forwarded import told_by_proxies
from bext_otel_instrumentors.http.opening import RequestLine, open_request
from bext_otel_instrumentors.http.peer import socket_address
from bext_otel_instrumentors.http.propagation import (
    extract,
    extract_parent,
    is_w3c_only,
    reads_parent_alone,
)
from bext_otel_instrumentors.http.routed import Asked
from bext_otel_instrumentors.http.upstream_counts import meet_inside

__all__ = [
    "HTTP_VERSIONS",
    "Interface",
    "Said",
    "exchange_for",
    "inside",
    "is_further_inside",
    "leaves_out",
]

HTTP_VERSIONS: Mapping[str, str] = {"1": "1.0", "2.0": "2", "3.0": "3"}
"""What servers call a version, and the conventions call otherwise."""

_NOTHING = Context()

Said: TypeAlias = "tuple[RequestLine, str, int | None, bool, bool | str, str | bytes | None]"
"""What a server says of a request: what it is opened with; what the application is mounted under; the
declared length of its body (None: none is); whether its bytes are to be counted instead; whether it has
headers of W3C's, or the `traceparent` if it was sent once and is the only one; its X-Request-Id (None: none
was sent). Read once, so no class."""


class Interface(NamedTuple):
    """How a server hands over a request: a scope (`asgi`) or an environ.

    `read` says what is in it, `carrier` gives its headers to propagators and `headers` those that a span may
    show, `url` its URL without the query, `peer` the address that the server says its connection comes from;
    `opened` hears of its exchange, before the application does.
    """

    asgi: bool
    read: Callable[[Any], Said]
    carrier: Callable[[Any], dict[str, list[str]]]
    headers: Callable[[Any], Iterable[tuple[Any, Any]]]
    url: Callable[[Any], str]
    peer: Callable[[Any], str]
    opened: Callable[[Any, Exchange], None]

    def address(self, surroundings: Any, carrier: Mapping[str, Sequence[str]]) -> str:
        """The address that the connection of a request comes from, for whoever asks whom to trust; "": not
        known, or nobody asks. `carrier` are its headers."""
        return "" if settings().trusts is None else socket_address(self.peer(surroundings), carrier)

    def access(self, exchange: Exchange, surroundings: Any) -> Access:
        """What an access log tells of a request."""
        line, carrier, proxies = self.read(surroundings)[0], self.carrier(surroundings), settings().proxies
        client = line[7][0] if line[7] is not None else ""
        if proxies is not None:
            told = told_by_proxies(carrier, socket_address(self.peer(surroundings), carrier), proxies)
            client = told[2][0] if told[2] is not None else client
        return access_of(exchange, line, surroundings, carrier, client)


def exchange_for(
    interface: Interface, surroundings: Any, chosen: Choices, *, upstream: bool, asked: Asked | None
) -> Exchange | None:
    """The exchange of this scope or environ; None where that failed or is not wanted, and the application is
    to be called as if we were not there.

    `upstream` says that upstream's instrumentation is inside, `asked` knows the route if nobody tells.
    """
    try:
        context = get_current()
        if context:
            if not is_http_instrumentation_enabled():
                return None
            context = _arriving(context)
        line, mounted, length, counting, carries, sent_id = interface.read(surroundings)
        sent, told, of_all = None, None, settings()
        if of_all.proxies is not None:
            carrier = interface.carrier(surroundings)
            told = told_by_proxies(
                carrier, socket_address(interface.peer(surroundings), carrier), of_all.proxies
            )
        if type(carries) is str and reads_parent_alone() and of_all.trusts is None:
            sent = (extract_parent(carries, context), "")
        elif carries or not is_w3c_only():
            carrier = interface.carrier(surroundings)
            sent = (extract(carrier, context), interface.address(surroundings, carrier))
        exchange = Exchange(
            open_request(line, context, sent, told),
            surroundings,
            interface=interface,
            upstream=upstream,
            mounted=mounted,
            chosen=chosen,
            length=length,
            counting=counting,
            asked=asked,
            sent_id=sent_id,
            sends_id=of_all.sends_request_id,
        )
        if upstream:
            meet_inside()
        if chosen.request is not None:
            exchange.show_headers(chosen.request, interface.headers(surroundings))
        interface.opened(surroundings, exchange)
    except Exception as error:
        report("the start of a request", error)
        return None
    return exchange


def is_further_inside(
    found: Exchange | LeftOut, surroundings: Any, chosen: Choices, *, upstream: bool
) -> TypeGuard[Exchange]:
    """Whether an application is called for the request that is known here, with all that came with it and
    nothing to add, so that `inside` would only tell who knows its route."""
    return (
        found.surroundings is surroundings
        and isinstance(found, Exchange)
        and not upstream
        and (chosen is found.chosen or chosen.excluded is None)
    )


def inside(
    interface: Interface,
    found: Exchange | LeftOut,
    surroundings: Any,
    chosen: Choices,
    *,
    upstream: bool,
    asked: Asked | None,
) -> AbstractContextManager[None]:
    """Around the call of an application inside of the one where this request was found to begin: what that
    one could not know, this one tells.

    See `exchange_for`. A request that `chosen` leaves out here is not measured there either.
    """
    if isinstance(found, Exchange):
        if chosen is not found.chosen and not found.status and leaves_out(interface, chosen, surroundings):
            return _withdrawn(found, surroundings)
        if upstream:
            found.meet_upstream()
    return further_inside(found, surroundings, asked, asgi=interface.asgi)


@contextmanager
def _withdrawn(exchange: Exchange, surroundings: Any) -> Iterator[None]:
    exchange.withdraw()
    token = attach(_NOTHING)
    try:
        with left_out(surroundings, exchange.path, asgi=exchange.asgi):
            yield
    finally:
        detach(token)


def _arriving(context: Context) -> Context:
    """The context that a request comes in with.

    A server that reads the next request of a connection inside the task of the last one hands on that one's
    context, and so does one that was started within a request.
    """
    around = current(context)
    return _NOTHING if around is not None and (around.finished or around.ended_ns) else context


def leaves_out(interface: Interface, chosen: Choices, surroundings: Any) -> bool:
    """Whether this request is excluded. Never raises."""
    if chosen.excluded is None:
        return False
    try:
        if not chosen.excluded(interface.url(surroundings)):
            return False
    except Exception as error:
        report("an excluded URL", error)
        return False
    leave_request_out()
    return True
