from __future__ import annotations

from rich.console import Console
from rich.tree import Tree

from bext_otel.cli.tree import best_trace, trace_tree
from bext_otel.viewer import Store
from tests.viewer.otlp import SECOND, line, lines, span, spans

MS = SECOND // 1000


def printed(tree: Tree) -> str:
    console = Console(width=120, no_color=True, force_terminal=False)
    with console.capture() as captured:
        console.print(tree)
    return "\n".join(row.rstrip() for row in captured.get().splitlines())


def best(store: Store) -> str:
    trace = best_trace(store)
    assert trace is not None
    return printed(trace_tree(trace))


def test_a_trace_is_drawn_with_its_spans_and_log_lines() -> None:
    store = Store()
    request = {"kind": 2, "bext.app": "shop", "http.response.status_code": 200}
    store.add_spans(
        spans(
            span(1, name="GET /", end=20 * MS, **request),
            span(2, parent=1, name="render", start=MS, end=5 * MS),
            span(3, parent=2, name="SELECT", start=2 * MS, end=3 * MS),
            span(4, parent=1, name="compress", start=6 * MS, end=7 * MS, **{"bext.encoding": "gzip"}),
        )
    )
    store.add_logs(lines(line("request completed", trace=1)))
    expected = f"""\
trace {1:032x}  20.0 ms, 4 spans
└── GET /  20.00 ms  shop 200
    ├── info: request completed
    ├── render  4.00 ms
    │   └── SELECT  1.00 ms
    └── compress  1.00 ms  gzip"""
    assert expected == best(store)


def test_the_trace_that_shows_most_is_chosen_but_not_one_that_failed() -> None:
    store = Store()
    store.add_spans(spans(span(1, trace=1), span(2, trace=1, parent=1), span(1, trace=2)))
    store.add_spans(spans(*(span(number, trace=3, error=True) for number in range(1, 9))))
    assert f"{1:032x}" in best(store)


def test_a_trace_whose_spans_outlive_the_ones_above_them_is_chosen_only_where_there_is_no_other() -> None:
    outlived = [span(1, name="flow", end=1), span(2, parent=1, end=100 * MS), span(3, parent=2, end=50 * MS)]
    store = Store()
    store.add_spans(spans(*outlived))
    assert "flow" in best(store)
    store.add_spans(
        spans(span(1, trace=2, name="GET /", end=10 * MS), span(2, trace=2, parent=1, end=10 * MS + 500_000))
    )
    assert "GET /" in best(store)


def test_of_nothing_but_failures_one_is_chosen() -> None:
    store = Store()
    store.add_spans(spans(span(1, error=True, name="broken")))
    assert "broken" in best(store)


def test_a_long_trace_is_cut_and_says_so() -> None:
    store = Store()
    store.add_spans(spans(*(span(number, start=number) for number in range(1, 51))))
    assert best(store).endswith("└── and 10 more")


def test_no_telemetry_steers_the_terminal() -> None:
    store = Store()
    store.add_spans(spans(span(1, name="\x1b[2J\x07[red]x\u202e", **{"bext.app": "\x1b]0;owned\x07"})))
    store.add_logs(lines(line("\x1b[31mred", trace=1)))
    drawn = best(store)
    assert r"\x1b[2J\x07[red]x" in drawn
    assert not {"\x1b", "\x07", "\u202e"} & set(drawn)


def test_nothing_has_no_best_trace() -> None:
    assert best_trace(Store()) is None
