"""A trace as a tree of lines."""

from __future__ import annotations

from typing import Any

from rich.text import Text
from rich.tree import Tree

from bext_otel.text import encodable, visible
from bext_otel.viewer import Store, documents

__all__ = ["best_trace", "trace_tree"]

_MOST_SPANS = 40
_LATE_NS = 1_000_000


def best_trace(store: Store) -> dict[str, Any] | None:
    """The trace that shows most: of those that succeeded, fit on a screen and can be read without knowing
    more, the one with most spans.

    A span that goes on after the one above it has ended, as a flow's does that another process resumes, reads
    as a mistake to whoever sees the first trace of their life.
    """
    with store.reading():
        rows = documents.traces(store, limit=store.limits.traces)["traces"]
        fitting = [row for row in rows if row["span_count"] <= _MOST_SPANS and not row["error"]] or rows
        most = sorted(fitting, key=lambda row: -row["span_count"])
        best = next((row for row in most if _is_nested(store, row["trace_id"])), most[0] if most else None)
        return None if best is None else documents.trace(store, best["trace_id"])


def _is_nested(store: Store, trace_id: str) -> bool:
    """Whether each span of a trace ends before the one above it, but for what clocks and network may take."""
    held = store.spans.get(trace_id)
    if held is None:
        return False
    above = [
        (span, held.spans[span.parent_id]) for span in held.spans.values() if span.parent_id in held.spans
    ]
    return all(span.end_ns <= parent.end_ns + _LATE_NS for span, parent in above)


def trace_tree(trace: dict[str, Any]) -> Tree:
    """The spans of a trace document under its id, each with its duration, and its log lines where they were
    written."""
    tree = Tree(
        Text.assemble(
            ("trace ", "dim"),
            trace["trace_id"],
            (f"  {trace['duration_ms']:.1f} ms, {trace['span_count']} spans", "dim"),
        )
    )
    above: list[Tree] = [tree]
    for span in trace["spans"][:_MOST_SPANS]:
        del above[span["depth"] + 1 :]
        node = above[-1].add(_label(span))
        above.append(node)
        for line in trace["logs"]:
            if line["span_id"] == span["span_id"]:
                node.add(Text.assemble((f"{_clean(line['level'])}: {_clean(line['message'])}", "italic dim")))
    if len(trace["spans"]) > _MOST_SPANS:
        tree.add(Text(f"and {len(trace['spans']) - _MOST_SPANS} more", style="dim"))
    return tree


def _label(span: dict[str, Any]) -> Text:
    attributes = span["attributes"]
    shown = [
        str(value)
        for name, value in attributes.items()
        if name.startswith("bext.") or name == "http.response.status_code"
    ]
    style = "bold red" if span["status"] == "error" else "bold" if span["kind"] == "server" else ""
    facts = f"  {_clean(' '.join(shown))}" if shown else ""
    return Text.assemble(
        (_clean(span["name"]), style), (f"  {span['duration_ms']:.2f} ms", "cyan"), (facts, "dim")
    )


def _clean(text: object) -> str:
    """Telemetry is somebody else's text: nothing in it may steer the terminal."""
    return visible(encodable(str(text)[:200]))
