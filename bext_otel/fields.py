"""Fields of the application's own on every line of the work that they are bound in.

    bext_otel.bind(tenant="acme")            # until the request, or the task, ends
    with bext_otel.bind(tenant="acme"): ...  # for the body
    @bext_otel.bind(tenant="acme")           # for each call

They travel with OpenTelemetry's context, so they are where the trace is. A request or a task keeps those that
are bound by a call in itself: whoever binds in a thread of its own, or in a framework's copy of the context,
is heard at its end too. They are bounded, redacted where they are bound, and never labels of metrics.

Knows the OpenTelemetry API only.
"""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from types import TracebackType
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

from opentelemetry import baggage, context, trace
from opentelemetry.context import Context, create_key, set_value

from bext_otel.once import Once
from bext_otel.process import on_fork
from bext_otel.redaction import REDACTED, is_secret, redact_value
from bext_otel.redaction.policy import known_name
from bext_otel.text import encodable

__all__ = [
    "HOLDER",
    "Binding",
    "FieldSettings",
    "Holder",
    "Value",
    "add_to",
    "bind",
    "bound",
    "carried",
    "fields_of",
    "figures",
    "in_context",
    "keep",
    "keep_all",
    "let_go",
    "read_too",
    "restored",
    "use",
    "used",
]

Value: TypeAlias = "str | int | float | bool | None"
F = TypeVar("F", bound=Callable[..., Any])

HOLDER = create_key("bext-otel-exchange")
"""Under which a context has the work that keeps fields by itself: something with an attribute `fields`."""

_FIELDS = create_key("bext-otel-fields")

MAX_FIELDS = 32
MAX_NAME = 64
MAX_VALUE = 256
"""How many fields work may have, and how many characters a name and a value."""
_MAX_CARRIED = 4096
# Of a longer text nobody reads more.
_MAX_LOOKED_AT = 4096
_LEAST, _MOST = -(2**63), 2**63 - 1

_log = logging.getLogger("bext_otel")
_once = Once(100)


class FieldSettings(NamedTuple):
    """What the operator decided: keys of baggage that are fields, and the fields that spans show and that
    tasks inherit."""

    baggage: tuple[str, ...] = ()
    spans: frozenset[str] = frozenset()
    tasks: frozenset[str] = frozenset()


class Holder:
    """Work that keeps the fields that are bound in it."""

    __slots__ = ("fields",)

    def __init__(self, fields: Mapping[str, Value] | None = None) -> None:
        self.fields = fields


_settings = FieldSettings()
used = False
"""Whether there can be a field at all: something was bound, or there is baggage to be shown. Lines look at it
first."""

_dropped = 0
# Reads fields that a library keeps for its user: structlog's.
_others: Callable[[], Mapping[str, Any]] | None = None


def _in_child() -> None:
    global _dropped
    _dropped = 0


on_fork(in_child=_in_child)


def use(settings: FieldSettings) -> None:
    """Put settings in force."""
    global _settings, used
    _settings = settings
    used = used or bool(settings.baggage)


def read_too(others: Callable[[], Mapping[str, Any]] | None) -> None:
    """Have lines show what `others` says is bound here, too."""
    global _others, used
    _others = others
    used = used or others is not None


def figures() -> Mapping[str, int]:
    """How many fields there was no room for in this process; nothing while there was."""
    return {"log_fields_dropped": _dropped} if _dropped else {}


class Binding:
    """Fields that are bound now; left as a context manager, plain or `async`, they are bound no longer. Of a
    function that it decorates, each call has them."""

    def __init__(self, fields: Mapping[str, Value]) -> None:
        self._fields = fields
        here = context.get_current()
        self._holder: Any = here.get(HOLDER)
        self._kept: Mapping[str, Value] = getattr(self._holder, "fields", None) or {}
        self._inner: Any = here.get(_FIELDS)
        self._tokens: list[Any] = []
        keep(fields)

    def _undo_call(self) -> None:
        """It was no call that binds until the work ends."""
        mine = self._fields
        if self._holder is not None and mine:
            # Another thread of this work may have bound something since.
            others = {name: value for name, value in (self._holder.fields or {}).items() if name not in mine}
            self._holder.fields = {
                **others,
                **{name: self._kept[name] for name in mine if name in self._kept},
            }
        if context.get_current().get(_FIELDS) is not self._inner:
            context.attach(set_value(_FIELDS, self._inner))

    def __enter__(self) -> None:
        self._undo_call()
        self._tokens.append(context.attach(in_context(self._fields)))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._tokens:
            context.detach(self._tokens.pop())

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, function: F) -> F:
        self._undo_call()
        fields = self._fields
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"{getattr(function, '__name__', 'it')} is a generator, and its caller decides when it goes "
                "on: use `with` inside of it"
            )
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                token = context.attach(in_context(fields))
                try:
                    return await function(*args, **kwargs)
                finally:
                    context.detach(token)

            return cast("F", awaited)

        @wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            token = context.attach(in_context(fields))
            try:
                return function(*args, **kwargs)
            finally:
                context.detach(token)

        return cast("F", called)


def bind(**fields: object) -> Binding:
    """Have every line of the current work say these fields: `bind(tenant="acme")`.

    As a call, until the request or the task ends, its own line included; outside of both, until the enclosing
    `operation`, step or thread does. As a context manager, or as a decorator, for the body.

    Values are text (at most 256 characters), numbers, truth values or None; anything else is its text. A
    secret by its name is `REDACTED`. Work has at most 32 fields; those that there is no room for are one
    line, and counted. What a line itself says under such a name stands. Never raises.
    """
    return Binding(_made(fields))


def bound() -> dict[str, Value]:
    """The fields that are bound here, for a formatter or a processor of one's own."""
    return fields_of(context.get_current())


def keep_all(fields: Mapping[str, object]) -> None:
    """As a call of `bind`, of fields that a library was given."""
    keep(_made(fields))


def keep(fields: Mapping[str, Value]) -> None:
    """Bind fields until the work ends."""
    if not fields:
        return
    global used
    used = True
    here = context.get_current()
    holder: Any = here.get(HOLDER)
    inner: Any = here.get(_FIELDS)
    if holder is not None:
        holder.fields = _merged(holder.fields, fields)
    if holder is None or inner:
        context.attach(in_context(fields))
    _show(fields, holder)


def let_go(names: Iterable[str]) -> None:
    """Bind these fields no longer, here and in the work that keeps them."""
    here = context.get_current()
    gone = frozenset(names)
    holder: Any = here.get(HOLDER)
    if holder is not None and holder.fields:
        holder.fields = {name: value for name, value in holder.fields.items() if name not in gone}
    inner: Any = here.get(_FIELDS)
    if inner and not gone.isdisjoint(inner):
        left = {name: value for name, value in inner.items() if name not in gone}
        context.attach(set_value(_FIELDS, left, here))


def in_context(fields: Mapping[str, Value], above: Context | None = None) -> Context:
    """`above` (default: the current context) with these fields as well."""
    global used
    used = True
    here = context.get_current() if above is None else above
    before: Any = here.get(_FIELDS)
    return set_value(_FIELDS, _merged(before, fields), here)


def _merged(before: Mapping[str, Value] | None, fields: Mapping[str, Value]) -> Mapping[str, Value]:
    if not before:
        return fields
    merged = {**before, **fields}
    if len(merged) <= MAX_FIELDS:
        return merged
    _drop(len(merged) - MAX_FIELDS)
    return dict(list(merged.items())[:MAX_FIELDS])


def _drop(count: int) -> None:
    global _dropped
    _dropped += count
    if _once.is_first("room"):
        _log.warning(
            "more than %d fields are bound to one piece of work: the last ones are left out; bind fewer",
            MAX_FIELDS,
        )


def _made(given: Mapping[str, object]) -> dict[str, Value]:
    """Fields as lines may show them."""
    made: dict[str, Value] = {}
    for given_name, value in given.items():
        if len(made) >= MAX_FIELDS:
            _drop(len(given) - len(made))
            break
        name = known_name(encodable(str(given_name)[:_MAX_LOOKED_AT]))[:MAX_NAME]
        made[name] = REDACTED if value is not None and is_secret(name) else _safe(name, value)
    return made


def _safe(name: str, given: object) -> Value:
    """Redacted before it is cut, since half of a secret is one as well."""
    value = _value(given)
    safe: Value = value if value is None else redact_value(name, value)
    return safe[:MAX_VALUE] if isinstance(safe, str) else safe


def _value(value: object) -> Value:
    kind = type(value)
    if kind is bool or kind is float or value is None or (kind is int and _LEAST <= value <= _MOST):  # type: ignore[operator]
        return value  # type: ignore[return-value]  # as its type says
    try:
        text = str.__str__(value) if isinstance(value, str) else str(value)
    except Exception:  # the application's own code; the line matters more
        text = f"<unprintable {kind.__name__}>"
    return encodable(text[:_MAX_LOOKED_AT])


def _show(fields: Mapping[str, Value], holder: Any) -> None:
    """On the current span and on the request's, those that the operator wants there."""
    if not _settings.spans:
        return
    shown = {name: value for name, value in fields.items() if name in _settings.spans and value is not None}
    spans = {id(span): span for span in (trace.get_current_span(), getattr(holder, "span", None)) if span}
    for span in spans.values() if shown else ():
        span.set_attributes(shown)


def fields_of(of: Context) -> dict[str, Value]:
    """The fields that are bound in a context, the innermost last."""
    found: dict[str, Value] = {}
    for key in _settings.baggage:
        value = baggage.get_baggage(key, of)
        if value is not None:
            found |= _made({key: value})
    holder: Any = of.get(HOLDER)
    if holder is not None and (held := holder.fields):
        found |= held
    if _others is not None and (others := _others()):
        found |= _made(others)
    inner: Any = of.get(_FIELDS)
    if inner:
        found |= inner
    return found


def add_to(attributes: dict[str, Any], of: Context) -> None:
    """Add the fields of a context to what a line says; what it says itself stands."""
    for name, value in fields_of(of).items():
        if name not in attributes:
            attributes[name] = value


def carried(of: Context) -> str:
    """The fields that tasks inherit, as text for a message; empty if there are none."""
    if not (used and _settings.tasks):
        return ""
    fields = {name: value for name, value in fields_of(of).items() if name in _settings.tasks}
    return json.dumps(fields) if fields else ""


def restored(text: object) -> dict[str, Value]:
    """The fields of such text, whoever wrote it: those that tasks inherit here, too; lines look for them."""
    if not (_settings.tasks and isinstance(text, str) and 0 < len(text) <= _MAX_CARRIED):
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    made = _made({name: value for name, value in found.items() if name in _settings.tasks})
    if made:  # a worker may bind nothing itself
        global used
        used = True
    return made
