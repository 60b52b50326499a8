"""Which request a scope or an environ stands for.

Nothing of ours is left in either: applications copy, pickle, compare and print them. The request is known by
the context of its work, and whether a dictionary is that request's by what it consists of, since a middleware
may have copied it and changed the copy. An application that sends a request to itself makes everything anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar, Token
from typing import Any, TypeAlias

from opentelemetry.context import Context

from bext_otel._compat import attach, detach, get_current
from bext_otel_instrumentors.http.exchange import Exchange, current
from bext_otel_instrumentors.http.routed import Asked

__all__ = [
    "Entered",
    "LeftOut",
    "enter",
    "exchange_of",
    "further_inside",
    "leave",
    "left_out",
    "measured",
    "request_here",
    "working_for",
]


class LeftOut:
    """A request that is not measured, neither by whoever is further inside."""

    __slots__ = ("asgi", "path", "surroundings")

    chosen = asked = None

    def __init__(self, surroundings: Mapping[str, Any], path: str, *, asgi: bool) -> None:
        self.surroundings: Mapping[str, Any] | None = surroundings
        self.path = path
        self.asgi = asgi


# Beside OpenTelemetry's context, which an application may replace while it works: `attach(extract(headers))`
# starts from an empty one.
_request: ContextVar[Exchange | LeftOut | None] = ContextVar("bext-otel-request", default=None)

Entered: TypeAlias = "tuple[Token[Context], Token[Exchange | LeftOut | None]]"
"""What was current before."""

request_here = _request.get
"""The request that the current code works for, as far as this variable knows it: `measured` knows more."""

# Objects of a request that no other one has, except where they are too short to be objects of their own.
_FINGERPRINTS = ("PATH_INFO", "REQUEST_URI", "RAW_URI", "HTTP_USER_AGENT", "HTTP_COOKIE")


def enter(exchange: Exchange) -> Entered:
    """From now until `leave` all is work for this exchange: its context is the current one."""
    return attach(exchange.context), _request.set(exchange)


def leave(entered: Entered) -> None:
    """See `enter`. Never raises: a coroutine that nobody waits for is closed in another context."""
    try:
        _request.reset(entered[1])
        detach(entered[0])
    except ValueError:
        pass


class working_for:  # noqa: N801  # a context manager, without the cost of a generator a request
    """What is done inside is work for this exchange."""

    __slots__ = ("_entered", "_exchange")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __enter__(self) -> None:
        self._entered = enter(self._exchange)

    def __exit__(self, *_: object) -> None:
        leave(self._entered)


def _leave(before: Token[Exchange | LeftOut | None]) -> None:
    with suppress(ValueError):  # likewise
        _request.reset(before)


def measured(surroundings: Mapping[str, Any]) -> Exchange | LeftOut | None:
    """The request of this scope or environ, if it is being measured, or left out, further outside."""
    found = _request.get()
    if found is None or found.surroundings is None:
        # A thread may have been given OpenTelemetry's context only.
        context = get_current()
        if not context or (found := current(context)) is None or found.surroundings is None:
            return None
    known = found.surroundings
    return found if known is surroundings or _is_same(found, known, surroundings) else None


def exchange_of(surroundings: Mapping[str, Any]) -> Exchange | None:
    """The exchange of this scope or environ; None where it is not being measured."""
    found = _request.get()
    if found is None or found.surroundings is not surroundings:
        found = measured(surroundings)
    return found if isinstance(found, Exchange) else None


@contextmanager
def left_out(surroundings: Mapping[str, Any], path: str, *, asgi: bool) -> Iterator[None]:
    """Neither this request is measured, nor what an application further inside sees of it."""
    request = LeftOut(surroundings, path, asgi=asgi)
    before = _request.set(request)
    try:
        yield
    finally:
        _leave(before)
        request.surroundings = None


def further_inside(
    found: Exchange | LeftOut, surroundings: Mapping[str, Any], asked: Asked | None, *, asgi: bool
) -> AbstractContextManager[None]:
    """Around the call of an application inside of the one where this request was found to begin; `asked`
    knows its route if nobody tells.

    It may get other surroundings than those that the request came with.
    """
    if isinstance(found, Exchange) and found.asgi is asgi:
        found.may_ask(asked)
    return _AS_IT_IS if found.surroundings is surroundings else _adopted(found, surroundings)


_AS_IT_IS = nullcontext()


@contextmanager
def _adopted(request: Exchange | LeftOut, surroundings: Mapping[str, Any]) -> Iterator[None]:
    known, before = request.surroundings, _request.set(request)
    request.surroundings = surroundings
    try:
        yield
    finally:
        _leave(before)
        if request.surroundings is not None:
            request.surroundings = known


def _is_same(request: Exchange | LeftOut, known: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if "wsgi.input" in other:
        if "wsgi.input" in known:
            return _is_same_environ(known, other)
        # a2wsgi shows its scope. Starlette's and asgiref's adapters hand on the context only.
        if (scope := other.get("asgi.scope")) is not None:
            return scope is known or _is_same_scope(known, scope)
        return request.asgi and request.path == _path(other)
    if "wsgi.input" in known:
        environ = other.get("wsgi_environ")
        return environ is known or (environ is not None and _is_same_environ(known, environ))
    return _is_same_scope(known, other)


def _is_same_environ(known: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if other["wsgi.input"] is known["wsgi.input"] is not None:
        return True
    return _path(known) == _path(other) and any(
        _is_one(known.get(name), other.get(name)) for name in _FINGERPRINTS
    )


def _is_same_scope(known: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    mine, theirs = known.get("headers"), other.get("headers")
    if mine is theirs and mine:
        return True
    server = known.get("server")
    if known.get("type") != other.get("type") or server != other.get("server"):
        return False
    path, below = known.get("path"), other.get("path") or ""
    # Somebody may have taken off the beginning of a path that he mounts an application under.
    if path not in {below, f"{other.get('root_path') or ''}{below}"}:
        return False
    if _is_one(path, below) and known.get("query_string") == other.get("query_string"):
        return True
    # A deep copy has the same strings and tuples in new lists, but for a header that was put in. Clients
    # share constants between requests.
    before, after = _values(mine), _values(theirs)
    shares = not before.isdisjoint(after)
    return shares and ((server is not None and server is other.get("server")) or len(after - before) <= 1)


def _values(headers: Any) -> set[int]:
    """Identities of the values of headers; an iterator is the application's to read."""
    return (
        {id(value) for _, value in headers if len(value) > 1} if isinstance(headers, list | tuple) else set()
    )


def _is_one(mine: Any, theirs: Any) -> bool:
    return mine is theirs and mine is not None and len(mine) > 1


def _path(environ: Mapping[str, Any]) -> str:
    path = f"{environ.get('SCRIPT_NAME') or ''}{environ.get('PATH_INFO') or ''}"
    return path if path.isascii() else path.encode("latin-1", "replace").decode("utf-8", "replace")
