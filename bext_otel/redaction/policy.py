"""What is redacted, for every signal: by names, by shapes, by the user's own names and patterns, and by a
callback of the user's that may only remove.

What has been looked at and has nothing to hide is remembered, within bounds, so that a value that comes again
costs one look into a set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from importlib import import_module
from typing import Any, Final, TypeAlias

from bext_otel.once import Once
from bext_otel.redaction.names import is_allowed, is_secret_field, use_names
from bext_otel.redaction.patterns import has_any, use_patterns
from bext_otel.redaction.shapes import is_card, is_suspect, redact_shapes
from bext_otel.redaction.texts import is_marker, redact_message
from bext_otel.text import encodable

__all__ = [
    "CLEAN",
    "HIDDEN",
    "LEAST_NUMBER",
    "STATES",
    "Callback",
    "is_ours_named",
    "is_pair",
    "known_name",
    "redact_attribute",
    "redact_attributes",
    "redact_body",
    "redact_number",
    "redact_value",
    "redact_whole",
    "safe_name",
    "safe_text",
    "state_of",
    "use_policy",
]

Callback: TypeAlias = Callable[[str, Any], object]
"""Is told a name and a value that the policy would let out; what is true of its answer removes that."""

HIDDEN: Final = "REDACTED[name]"
"""What stands for a value that has the name of a secret."""

_BY_CALLBACK: Final = "REDACTED[callback]"
_MARKERS = frozenset({HIDDEN, _BY_CALLBACK})
LEAST_NUMBER: Final = 10**12
"""Numbers below this are no cards'."""

_MOST_NUMBER: Final = 10**19

PLAIN, SECRET, ALLOWED = 0, 1, 2
STATES: Final[dict[str, int]] = {}
"""What is known of names of fields: 0 says that there is nothing to hide in it or under it by name."""

CLEAN: Final[set[str]] = set()
"""Texts that have nothing to hide and can be encoded."""

_MAX_KNOWN, _MAX_CLEAN, _MAX_LENGTH = 4096, 4096, 128
# Fields that we write without a look at each.
_OURS = ("app", "route", "request_id", "method", "path", "status", "duration_ms", "cache", "error_type")

_callback: Callback | None = None
_is_ours_named = False
_asking: ContextVar[bool] = ContextVar("bext_otel_redaction_asking", default=False)
_once = Once(8)


def _say_nothing(_: str) -> None:
    pass


_tell: Callable[[str], object] = _say_nothing


def use_policy(
    names: Iterable[str] = (),
    patterns: Iterable[str] = (),
    allow: Iterable[str] = (),
    callback: str | Callback = "",
    *,
    tell: Callable[[str], object] = _say_nothing,
) -> Callable[[], None]:
    """Redact by these from now on, in this process; what is returned goes back to the policy that holds by
    itself. What of it cannot be used is told, and left out."""
    global _callback, _is_ours_named, _tell
    _tell = tell
    use_names(names, allow)
    use_patterns(patterns, tell)
    _callback = _loaded(callback) if isinstance(callback, str) else callback
    STATES.clear()
    CLEAN.clear()
    _is_ours_named = _callback is not None or any(map(is_secret_field, _OURS))
    return _reset


def _reset() -> None:
    use_policy()


def _loaded(name: str) -> Callback | None:
    if not name:
        return None
    module, _, attribute = name.partition(":")
    try:
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
        if callable(found):
            return found  # type: ignore[no-any-return]  # whatever it answers
        why = "it cannot be called"
    except Exception as error:  # the application's module may do anything
        why = f"{type(error).__name__}: {error}"
    _tell(f"[redaction] callback = {name!r}: expected module:function ({why}); the other rules hold")
    return None


def is_ours_named() -> bool:
    """Has the user named a field that we write ourselves, or does a callback want to see them?"""
    return _is_ours_named


def state_of(name: str) -> int:
    """What is known of a field's name: see `STATES`."""
    if is_allowed(name):
        state = ALLOWED
    elif is_secret_field(name):
        state = SECRET
    else:
        state = PLAIN
    # One that is a secret itself is looked at each time.
    if len(STATES) < _MAX_KNOWN and len(name) <= _MAX_LENGTH and (state != PLAIN or safe_name(name) == name):
        STATES[name] = state
    return state


def safe_text(text: str) -> str:
    """A message, or a value under a name that hides nothing: without its secrets, and such that it can be
    encoded. Whoever asks has looked into `CLEAN`."""
    text = text if text.isascii() else encodable(text)
    safe = text if not is_suspect(text) and not has_any() else redact_message(text)
    if len(text) <= _MAX_LENGTH and safe == text:
        if len(CLEAN) >= _MAX_CLEAN:
            CLEAN.clear()
        CLEAN.add(text)
    return safe


def redact_body(text: str) -> str:
    """The message of a record, or a text that has no name."""
    return text if text in CLEAN else safe_text(text)


def redact_number(value: int | float) -> int | float | str:
    """A number, unless it is a card's."""
    if isinstance(value, int) and LEAST_NUMBER <= value < _MOST_NUMBER and is_card(str(value)):
        return "REDACTED[card]"
    return value


def redact_value(name: str, value: Any) -> Any:
    """A value of an attribute's kind, by its name and by itself; the same object where nothing is hidden."""
    state = STATES.get(name)
    if state is None:
        state = state_of(name)
    if state == ALLOWED:
        return value
    return _hidden(value) if state == SECRET else _inside(value)


def redact_attribute(name: str, value: Any) -> Any:
    """As `redact_value`, and then the callback is asked."""
    if type(value) is str and STATES.get(name) == PLAIN:  # as nearly all are
        safe = value if value in CLEAN else safe_text(value)
    else:
        safe = redact_value(name, value)
    return safe if _callback is None else _asked(name, safe)


def _hidden(value: Any) -> Any:
    """What is under the name of a secret. Truth values stay, and what somebody else has hidden."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if not value or is_marker(value) else HIDDEN
    if isinstance(value, (list, tuple)):
        # Headers are lists.
        return value if all(_hidden(each) is each for each in value) else [HIDDEN]
    return HIDDEN


def _inside(value: Any) -> Any:  # noqa: PLR0911  # a kind of value each
    if isinstance(value, str):
        return redact_body(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, (int, float)):
        return redact_number(value)
    if isinstance(value, Mapping):
        made = {name: redact_value(str(name), inner) for name, inner in value.items()}
        return value if all(made[name] is value[name] for name in made) else made
    if isinstance(value, (list, tuple)):
        if is_pair(value):
            return [value[0], HIDDEN]
        items = [_inside(item) for item in value]
        return value if all(map(_is, items, value)) else items
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _inside_bytes(bytes(value))
    return value


def _inside_bytes(value: bytes) -> bytes:
    text = value.decode("latin-1")
    safe = redact_message(text)
    return value if safe == text else safe.encode("latin-1", "replace")


def _is(one: object, other: object) -> bool:
    return one is other


def is_pair(value: Any) -> bool:
    """Is it the name of a secret and a value, as headers are listed?"""
    if len(value) != 2 or not value[1]:
        return False
    name = value[0].decode("latin-1") if isinstance(value[0], bytes) else value[0]
    return (
        isinstance(name, str)
        and isinstance(value[1], (str, bytes))
        and value[1] != HIDDEN
        and (STATES.get(name) or state_of(name)) == SECRET
    )


def redact_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of a span, an event, a link or a resource, in a dictionary of their own."""
    return {known_name(name): redact_attribute(str(name), value) for name, value in attributes.items()}


def redact_whole(body: Any, app: Any, attributes: Mapping[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """What a record says, whose work it is, and its fields, where all of them are to be looked at: see
    `is_ours_named`."""
    return (
        redact_attribute("message", body),
        redact_attribute("app", app),
        redact_attributes(attributes),
    )


def safe_name(name: str) -> str:
    """A field's name, without a secret in it."""
    return redact_shapes(name) if is_suspect(name) else name


def known_name(name: object) -> str:
    """The same of any name, without a look at those that are known."""
    text = str(name)
    return text if text in STATES else safe_name(text)


def _removed(fields: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Fields without what the callback removes: it is asked for each value, also inside of others, under the
    names that lead to it with dots between."""
    return {name: _asked(f"{above}{name}", value) for name, value in fields.items()}


def _asked(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return _removed(value, f"{name}.")
    if isinstance(value, (list, tuple)):
        return [_asked(name, item) for item in value]
    callback = _callback
    if callback is None or value is None or value in _MARKERS or _asking.get():  # it logs itself
        return value
    token = _asking.set(True)
    try:
        return _BY_CALLBACK if callback(name, value) else value
    except Exception as error:  # what it would have said is not known, so the value stays here
        if _once.is_first(type(error).__name__):
            _tell(
                f"[redaction] callback: {type(error).__name__}: {error}"[:300]
                + "; what it fails for is removed"
            )
        return _BY_CALLBACK
    finally:
        _asking.reset(token)
