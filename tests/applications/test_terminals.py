"""How terminals are compared."""

from __future__ import annotations

import json

from tests.applications.running import Run
from tests.applications.terminals import Terminal, compared, terminal


def test_a_record_is_the_line_that_a_formatter_made_of_it() -> None:
    bare = _shown("INFO:     Started process\n2026-01-01 10:00:00 tea is ready\n")
    assert ([], []) == compared(bare, _shown(_record("Started process") + _record("tea is ready")))
    assert ([], []) == compared(bare, bare)


def test_what_is_printed_twice_or_not_at_all_is_found() -> None:
    bare = _shown("tea is ready\ncoffee is ready\n")
    ours = _shown("tea is ready\n" + _record("tea is ready"))
    assert (["coffee is ready"], ["tea is ready"]) == compared(bare, ours)


def test_what_nobody_printed_before_is_found() -> None:
    assert ([], ["debugging"]) == compared(_shown(""), _shown(_record("debugging")))


def test_a_completed_request_stands_for_an_access_line() -> None:
    bare = _shown('127.0.0.1 - - "GET /tea HTTP/1.1" 200 -\n')
    ours = _shown(_record("request completed", target="bext.request"))
    assert (1, 0, 0, 1) == (len(bare.access), len(bare.lines), len(ours.access), len(ours.completions))
    assert ([], []) == compared(bare, ours)


def test_tracebacks_are_counted_wherever_they_stand() -> None:
    traceback = 'Traceback (most recent call last):\n  File "a.py", line 1, in tea\nRuntimeError: no tea\n'
    bare = _shown("Exception in ASGI application\n" + traceback)
    ours = _shown(_record("request completed", target="bext.request", **{"exception.stacktrace": traceback}))
    assert (1, 1) == (bare.tracebacks, ours.tracebacks)
    assert ([], []) == compared(bare, ours)
    assert 2 == _shown(traceback + _record("no", **{"exception.stacktrace": traceback})).tracebacks


def _record(message: str, *, target: str = "shop", **more: str) -> str:
    return (
        json.dumps({"timestamp": "now", "target": target, "message": message, **more}, separators=(",", ":"))
        + "\n"
    )


def _shown(stdout: str) -> Terminal:
    return terminal(Run(stdout=stdout), ())
