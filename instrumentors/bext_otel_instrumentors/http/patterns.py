"""Route templates of what is routed by regular expressions."""

from __future__ import annotations

import re

__all__ = ["template_of"]

_ANCHORS = {"^", "$"}
_NAMED = re.compile(r"\?P?<(\w+)>")
_ESCAPED = re.compile(r"\\([^\w])")


def template_of(pattern: str) -> str:
    """The template of a regular expression that paths are matched with: a group with a name is `{name}`, one
    that may be missing is left out, and so are anchors. What is neither stands as it is written.

    `^/(?P<database>[^/]+)/(?P<table>[^/]+?)(\\.(?P<format>\\w+))?$` is `/{database}/{table}`.
    """
    template, at = "", 0
    while at < len(pattern):
        character = pattern[at]
        if character == "\\":
            template += _ESCAPED.sub(r"\1", pattern[at : at + 2])
            at += 2
        elif character == "(":
            end = _end_of_group(pattern, at)
            inner, is_optional = pattern[at + 1 : end], pattern[end + 1 : end + 2] in {"?", "*"}
            template += _group(inner, is_optional=is_optional)
            at = end + 1 + is_optional
        else:
            template += "" if character in _ANCHORS else character
            at += 1
    return template


def _group(inner: str, *, is_optional: bool) -> str:
    if (named := _NAMED.match(inner)) is not None:
        return f"{{{named[1]}}}"
    if is_optional or inner.startswith(("?=", "?!", "?<")):  # looking around takes nothing of the path
        return ""
    plain = inner.removeprefix("?:")
    return f"({inner})" if "|" in plain else template_of(plain)


def _end_of_group(pattern: str, start: int) -> int:
    """Where the group that begins at `start` ends."""
    depth, at, in_class = 0, start, False
    while at < len(pattern):
        character = pattern[at]
        if character == "\\":
            at += 1
        elif in_class:
            in_class = character != "]" or pattern[at - 1] in "[^"
        elif character == "[":
            in_class = True
        elif character in "()":
            depth += 1 if character == "(" else -1
            if not depth:
                return at
        at += 1
    return len(pattern)
