"""What every log entry of a request tells of it: its route, once that is known, and its id.

They stand in the context of the request's work, under `REQUEST_KEY`, and travel with it.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Protocol, TypeAlias

from opentelemetry.context import Context, create_key, set_value

from bext_otel.redaction import redact_body

__all__ = ["REQUEST_KEY", "Access", "Carried", "Facts", "Request", "facts_of", "well_formed", "with_facts"]

REQUEST_KEY = create_key("bext-otel-request")
"""Under which a context holds the request that its work is for."""

Facts: TypeAlias = "tuple[str | None, str | None]"
"""The route template, and the id; None: not known."""

# What proxies and clouds send: UUIDs, ULIDs, 32 digits, `Root=1-67891233-abcdef`. No blanks, no quotes: it
# stands in lines and headers as it is.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+/=@-]{0,127}")


class Access(NamedTuple):
    """What an access log tells of a request: who sent it, and as whom ("": not known); its first line, the
    length of the answer's body, its Referer and its User-Agent (None: none was sent), and how long it took.
    URLs in these have lost their secrets."""

    client: str
    user: str
    request: str
    response_bytes: int
    referer: str | None
    user_agent: str | None
    seconds: float


class Request(Protocol):
    """A request, as far as its log entries tell of it."""

    def facts(self) -> Facts:
        """Its route and its id, as far as they are known now."""

    def access(self) -> Access | None:
        """What an access log tells of it; None once it is over."""


class Carried:
    """The facts of a request that goes on in another process, or is over."""

    __slots__ = ("_facts",)

    def __init__(self, route: str | None, request_id: str | None) -> None:
        self._facts = route, request_id

    def facts(self) -> Facts:
        """See `Request`."""
        return self._facts

    def access(self) -> None:
        """See `Request`."""


def well_formed(sent: str | bytes | None) -> str | None:
    """An `X-Request-Id` as it was sent, if it is one: up to 128 letters, digits and `._:+/=@-`, the first one
    a letter or a digit. What looks like a secret, such as somebody's token, is none."""
    if not sent:
        return None
    text = sent if isinstance(sent, str) else sent.decode("latin-1")
    return text if _ID.fullmatch(text) and redact_body(text) == text else None


def facts_of(context: Context) -> Facts:
    """Those of the request that a context works for."""
    request = context.get(REQUEST_KEY)
    return (None, None) if request is None else request.facts()  # type: ignore[attr-defined]  # only requests stand there


def with_facts(route: object, request_id: object, context: Context) -> Context:
    """A context that works for a request of which these facts came, from whomever; those that are none are
    left out."""
    known = (
        route if isinstance(route, str) and route else None,
        well_formed(request_id) if isinstance(request_id, str) else None,
    )
    return context if known == (None, None) else set_value(REQUEST_KEY, Carried(*known), context)
