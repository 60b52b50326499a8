"""What differs between two runs of one program, and is no difference: times, ports, process ids, random tokens."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.applications.wire import Answer


@dataclass(frozen=True)
class Rule:
    """What matches `pattern` is as good as `word`; `why` says what it is."""

    why: str
    pattern: str
    word: str

    def applied(self, text: str) -> str:
        """The text with the word in its place."""
        return re.sub(self.pattern, self.word, text)


DATES = Rule("dates of HTTP", r"\w{3}, \d\d[ -]\w{3}[ -]\d{4} \d\d:\d\d:\d\d( GMT)?", "DATE")
TIMES = Rule(
    "times as ISO 8601 and logs write them",
    r"\d\d/\d\d/\d\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?([.,]\d+)?)?( ?[+-]\d\d:?\d\d|Z)?"
    r"|\d\d/\w{3}/\d{4}:? ?\d\d:\d\d:\d\d( [+-]\d{4})?|\b\d\d:\d\d:\d\d([.,]\d+)?",
    "TIME",
)
UUIDS = Rule("random ids", r"\b[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}\b", "UUID")


ADDRESSES = Rule("where an object lies in memory", r"\b0x[0-9a-f]{6,}\b", "ADDRESS")
CLIENTS = Rule("a client's port", r"127\.0\.0\.1:\d+", "CLIENT")
DURATIONS = Rule("what something took", r"\b\d+(\.\d+)?(e-\d+)? ?ms\b", "MS")
REDACTED = Rule("credentials that we hide", r"://[^/@\s]*@", "://HIDDEN@")
GAPS = Rule("columns", r"[ \t]+", " ")


def places(folder: Path, port: int) -> tuple[Rule, ...]:
    """Where this run is: its folder, its port."""
    return (
        Rule("the folder of the run", re.escape(str(folder)), "FOLDER"),
        Rule("the port of the run", rf"(?<=[:=-]){port}\b", "PORT"),
    )


def processes(pids: Iterable[int]) -> Rule:
    """The ids of the run's processes, where its terminal names them."""
    return Rule("its processes", rf"\b({'|'.join(str(pid) for pid in pids)})\b", "PID")


def normal(text: str, rules: Iterable[Rule]) -> str:
    """The text, every rule applied in their order."""
    for rule in rules:
        text = rule.applied(text)
    return text


def as_text(answer: Answer, rules: Iterable[Rule]) -> str:
    """The answer as text that is compared: status, headers in their order, body."""
    body = answer.body
    # A gzip file carries the second it was made in.
    if any(name.lower() == "content-encoding" and value == "gzip" for name, value in answer.headers) and body:
        body = gzip.decompress(body)
    head = "".join(f"{name}: {value}\n" for name, value in answer.headers)
    return normal(f"{answer.status}\n{head}\n{body.decode('utf-8', 'backslashreplace')}", rules)
