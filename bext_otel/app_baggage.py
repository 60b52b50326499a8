"""Who is told whose work a call is: the baggage entry `bext.app`, which goes to the operator's own hosts and
to nobody else.

The app is no part of the context's baggage, so no propagator sends it on by itself. It is added to the W3C
baggage of a call whose host is known, from the client span that is current, and is one of those. Where the
host cannot be known, nothing is added.

No more is sent on than every receiver has to bear (W3C Baggage, section 3.3.2). Needs the OpenTelemetry API
only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from contextlib import ExitStack, suppress
from functools import partial, wraps
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote, urlsplit

from opentelemetry import baggage, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context, get_current
from opentelemetry.propagators.textmap import Setter, default_setter
from opentelemetry.trace import Span, SpanKind

from bext_otel.apps import BAGGAGE_KEY, current_app, host_name
from bext_otel.catalogue import UNKNOWN
from bext_otel.config import AppSettings
from bext_otel.process import on_import

__all__ = ["APPS", "LOOPBACK", "Hosts", "propagate_app"]

LOOPBACK, APPS = "loopback", "apps"
"""Words that stand for this machine, and for the hosts of `[apps.NAME] hosts`, in `[telemetry]
propagate_app_to`."""

_log = logging.getLogger("bext_otel")

_HEADER = "baggage"
_MAX_MEMBERS = 64
_MAX_BYTES = 8192
_URLS = ("url.full", "http.url")
_ADDRESSES = ("server.address", "net.peer.name", "http.host")


class Hosts:
    """The hosts that `[telemetry] propagate_app_to` names; `*.shop.example` is every name below
    `shop.example`."""

    def __init__(self, named: Iterable[str], apps: Mapping[str, AppSettings]) -> None:
        hosts = set(named)
        self._loopback = LOOPBACK in hosts
        if APPS in hosts:
            hosts.update(host for app in apps.values() for host in app.hosts)
        self._names = {host_name(host) for host in hosts - {LOOPBACK, APPS} if not host.startswith("*.")}
        self._suffixes = tuple(
            f".{host_name(host.removeprefix('*.'))}" for host in hosts if host.startswith("*.")
        )

    def __contains__(self, host: str) -> bool:
        name = host_name(host)
        return name in self._names or name.endswith(self._suffixes) or (self._loopback and _is_loopback(name))


def _is_loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    with suppress(ValueError):
        address = ip_address(name)
        return (getattr(address, "ipv4_mapped", None) or address).is_loopback
    return False


def propagate_app(hosts: Hosts) -> Callable[[], None]:
    """Have W3C baggage name the app to these hosts, and blanks as blanks, until the answer is called."""
    original = W3CBaggagePropagator.inject

    @wraps(original)
    def inject(
        self: W3CBaggagePropagator, carrier: Any, context: Context | None = None, setter: Any = default_setter
    ) -> None:
        with suppress(Exception):  # an attribute or a carrier of another's; the call is made all the same
            context = _addressed(get_current() if context is None else context, hosts, carrier)
            context = _bounded(context)
        original(self, carrier, context, _Blanks(setter))

    W3CBaggagePropagator.inject = inject  # type: ignore[method-assign]  # taken back below

    def undo() -> None:
        if W3CBaggagePropagator.inject is inject:
            W3CBaggagePropagator.inject = original  # type: ignore[method-assign]  # as it was

    undoing = ExitStack()
    undoing.callback(undo)
    undoing.callback(on_import("requests.sessions", partial(_follow_requests, hosts, undoing)))
    undoing.callback(on_import("urllib.request", partial(_follow_urllib, hosts, undoing)))
    return undoing.close


def _follow_requests(hosts: Hosts, undoing: ExitStack, module: Any) -> None:
    """requests sends the headers of the first call on to where that is redirected, and its instrumentation
    sees one call."""
    owner = module.SessionRedirectMixin
    original = owner.rebuild_method

    @wraps(original)
    def rebuild_method(self: Any, prepared_request: Any, response: Any) -> Any:
        with suppress(Exception):  # the call is made all the same
            _keep_from_others(prepared_request.url, prepared_request.headers, hosts)
        return original(self, prepared_request, response)

    _replace(owner, "rebuild_method", rebuild_method, undoing)


def _follow_urllib(hosts: Hosts, undoing: ExitStack, module: Any) -> None:
    """So does urllib."""
    owner = module.HTTPRedirectHandler
    original = owner.redirect_request

    @wraps(original)
    def redirect_request(self: Any, *args: Any, **kwargs: Any) -> Any:
        request = original(self, *args, **kwargs)
        with suppress(Exception):  # likewise
            _keep_from_others(request.full_url, request.headers, hosts)
        return request

    _replace(owner, "redirect_request", redirect_request, undoing)


def _keep_from_others(url: str, headers: MutableMapping[str, str], hosts: Hosts) -> None:
    if (urlsplit(url).hostname or "") not in hosts:
        for name in [name for name in headers if name.lower() == _HEADER]:
            _forget(headers, name)


def _replace(owner: Any, name: str, replacement: Any, undoing: ExitStack) -> None:
    original = getattr(owner, name)
    setattr(owner, name, replacement)

    def undo() -> None:
        if getattr(owner, name) is replacement:
            setattr(owner, name, original)

    undoing.callback(undo)


class _Blanks(Setter[Any]):
    """Writes baggage as W3C Baggage has it, in which a plus sign is one: upstream writes blanks so, as forms
    do."""

    def __init__(self, setter: Setter[Any]) -> None:
        self._setter = setter

    def set(self, carrier: Any, key: str, value: str) -> None:
        """See `Setter`. A plus sign that belongs to a value has been encoded."""
        self._setter.set(carrier, key, value.replace("+", "%20") if key == _HEADER else value)


def _addressed(context: Context, hosts: Hosts, carrier: Any) -> Context:
    """`context` with the app in its baggage where the call that is current there goes to one of `hosts`, and
    without it elsewhere."""
    app = current_app(context)
    if app and app != UNKNOWN:
        host = _host_of(trace.get_current_span(context))
        if host and host in hosts:
            return baggage.set_baggage(BAGGAGE_KEY, app, context)
    _forget(carrier)
    return (
        baggage.remove_baggage(BAGGAGE_KEY, context) if BAGGAGE_KEY in baggage.get_all(context) else context
    )


_told = False


def _bounded(context: Context) -> Context:
    """`context` with no more baggage than is sent on: the app, and then what was there first."""
    global _told
    entries = baggage.get_all(context)
    if len(entries) <= _MAX_MEMBERS and sum(_most_bytes(entry) for entry in entries.items()) <= _MAX_BYTES:
        return context
    kept: dict[str, object] = {}
    size = -1  # a comma stands between two
    for key in sorted(entries, key=BAGGAGE_KEY.__ne__):
        length = 2 + len(quote(key, safe="")) + len(quote(str(entries[key]), safe=""))
        if len(kept) < _MAX_MEMBERS and size + length <= _MAX_BYTES:
            kept[key] = entries[key]
            size += length
    left_out = entries.keys() - kept.keys()
    for key in left_out:
        context = baggage.remove_baggage(key, context)
    if left_out and not _told:
        _told = True
        _log.warning(
            "baggage of %d members is more than every receiver has to bear (%d, and %d bytes): the last ones "
            "are not sent on; carry less",
            len(entries),
            _MAX_MEMBERS,
            _MAX_BYTES,
        )
    return context


def _most_bytes(entry: tuple[str, object]) -> int:
    # A character has at most four bytes, each of which is three when it is encoded.
    return 2 + 12 * (len(entry[0]) + len(str(entry[1])))


def _host_of(span: Span) -> str | None:
    """The host that the client span calls; None for any other span, and where it does not say."""
    of_client = getattr(span, "kind", None) is SpanKind.CLIENT
    attributes = getattr(
        span, "attributes" if of_client else "called", None
    )  # `called`: of one that is not recorded
    if not attributes:
        return None
    for name in _URLS:
        if isinstance(url := attributes.get(name), str):
            return urlsplit(url).hostname
    return next((address for name in _ADDRESSES if isinstance(address := attributes.get(name), str)), None)


def _forget(carrier: Any, header: str = _HEADER) -> None:
    """Take the app out of headers that come from an earlier call: clients follow a redirect to another host
    with those of the first."""
    if (
        not isinstance(carrier, MutableMapping)
        or not isinstance(said := carrier.get(header), str)
        or BAGGAGE_KEY not in said
    ):
        return
    left = [member for member in said.split(",") if member.partition("=")[0].strip() != BAGGAGE_KEY]
    if left:
        carrier[header] = ",".join(left)
    else:
        del carrier[header]
