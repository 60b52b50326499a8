"""What an access log in Apache's formats tells of a request, beside what its entry tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from bext_otel.redaction import redact_query, redact_url
from bext_otel.redaction.policy import redact_attribute
from bext_otel.request_facts import Access

if TYPE_CHECKING:
    from bext_otel_instrumentors.http.exchange import Exchange
    from bext_otel_instrumentors.http.opening import RequestLine

__all__ = ["access_of"]

_MAX_TARGET, _MAX_HEADER = 8192, 2048
# What stands in a path as it is (RFC 3986, 3.3).
_AS_IT_IS = "/:@!$&'()*+,;=~-._"
_VERSIONS = {"2": "2.0", "3": "3.0"}


def access_of(
    exchange: Exchange,
    line: RequestLine,
    surroundings: Mapping[str, Any],
    headers: Mapping[str, Sequence[str]],
    client: str,
) -> Access:
    """`line` is what its server says of it, `headers` are by lower-case names, `client` who sent it ("": not
    known)."""
    method, _, _, query, version, *_ = line
    target = _safe("url.path", _raw_path(surroundings, exchange.path)[:_MAX_TARGET])
    if query:
        target += f"?{_safe('url.query', redact_query(query[:_MAX_TARGET]))}"
    referer = headers.get("referer")
    agent = headers.get("user-agent")
    return Access(
        client=_safe("client.address", client),
        user=_safe("user.name", str(surroundings.get("REMOTE_USER") or "")),
        request=f"{method} {target} HTTP/{_VERSIONS.get(version, version or '1.1')}",
        response_bytes=exchange.response_bytes,
        referer=None
        if not referer
        else _safe("http.request.header.referer", redact_url(referer[0][:_MAX_HEADER])),
        user_agent=None if not agent else _safe("user_agent.original", agent[0][:_MAX_HEADER]),
        seconds=exchange.seconds,
    )


def _safe(name: str, value: str) -> str:
    """As an attribute of that name is told everywhere else."""
    return str(redact_attribute(name, value))


def _raw_path(surroundings: Mapping[str, Any], path: str) -> str:
    """The path as it was sent, if the server tells; else as it would be."""
    raw: object = surroundings.get("raw_path")
    if isinstance(raw, bytes):
        return raw.decode("latin-1").partition("?")[0]
    line = surroundings.get("start_line")  # Tornado's
    for raw in (surroundings.get("RAW_URI"), surroundings.get("REQUEST_URI"), getattr(line, "path", None)):
        if isinstance(raw, str) and raw.startswith("/"):
            return raw.partition("?")[0]
    return quote(path, safe=_AS_IT_IS, errors="replace")
