"""What of a line is too long, and what is shown of that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from bext_otel.logs.values import plain, shown
from bext_otel.text import encodable

__all__ = ["MAX_FIELD_BYTES", "MAX_LINE_BYTES", "shortened"]

MAX_FIELD_BYTES = 16 * 1024
"""How much of a message, a field or a stack trace a line shows, in UTF-8."""

MAX_LINE_BYTES = 64 * 1024
"""How long a line is at most, its newline included, where no setting says otherwise."""

_LENGTH = ".length"
_DROPPED = "fields_dropped"
# Of these the end tells more.
_KEEP_END = frozenset({"exception.stacktrace", "code.stacktrace"})
# What a line is nothing without, and which share of it each of them may have when there is no room for all.
_FIXED = ("timestamp", "level", "target", "message", "app", "trace_id", "span_id")
_SHARE = 8
# Less of a text is not worth its name. Room for the count of what is left out.
_WORTH_BYTES, _RESERVE_BYTES = 256, 64
_MAX_TRIES = 20

_encode = msgspec.json.Encoder(enc_hook=shown).encode

Measure = Callable[[Mapping[str, Any]], int]


def shortened(line: Mapping[str, Any], max_bytes: int, measure: Measure) -> dict[str, Any]:
    """The line with what is longer than `MAX_FIELD_BYTES` cut, and how many characters it had under
    `<name>.length`; stack traces keep their end. Lists and mappings that are too long become the text of
    their JSON.

    If it is longer than `max_bytes` then, by what `measure` says, fields that come last are cut further or
    left out, which `fields_dropped` counts.
    """
    cut: dict[str, Any] = {}
    for name, value in line.items():
        text = value if isinstance(value, str) else _text(value)
        if text is None or _bytes(text) <= MAX_FIELD_BYTES:
            cut[name] = value
        else:
            _put(cut, line, name, text, MAX_FIELD_BYTES)
    return cut if measure(cut) <= max_bytes else _fitted(cut, max_bytes, measure)


def _fitted(line: dict[str, Any], max_bytes: int, measure: Measure) -> dict[str, Any]:
    fitted: dict[str, Any] = {}
    dropped = line.pop(_DROPPED, 0) if isinstance(line.get(_DROPPED), int) else 0
    room = max_bytes - _RESERVE_BYTES
    for name in [*(each for each in _FIXED if each in line), *(each for each in line if each not in _FIXED)]:
        value = line[name]
        left = room - measure(fitted)
        most = min(left, max_bytes // _SHARE) if name in _FIXED else left
        if measure({name: value}) <= most:
            fitted[name] = value
        elif not (
            isinstance(value, str) and most >= _WORTH_BYTES and _fit(fitted, line, name, most, measure)
        ):
            dropped += not name.endswith(_LENGTH)
    if dropped:
        fitted[_DROPPED] = dropped
    # As the line had them, with what is new at the end.
    return {
        name: fitted[name] for name in {**dict.fromkeys(each for each in line if each in fitted), **fitted}
    }


def _fit(fitted: dict[str, Any], line: Mapping[str, Any], name: str, most: int, measure: Measure) -> bool:
    """Put as much of a text as has room; whether any has. Escapes take more room than what they stand for."""
    text: str = line[name]
    limit = min(_bytes(text), most)
    for _ in range(_MAX_TRIES):
        tried: dict[str, Any] = {}
        _put(tried, line, name, text, limit)
        size = measure(tried)
        if size <= most:
            for each, value in tried.items():
                fitted.setdefault(each, value)
            return True
        limit = min(limit * most // size, limit - 1)
        if limit <= 0:
            return False
    return False


def _put(to: dict[str, Any], line: Mapping[str, Any], name: str, text: str, limit: int) -> None:
    to[name] = _end(text, limit) if name in _KEEP_END else _beginning(text, limit)
    # What has been cut before is not counted again.
    if (beside := f"{name}{_LENGTH}") not in line:
        to[beside] = len(text)


def _beginning(text: str, limit: int) -> str:
    return encodable(text[:limit]).encode()[:limit].decode(errors="ignore")


def _end(text: str, limit: int) -> str:
    return encodable(text[-limit:]).encode()[-limit:].decode(errors="ignore") if limit else ""


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(encodable(text).encode())


def _text(value: object) -> str | None:
    """The JSON of a list or a mapping; None for what is short in any case."""
    if value is None or isinstance(value, bool | float):
        return None
    try:
        return _encode(value).decode()
    except Exception:  # lone surrogates, huge ints, odd keys
        return _encode(plain(value)).decode()
