"""The spans of a trace, nested."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bext_otel.viewer.spans import Span

__all__ = ["nested", "root_of"]


def nested(spans: Mapping[str, Span]) -> list[tuple[int, Span]]:
    """Depth and span, parents before their children, siblings by start.

    A span whose parent is not there (it is another service's, or not yet received) stands at depth 0. So does
    one of each ring of spans that call each other their parent: every span appears exactly once.
    """
    children: dict[str, list[Span]] = {}
    roots = []
    for span in spans.values():
        if span.parent_id in spans and span.parent_id != span.span_id:
            children.setdefault(span.parent_id, []).append(span)
        else:
            roots.append(span)
    placed: dict[str, tuple[int, Span]] = {}
    _place(_by_start(roots), children, placed)
    for span in _by_start(spans.values()):
        if span.span_id not in placed:
            _place([span], children, placed)
    return list(placed.values())


def root_of(spans: Mapping[str, Span]) -> Span:
    """The span that stands for the trace, of one at least: the first without a parent, or else the first
    whose parent is not there."""
    without_parent = [span for span in spans.values() if not span.parent_id]
    orphans = [span for span in spans.values() if span.parent_id not in spans]
    return _by_start(without_parent or orphans or spans.values())[0]


def _place(
    roots: list[Span], children: Mapping[str, list[Span]], placed: dict[str, tuple[int, Span]]
) -> None:
    # Not recursive: a trace may be deeper than Python's stack.
    waiting = [(0, root) for root in reversed(roots)]
    while waiting:
        depth, span = waiting.pop()
        if span.span_id in placed:
            continue
        placed[span.span_id] = (depth, span)
        waiting.extend((depth + 1, child) for child in reversed(_by_start(children.get(span.span_id, ()))))


def _by_start(spans: Iterable[Span]) -> list[Span]:
    return sorted(spans, key=lambda span: (span.start_ns, -span.end_ns))
