"""The endpoint by which levels are raised for a time: what it is asked for, and what it answers."""

from __future__ import annotations

import time
from urllib.parse import parse_qsl

import msgspec

from bext_otel.errors import ConfigError
from bext_otel.logs.level_orders import order, seconds_of
from bext_otel.logs.level_watch import LevelWatch, NotSharedError

__all__ = ["PATH", "answer"]

PATH = "/debug/bext/log-level"

_KNOWN = frozenset({"app", "logger", "level", "for"})
_MAX_QUERY = 2048


def answer(levels: LevelWatch, method: str, query: str) -> tuple[int, bytes]:
    """Status and JSON: what is in force (GET), after a level was raised (PUT) or taken back (DELETE)."""
    try:
        if method == "PUT":
            _put(levels, _fields(query))
        elif method == "DELETE":
            fields = _fields(query)
            levels.take_back(fields.get("app", ""), fields.get("logger", ""))
        return 200, _json(levels.document())
    except ConfigError as error:
        return 400, _json({"error": str(error)})
    except NotSharedError as error:
        return 503, _json({"error": f"only this worker has changed its levels: {error}", **levels.document()})


def _put(levels: LevelWatch, fields: dict[str, str]) -> None:
    if "level" not in fields:
        raise ConfigError(f"no level: expected {PATH}?app=NAME&logger=NAME&level=debug&for=10m")
    until = time.monotonic() + seconds_of(fields.get("for", ""))
    levels.ask(order(fields["level"], fields.get("app", ""), fields.get("logger", ""), until))


def _fields(query: str) -> dict[str, str]:
    fields = dict(parse_qsl(query[:_MAX_QUERY], keep_blank_values=True, errors="replace"))
    if unknown := sorted(fields.keys() - _KNOWN):
        raise ConfigError(f"{unknown[0][:40]!r} is not known here: expected app, logger, level and for")
    return fields


def _json(document: object) -> bytes:
    return msgspec.json.encode(document) + b"\n"
