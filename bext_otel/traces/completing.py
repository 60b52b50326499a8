"""Outgoing calls that upstream's instrumentors tell of, made to say what the conventions want of each, and
nothing that they want kept: on the span's way out, whichever instrumentor it is.

What is not mended: names of spans, schema URLs of scopes, durations in metrics, and statements of databases
that are no SQL, which their instrumentors mask themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry.trace import StatusCode

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import Event
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import Status

    from bext_otel.traces.span import Span

__all__ = ["complete", "complete_attributes", "without_literals"]

_CONTRIB = "opentelemetry.instrumentation."
# Systems that speak SQL, by the stable conventions and by those before.
_SQL = frozenset(
    {
        *("postgresql", "mysql", "mariadb", "sqlite", "cockroachdb", "clickhouse", "trino", "snowflake"),
        *("microsoft.sql_server", "mssql", "oracle.db", "oracle", "other_sql", "aws.redshift", "redshift"),
    }
)
# Where double quotes hold text, and no identifier.
_DOUBLE = frozenset({"mysql", "mariadb"})

# Text, in single quotes or between dollars; numbers, but for those that name a placeholder or end a name.
# Each of these matches wherever it begins, one that never ends too: no statement is looked at twice.
_PLAIN = r"""'(?:[^'\\]|\\.|'')*(?:'|\\?\Z)|\$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z)"""
_QUOTED = r"""\"(?:[^\"\\]|\\.)*(?:\"|\\?\Z)"""
_NUMBER = r"""(?<![\w.$:@?%"`])\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?!\w)"""
_LITERAL = re.compile(f"(?P<kept>{_QUOTED})|{_PLAIN}|{_NUMBER}", re.DOTALL)
_LITERAL_OR_DOUBLE = re.compile(f"(?P<kept>(?!))|{_QUOTED}|{_PLAIN}|{_NUMBER}", re.DOTALL)

# Statements that were looked at. Those with placeholders are few; of others there may be any number.
_known: dict[str, str] = {}
_MAX_KNOWN, _MAX_LENGTH = 500, 4096


def complete(span: Span) -> None:
    """A CLIENT span that has ended. Whatever cannot be told from what it has is left as it is."""
    complete_attributes(span._attributes, span.tracer.scope, span._status, span._events)


def complete_attributes(
    kept: dict[str, Any], scope: InstrumentationScope | None, status: Status, events: Iterable[Event]
) -> None:
    """The same for the attributes of a CLIENT span whose parts these are."""
    if scope is None or not scope.name.startswith(_CONTRIB):
        return
    for name, system in (("db.query.text", "db.system.name"), ("db.statement", "db.system")):
        text = kept.get(name)
        if text is not None and isinstance(text, str) and kept.get(system) in _SQL:
            kept[name] = without_literals(text, double=kept[system] in _DOUBLE)
    if "server.address" not in kept and "net.peer.name" not in kept:
        _add_server(kept)
    if status.status_code is StatusCode.ERROR and "error.type" not in kept:
        kept["error.type"] = _cause(kept, events)


def without_literals(text: str, *, double: bool = False) -> str:
    """An SQL statement with `?` for each literal; with `double`, double quotes hold text too."""
    found = _known.get(text)
    if found is None:
        found = (_LITERAL_OR_DOUBLE if double else _LITERAL).sub(_masked, text)
        if len(text) <= _MAX_LENGTH:
            if len(_known) >= _MAX_KNOWN:
                _known.clear()
            _known[text] = found
    return found


def _masked(match: re.Match[str]) -> str:
    return match["kept"] or "?"


def _add_server(kept: dict[str, Any]) -> None:
    url = kept.get("url.full")
    if not isinstance(url, str):
        return
    try:
        parts = urlsplit(url)
        if parts.hostname:
            kept["server.address"] = parts.hostname
            if parts.port:
                kept["server.port"] = parts.port
    except ValueError:  # a port that is none
        return


def _cause(kept: Mapping[str, Any], events: Iterable[Event]) -> str:
    """What an error is called: by the exception that was recorded, the status of an answer, or nothing."""
    for event in reversed(list(events)):
        if (kind := (event.attributes or {}).get("exception.type")) is not None:
            return str(kind)
    status = kept.get("http.response.status_code")
    return str(status) if status is not None else "_OTHER"
