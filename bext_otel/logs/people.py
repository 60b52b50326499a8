"""Records for who sits at a terminal: the message first, in colours, and what a request says below it."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from bext_otel.export.record import Record
from bext_otel.logs.formats import STACKTRACE, quoted
from bext_otel.logs.outputs import Output
from bext_otel.logs.sinks import LineSink
from bext_otel.logs.terminal import Terminal
from bext_otel.process import on_fork
from bext_otel.text import visible

__all__ = ["People", "PeopleSink", "wants_color"]

_COLORS = {"error": "31", "warn": "33", "info": "32", "debug": "34", "trace": "35"}
_DIM, _BOLD = "2", "1"
_BY_STATUS = {2: "32", 3: "36", 4: "33", 5: "31"}
_REQUEST = "bext.request"
_NO_FACTS = frozenset({"timestamp", "level", "target", "message", "trace_id", "span_id", "exceptions"})
_TOLD_IN_HEAD = frozenset({"method", "path", "status", "duration_ms"})
_STACKS = (STACKTRACE, "code.stacktrace")
_INDENT = "  "
_MAX_DEPTH = 8
_MAX_KNOWN = 1024
# Of the timestamp: hours to milliseconds.
_TIME = slice(11, 23)

Attributes = Mapping[str, Any]


def wants_color(environ: Mapping[str, str], *, isatty: bool) -> bool:
    """Whether to use colours, as Python itself decides: `NO_COLOR` says no, `FORCE_COLOR` says yes, a dumb
    terminal has none; else where somebody looks."""
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return isatty and environ.get("TERM") != "dumb"


class People:
    """A format for a terminal. It holds what JSON has (`json` makes that line), as long, and as safe to look
    at.

    Lines of a request are indented below a line that names it, deeper for spans within it; when lines of
    another one come in between, its name comes again. No line waits for another. What is known of traces and
    spans is bounded, and to be used by one thread at a time.
    """

    def __init__(self, json: Callable[[Record], bytes], *, color: bool) -> None:
        self._json = json
        self._color = color
        self._shown = 0
        """The trace whose lines come last."""
        self._titles: OrderedDict[int, str] = OrderedDict()
        self._depths: OrderedDict[int, int] = OrderedDict()

    def __call__(self, record: Record) -> bytes:
        """The record's lines."""
        line = msgspec.json.decode(self._json(record))
        trace_id = record.trace_id or 0
        if _is_completed(line):
            said = self._completed(line, within=bool(trace_id) and trace_id == self._shown)
            self._titles.pop(trace_id, None)
            self._shown = 0
        else:
            said = self._grouped(record, line, trace_id) if trace_id else self._line(line, "")
            self._shown = trace_id
        return said.encode(errors="replace")

    def _grouped(self, record: Record, line: Attributes, trace_id: int) -> str:
        span = trace.get_current_span(record.context)
        depth = _remembered(self._depths, record.span_id or 0, lambda: self._depth(span))
        head = ""
        if trace_id != self._shown:
            title = self._titles.get(trace_id) or _title(span)
            if title:
                _remembered(self._titles, trace_id, lambda: title)
            begun = f"> {title or 'trace'}"
            head = f"{self._paint(begun, _BOLD)} {self._paint(f'{trace_id:032x}', _DIM)}\n"
        return head + self._line(line, _INDENT * depth)

    def _depth(self, span: Any) -> int:
        """How deep a span is within its request; that of a parent that has said nothing is not known."""
        parent = getattr(span, "parent", None)
        if getattr(span, "kind", None) is SpanKind.SERVER or parent is None or parent.is_remote:
            return 1
        return min(self._depths.get(parent.span_id, 1) + 1, _MAX_DEPTH)

    def _line(self, line: Attributes, indent: str) -> str:
        level, message = line["level"], line["message"]
        name = self._paint(f"{level.upper():5}", _COLORS[level])
        text = visible(message if isinstance(message, str) else str(message))
        return (
            f"{indent}{name} {self._paint(text, _BOLD)}{self._facts(line, ())}{self._tail(line)}\n"
            f"{_stacks(line, indent)}"
        )

    def _completed(self, line: Attributes, *, within: bool) -> str:
        status = line["status"]
        color = _BY_STATUS.get(status // 100 if isinstance(status, int) else 0, _DIM)
        head = f"{quoted(line['method'])} {visible(str(line['path']))} {self._paint(str(status), color)}"
        level = line["level"]
        name = self._paint(f"{level.upper():5}", _COLORS[level])
        mark = "< " if within else ""
        took = f" in {line['duration_ms']} ms" if "duration_ms" in line else ""
        facts = self._facts(line, _TOLD_IN_HEAD)
        return f"{mark}{name} {head}{took}{facts}{self._tail(line)}\n{_stacks(line, '')}"

    def _facts(self, line: Attributes, told: Any) -> str:
        return "".join(
            f" {self._paint(quoted(name) + '=', _DIM)}{quoted(value)}"
            for name, value in line.items()
            if name not in _NO_FACTS and name not in _STACKS and name not in told
        )

    def _tail(self, line: Attributes) -> str:
        return " " + self._paint(f"{visible(line['target'])} {line['timestamp'][_TIME]}", _DIM)

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._color else text


def _is_completed(line: Attributes) -> bool:
    return line["target"] == _REQUEST and {"method", "path", "status"} <= line.keys()


def _title(span: Any) -> str:
    """What a request's span says of it; empty: it is none."""
    if getattr(span, "kind", None) is not SpanKind.SERVER:
        return ""
    attributes = getattr(span, "attributes", None) or {}
    method, path = attributes.get("http.request.method"), attributes.get("url.path")
    return visible(f"{method} {path}" if method and path else str(getattr(span, "name", "")))


def _stacks(line: Attributes, indent: str) -> str:
    return "".join(
        f"{indent}    {visible(each)}\n"
        for name in _STACKS
        if name in line
        for each in str(line[name]).splitlines()
    )


def _remembered(known: OrderedDict[int, Any], key: int, make: Callable[[], Any]) -> Any:
    if key not in known:
        known[key] = make()
        if len(known) > _MAX_KNOWN:
            known.popitem(last=False)
    return known[key]


class PeopleSink(LineSink):
    """Writes each record before the next one is looked at, so that it stands below the request that it is
    of."""

    def __init__(self, line: People, output: Output, terminal: Terminal | None = None) -> None:
        super().__init__(line, output, terminal)
        self.start_over()
        _sinks.add(self)

    def start_over(self) -> None:
        """In a forked child: a thread of the parent may have been writing."""
        self._one = threading.RLock()

    def take(self, record: Record) -> None:
        """See `Sink`."""
        with self._one:
            super().take(record)


_sinks: weakref.WeakSet[PeopleSink] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for sink in list(_sinks):
        sink.start_over()


on_fork(in_child=_after_fork_in_child)
