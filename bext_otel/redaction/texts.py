"""Running text without the secrets that stand in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Set

from bext_otel.redaction import patterns
from bext_otel.redaction.names import is_secret, is_secret_field, is_secret_parameter
from bext_otel.redaction.shapes import is_suspect, redact_shapes
from bext_otel.redaction.urls import REDACTED, redact_urls
from bext_otel.text import encodable

__all__ = ["describe", "is_marker", "redact_form", "redact_message", "redact_text", "shortened_text"]

# In running text: what is said of a name, as in `password=...`, `"token": "..."`, `Authorization: Bearer
# ...`; credentials alone. Quotes are escaped where JSON stands in JSON.
_NAMED = re.compile(r"([\w.%\-]{1,64})(\\{0,8}[\"']?)\s{0,8}(=>|[=:])\s{0,8}")
_SAID = re.compile(
    r"(?:(?:bearer|basic|digest|negotiate|token)\s{1,4})?"
    r"(?:\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\]|\\.)*'?|\\{1,8}[\"'][^\"'\\]*(?:\\{1,8}[\"'])?|[^\s,;&\"']+)",
    re.IGNORECASE | re.DOTALL,
)
# A header that is nothing but secrets and their names.
_LINE = re.compile(r"[^\r\n\"'\\]+")
_WHOLE_LINES = ("cookie",)
# Where a statement has a value to come.
_PLACEHOLDER = re.compile(r"\?|%s|%\(\w{1,64}\)s|\$\d{1,4}|NULL|None|null|true|false|True|False|\{\}")
# In a sentence, what is said of these is mostly how they are: "session: expired".
_WORDS = frozenset({"auth", "pass", "session", "sess", "card", "pin", "otp", "sid"})
# What a route template says of a parameter (`{token:path}`, `<token:str>`).
_CONVERTER = re.compile(
    r"(?:path|int|str|string|strorempty|float|number|decimal|bool|uuid|slug|alpha|any|date|ymd|dt|ext|hash|re|regex)"
    r"(?:\([^(){}<>\s]{0,64}\))?[}>]"
)
_MARKER = re.compile(r"REDACTED(?:\[[a-z-]{1,16}\])?|\[REDACTED\]|\*\*\*\*?")
_ELEMENT = re.compile(r"<([\w:.-]{1,64})(?:\s[^<>]{0,200})?>([^<>]+)</")

_MAX_DESCRIPTION = 1024
_MARGIN = 8192
"""How much of a text is looked at beyond what is shown of it: no secret that is cut is known by its half."""


def redact_text(text: str) -> str:
    """A sentence without the secrets that stand in it in a form that says so: in URLs, behind secret names,
    behind `Bearer`, or by what they look like; never fails.

    Errs on the side of redacting, as suits what an exception says; a line of a log, where `key=` names many a
    thing, has `redact_message`.
    """
    return _redacted(text, is_secret)


def redact_message(text: str) -> str:
    """As `redact_text`, for messages and the values of fields: behind names of fields."""
    return _redacted(text, is_secret_field, words=_WORDS)


def redact_form(text: str) -> str:
    """As `redact_text`, for what a form holds, whose names are those of a URL's parameters."""
    return _redacted(text, is_secret_parameter)


def _redacted(text: str, is_named: Callable[[str], bool], words: Set[str] = frozenset()) -> str:
    if not is_suspect(text):
        return patterns.redact(text) if patterns.has_any() else text
    if "://" in text or "?" in text:
        text = redact_urls(text)
    if "=" in text or ":" in text:
        text = _without_said(text, is_named, words)
    if "</" in text:
        text = _ELEMENT.sub(lambda found: _without_content(found, is_named), text)
    text = redact_shapes(text)
    return patterns.redact(text) if patterns.has_any() else text


# Parsers speak of another kind of token: "unexpected token: line 3".
_OF_PARSERS = ("unclosed ", "unexpected ", "unterminated ", "unmatched ", "unrecognized ")


def _without_content(found: re.Match[str], is_named: Callable[[str], bool]) -> str:
    if not found[2].strip() or not is_named(found[1].rpartition(":")[2]):
        return found[0]
    start = found.start(2) - found.start()
    return f"{found[0][:start]}{REDACTED}</"


def _without_said(text: str, is_named: Callable[[str], bool], words: Set[str]) -> str:
    """`text` without what it says of secret names. What is said of another name may be such a pair itself;
    of `words`, a sentence says something."""
    left: list[str] = []
    at = 0
    while (named := _NAMED.search(text, at)) is not None:
        left.append(text[at : named.end()])
        at = named.end()
        # A URL's scheme says nothing of what comes behind it.
        if not is_named(named[1]) or text.startswith("//", at):
            continue
        if named[3] == ":" and not named[2] and named[1].lower() in words:
            continue
        if named[1].lower() == "token" and text[: named.start()].lower().endswith(_OF_PARSERS):
            continue
        if named.start() and text[named.start() - 1] in "{<" and _CONVERTER.match(text, at):
            continue
        whole = any(each in named[1].lower() for each in _WHOLE_LINES)
        said = (_LINE.match(text, at) if whole else None) or _SAID.match(text, at)
        if (
            said is not None
            and not is_marker(said[0].strip("\\\"'"))
            and _PLACEHOLDER.fullmatch(said[0].rstrip(")")) is None
        ):
            left.append(REDACTED)
            at = said.end()
    return "".join([*left, text[at:]]) if left else text


def is_marker(text: str) -> bool:
    """Is it what stands for a secret already, ours or somebody else's?"""
    return _MARKER.fullmatch(text) is not None


def shortened_text(text: str, limit: int, *, end: bool = False) -> str:
    """At most `limit` characters of a text, its `end` or its beginning, redacted before it is cut."""
    if len(text) <= limit:
        return redact_text(encodable(text))
    if end:
        return redact_text(encodable(text[-limit - _MARGIN :]))[-limit:]
    return redact_text(encodable(text[: limit + _MARGIN]))[:limit]


def describe(error: BaseException) -> str | None:
    """What an exception says, as the description of a span's status: redacted, at most 1,024 characters; None
    where it says nothing."""
    try:
        return shortened_text(str(error), _MAX_DESCRIPTION) or None
    except Exception:  # a broken __str__ is the application's business
        return None
