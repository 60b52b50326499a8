"""Patterns of the user's own, matched in a time that is in proportion to the text.

By RE2, where the package google-re2 is installed. Without it by Python's engine, which tries every way there
is: so a pattern must leave no choice (see `choices`), the text is looked at in windows, and there is a limit
of time, beyond which the rest of a text is taken away.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any, TypeAlias

__all__ = ["MARKER", "has_any", "redact", "use_patterns"]

MARKER = "REDACTED[pattern]"
"""What stands for what a pattern of the user's has matched."""

_STEP, _WINDOW = 1024, 2048
_MAX_SECONDS = 0.05
_MAX_PATTERN = 512
_Redact: TypeAlias = Callable[[str], str]

_active: tuple[_Redact, ...] = ()


def has_any() -> bool:
    """Are there any?"""
    return bool(_active)


def use_patterns(given: Iterable[str], tell: Callable[[str], object]) -> None:
    """Take these. One that cannot be used is told, and left out."""
    global _active
    made = []
    for pattern in given:
        try:
            made.append(_made(pattern))
        except ValueError as error:
            tell(f"[redaction] patterns: {pattern!r}: {error}; ignored")
    _active = tuple(made)


def redact(text: str) -> str:
    """`text` without what the patterns match."""
    for each in _active:
        text = each(text)
    return text


def _made(pattern: str) -> _Redact:
    if len(pattern) > _MAX_PATTERN:
        raise ValueError(f"expected at most {_MAX_PATTERN} characters")
    compiled: Any
    try:
        import re2
    except Exception:  # not installed, or without its library
        compiled, is_linear = _of_python(pattern), False
    else:
        compiled, is_linear = _of_re2(re2, pattern), True
    if compiled.search("") is not None:
        raise ValueError("expected a pattern that does not match an empty text")
    if is_linear:
        return lambda text: str(compiled.sub(MARKER, text))
    return lambda text: _in_windows(compiled, text)


def _of_re2(re2: Any, pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except Exception as error:  # its own class, which is no ValueError
        raise ValueError(f"expected a regular expression of RE2 ({_said(error)})") from None


def _of_python(pattern: str) -> re.Pattern[str]:
    try:
        with warnings.catch_warnings():  # which may be errors
            warnings.simplefilter("ignore")
            compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"expected a regular expression ({error})") from None
    from bext_otel.redaction.choices import leaves_no_choice  # what it knows of Python's engine weighs

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        is_safe = leaves_no_choice(pattern)
    if not is_safe:
        raise ValueError(
            "matching it may take for ever, since it can be done in several ways; write it so that what "
            "follows a repeated part cannot be in that part, or install google-re2 (bext-otel[redaction])"
        )
    return compiled


def _said(error: BaseException) -> str:
    said = error.args[0] if error.args else error
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)


def _in_windows(pattern: re.Pattern[str], text: str) -> str:
    """Matches of up to `_STEP` characters are found wherever they are, longer ones where a window begins
    before; from where the time is over, everything is taken away."""
    left: list[str] = []
    at = begun = 0
    until = perf_counter() + _MAX_SECONDS
    while at < len(text):
        found = pattern.search(text, at, at + _WINDOW)
        if found is not None and found.end() == at + _WINDOW:
            found = pattern.match(text, found.start()) or found
        if found is None or found.end() == found.start():
            at += _STEP
        else:
            left += text[begun : found.start()], MARKER
            at = begun = found.end()
        if at < len(text) and perf_counter() > until:
            left += text[begun:at], "REDACTED[time]"
            begun = len(text)
            break
    return "".join([*left, text[begun:]]) if left else text
