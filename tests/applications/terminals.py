"""What a terminal shows, bare and with us: which of the bare one's lines are lost, and what is there besides."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.applications.normalising import ADDRESSES, CLIENTS, DURATIONS, GAPS, Rule, normal
from tests.applications.running import Run
from tests.applications.seeded import LEFT

_COLOURS = re.compile(r"\x1b\[[\d;]*m")
_ACCESS = re.compile(r'"?(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|TRACE) \S* HTTP/1\.[01]')
# Of a traceback, or in a box that somebody draws around one. Which frames it has is no business of ours: a server's call of
# the application goes through us. rich leaves out a time that it has told already.
_FRAME = re.compile(r"(?!\s+(DEBUG|INFO|WARNING|ERROR) )(\s|[|+│╭╰~^])")


@dataclass
class Terminal:
    """Both streams of a run, normalised: the lines that tell of a request as a server's access log does, all other lines,
    our records of completed requests, and the lines of text in all other records of ours."""

    access: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    completions: list[dict[str, Any]] = field(default_factory=list)
    recorded: list[str] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)


def terminal(run: Run, rules: Sequence[Rule], noise: str = "") -> Terminal:
    """What the run's programs wrote, without the lines that match `noise` or tell of a request that was left."""
    shown = Terminal()
    rules = (*run.places, run.processes, CLIENTS, ADDRESSES, DURATIONS, GAPS, *rules)
    skipped = re.compile("|".join(filter(None, (noise, re.escape(LEFT)))))
    for line in _COLOURS.sub("", f"{run.stdout}\n{run.stderr}").splitlines():
        if skipped.search(line):
            continue
        record = _record(line)
        if record is None:
            if _FRAME.match(line):
                continue
            text = normal(line, rules).strip()
            (shown.access if _ACCESS.search(text) else shown.lines).append(text)
        elif record["target"] == "bext.request":
            shown.completions.append(record)
            shown.recorded += _texts(record.get("exception.stacktrace", ""), rules)
        elif record["target"].startswith("bext"):
            shown.entries.append(record)
        else:
            message = normal(record["message"], rules)
            if _ACCESS.search(message):
                shown.access.append(message)
            else:
                shown.recorded += _texts(record["message"], rules)
                shown.recorded += _texts(record.get("exception.stacktrace", ""), rules)
    shown.lines = [line for line in shown.lines if line]
    return shown


def compared(bare: Terminal, ours: Terminal) -> tuple[list[str], list[str]]:
    """The bare terminal's lines that are not there with us, and what is there besides.

    A line is there as it is, or as a record whose text it contains: what a formatter put around that (time, level, logger)
    is in the record's other fields. Access lines are none of them.
    """
    remaining, besides = Counter(bare.lines), []
    for line in ours.lines:
        if remaining[line] > 0:
            remaining[line] -= 1
        else:
            besides.append(line)
    # The longest first: a short one may be part of many lines.
    for text in sorted(ours.recorded, key=len, reverse=True):
        found = min(
            (line for line, left in remaining.items() if left > 0 and text in line), key=len, default=None
        )
        if found is None:
            besides.append(text)
        else:
            remaining[found] -= 1
    return sorted((+remaining).elements()), besides


def tracebacks(shown: Terminal) -> int:
    """How many there are."""
    return sum("Traceback (most recent call last)" in line for line in (*shown.lines, *shown.recorded))


def _record(line: str) -> dict[str, Any] | None:
    if not line.startswith('{"timestamp":'):
        return None
    found: dict[str, Any] = json.loads(line)
    return found


def _texts(text: str, rules: Iterable[Rule]) -> list[str]:
    kept = "\n".join(line for line in _COLOURS.sub("", text).splitlines() if not _FRAME.match(line))
    return [line.strip() for line in normal(kept, rules).splitlines() if line.strip()]
