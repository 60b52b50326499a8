"""What a terminal shows, bare and with us: which of the bare one's lines are lost, and what is there besides."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.applications.normalising import ADDRESSES, CLIENTS, DURATIONS, GAPS, REDACTED, Rule, normal
from tests.applications.running import Run
from tests.applications.seeded import LEFT

_COLOURS = re.compile(r"\x1b\[[\d;]*m")
# The second is how Tornado writes it, without a user before the address, as Jupyter does by a logger of its own.
_ACCESS = re.compile(
    r'"?(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|TRACE) \S* HTTP/1\.[01]|\b\d{3} [A-Z]+ \S* \([\d.:a-f]+\) [\d.]*(MS|ms)$'
)
# Of a traceback, or in a box that somebody draws around one. Which frames it has is no business of ours: a server's call of
# the application goes through us. rich leaves out a time that it has told already.
_FRAME = re.compile(r"(?!\s+(DEBUG|INFO|WARNING|ERROR) )(\s|[|+│╭╰~^])")


# What a server says of a crash of the application, above its traceback: the record of the request has it.
_CRASH = re.compile(
    r"^(Error on request:|(ERROR: )?Exception in ASGI application|(ERROR:waitress:)?Exception while serving .*"
    r"|.* ERROR in \w+: Exception on /.*|\[E \d+ TIME web:\d+\] Uncaught exception .*)$"
)


@dataclass
class Terminal:
    """Both streams of a run, normalised. `access`: what tells of a request as a server's access log does; `lines`: all other
    lines; `completions`: our records of completed requests; `messages`: the first lines of the application's records, and `further`
    what else these say; `tracebacks`: how many there are."""

    access: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    completions: list[dict[str, Any]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    further: list[str] = field(default_factory=list)
    tracebacks: int = 0


def terminal(run: Run, rules: Sequence[Rule], noise: str = "") -> Terminal:
    """What the run's programs wrote, without what matches `noise` or tells of a request that was left."""
    shown = Terminal()
    rules = (*run.places, run.processes, CLIENTS, ADDRESSES, DURATIONS, REDACTED, GAPS, *rules)
    skipped = re.compile("|".join(filter(None, (noise, re.escape(LEFT)))))
    is_left = False
    for line in _COLOURS.sub("", f"{run.stdout}\n{run.stderr}").splitlines():
        record = _record(line)
        if record is not None:
            _add(shown, record, rules, skipped)
        elif _FRAME.match(line):
            shown.tracebacks += 0 if is_left else _tracebacks(line)
        else:
            is_skipped = bool(skipped.search(line))
            # What a server says when the client is gone may have a traceback below it; an access line has none.
            is_left = is_skipped and _ACCESS.search(line) is None
            shown.tracebacks += _tracebacks(line)
            text = "" if is_skipped else normal(line, rules).strip()
            if text:
                (shown.access if _ACCESS.search(text) else shown.lines).append(text)
    return shown


def compared(bare: Terminal, ours: Terminal) -> tuple[list[str], list[str]]:
    """The bare terminal's lines that are not there with us, and what is there besides.

    A line is there as it is, or as a record whose text it contains: what a formatter put around that (time, level, logger)
    is in the record's other fields. Access lines are none of them, nor is what a server says above a crash's traceback.
    """
    remaining, besides = Counter(bare.lines), []
    for line in ours.lines:
        if remaining[line] > 0:
            remaining[line] -= 1
        else:
            besides.append(line)
    # The longest first: a short one may be part of many lines.
    for text in sorted(ours.messages, key=len, reverse=True):
        found = min(
            (line for line, left in remaining.items() if left > 0 and text in line), key=len, default=None
        )
        if found is None:
            besides.append(text)
        else:
            remaining[found] -= 1
    lost = +(remaining - Counter(ours.further))
    return [line for line in sorted(lost.elements()) if not _CRASH.match(line)], besides


def _add(shown: Terminal, record: dict[str, Any], rules: Sequence[Rule], skipped: re.Pattern[str]) -> None:
    """A record of ours."""
    first, *others = record["message"].splitlines() or [""]
    stack = record.get("exception.stacktrace", "")
    if record["target"] == "bext.request":
        shown.completions.append(record)
    elif skipped.search(first):
        # What stands below a line that is left out stands there bare, too.
        shown.further += _lines(stack, rules)
        return
    shown.tracebacks += _tracebacks(stack)
    shown.further += _lines("\n".join([*others, stack]), rules)
    if not record["target"].startswith("bext"):
        text = normal(first, rules).strip()
        (shown.access if _ACCESS.search(text) else shown.messages).append(text)


def _tracebacks(text: str) -> int:
    return text.count("Traceback (most recent call last")


def _record(line: str) -> dict[str, Any] | None:
    if not line.startswith('{"timestamp":'):
        return None
    found: dict[str, Any] = json.loads(line)
    return found


def _lines(text: str, rules: Iterable[Rule]) -> list[str]:
    lines = (line for line in _COLOURS.sub("", text).splitlines() if not _FRAME.match(line))
    return [found for line in lines if (found := normal(line, rules).strip())]
