"""One setting: its description, what it takes in words, and a raw value made into a checked one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import inspect

from bext_otel.config.model import COMPUTED
from bext_otel.redaction import SECRET, redact_settings, redact_url

__all__ = ["Field", "Wrong", "built", "field_at", "fields_of", "shown", "toml", "words"]

# `yes` and `on` are for BEXT_ variables only; the standard ones know "true" alone, and msgspec "true",
# "false", "1" and "0".
_BOOLEANS: Mapping[str, bool] = {"yes": True, "on": True, "no": False, "off": False}
_ALIASES: Mapping[str, str] = {"warning": "warn"}
_MAX_SHOWN = 120
_S = TypeVar("_S", bound=msgspec.Struct)
StructType: TypeAlias = type[msgspec.Struct]


class Wrong(Exception):  # noqa: N818  # never leaves this package
    """A value is not what its setting takes; the message says what would be."""


class Field(msgspec.Struct, frozen=True):
    """A setting, or an element of one.

    `hint` is its type with constraints, `type` the same as msgspec sees it, `extra` what else is known:
    `unit`, `example`, `expected` (what it takes, where type and constraints do not say it), `secret`, `check`
    (what the type can't say), `alone` (a list of one may be written as that one), `in_doubt` (what holds
    where it is wrong, if the next layer's word would be less safe).
    """

    name: str
    hint: Any
    type: inspect.Type
    default: Any = None
    description: str = ""
    extra: Mapping[str, Any] = msgspec.field(default_factory=lambda: MappingProxyType({}))

    @property
    def secret(self) -> bool:
        """Whether the value may never be shown."""
        return bool(self.extra.get("secret"))

    @property
    def is_table(self) -> bool:
        """Whether the setting is a table of its own, such as `[metrics.budgets]`."""
        return isinstance(self.type, inspect.DictType)

    @property
    def struct(self) -> StructType | None:
        """The settings that it holds, where it is a table of settings of its own; where `is_table`, those of
        each of its entries."""
        if self.is_table:
            return self.element.struct
        return self.type.cls if isinstance(self.type, inspect.StructType) else None

    @property
    def is_list(self) -> bool:
        """Whether the setting is a list."""
        return isinstance(self.type, inspect.VarTupleType)

    @property
    def element(self) -> Field:
        """What a value of the table, or an element of the list, is."""
        arguments = get_args(_bare(self.hint))
        return _field(self.name, arguments[1] if self.is_table else arguments[0], None)

    def expected(self, scale: float = 1.0, unit: str = "") -> str:
        """What the setting takes, in words; `scale` and `unit` for a variable in another unit than the
        setting's."""
        text = self.extra.get("expected") or _kind(
            self.hint, self.type, scale, unit or self.extra.get("unit", "")
        )
        example = self.extra.get(
            "example", None if isinstance(self.type, inspect.LiteralType) else self.default
        )
        if example in (None, "", ()) or isinstance(example, bool):
            return text
        return (
            f"{text}, e.g. {_number(example * scale) if isinstance(example, (int, float)) else toml(example)}"
        )

    def as_list(self, raw: Any) -> list[Any] | tuple[Any, ...] | None:
        """`raw` as the elements of the list that the setting is; None where it is none."""
        if self.extra.get("alone") and isinstance(raw, str):
            return words(raw)
        return raw if self.is_list and isinstance(raw, (list, tuple)) else None

    def convert(self, raw: Any, *, text: bool = False) -> Any:
        """`raw` as the setting's type; `text` for a value of the environment, which is always a string.
        Raises Wrong."""
        if isinstance(raw, os.PathLike):
            raw = os.fspath(raw)
        if (
            isinstance(self.type, inspect.LiteralType)
            and isinstance(raw, (list, tuple))
            and all(isinstance(each, str) for each in raw)
        ):
            raw = ",".join(raw)
        if isinstance(raw, str):
            _check_text(raw)
            raw = self._from_text(raw, text=text)
        try:
            value = msgspec.convert(raw, self.hint, strict=not text)
        except (msgspec.ValidationError, ValueError, OverflowError, TypeError):
            raise Wrong(self.expected()) from None
        if (check := self.extra.get("check")) is not None and not check(value):
            raise Wrong(self.expected())
        return value

    def _from_text(self, raw: str, *, text: bool) -> Any:
        if isinstance(self.type, inspect.LiteralType):
            # Several of them in one are named in any order, with a blank or without.
            folded = ",".join(sorted(map(str.strip, raw.lower().split(",")), reverse=True))
            return _ALIASES.get(folded, folded)
        if text and self.is_list:
            return words(raw)
        if text and isinstance(self.type, inspect.BoolType):
            return _BOOLEANS.get(raw.lower(), raw)
        if text and isinstance(self.type, inspect.IntType) and not raw.lstrip("+-").isdecimal():
            raise Wrong(self.expected())  # msgspec would take 1e3 and 5.0
        return raw


def words(text: str) -> list[str]:
    """Words between commas; a list as the file has it is taken too."""
    return [word for part in text.strip("[]() ").split(",") if (word := part.strip(" \"'"))]


@cache
def fields_of(struct: type[msgspec.Struct]) -> Mapping[str, Field]:
    """The settings of a section, in declared order."""
    hints = get_type_hints(struct, include_extras=True)
    defaults = msgspec.structs.asdict(struct())
    return {name: _field(name, hint, defaults[name]) for name, hint in hints.items() if name not in COMPUTED}


def field_at(struct: type[msgspec.Struct], path: Sequence[str]) -> Field | None:
    """The setting at `path` below a section, in tables of it too; None where that is a table of settings."""
    field = fields_of(struct)[path[0]]
    rest = path[1:]
    if field.is_table and rest:
        field, rest = field.element, rest[1:]
    if field.struct is not None and not field.is_table:
        return field_at(field.struct, rest) if rest else None
    return field


def built(struct: type[_S], values: Mapping[str, Any]) -> _S:
    """A section of checked values, nested as the file is."""
    made: dict[str, Any] = {}
    for name, value in values.items():
        field = fields_of(struct)[name]
        if field.struct is None:
            made[name] = value
        elif field.is_table:
            made[name] = {entry: built(field.struct, each) for entry, each in value.items()}
        else:
            made[name] = built(field.struct, value)
    return struct(**made)


def shown(value: Any, *, secret: bool = False) -> str:
    """A value for a person to read: on one line, not too long, never a secret."""
    if secret:
        return SECRET
    text = repr(redact_url(value) if isinstance(value, str) else redact_settings({"": value})[""])
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def toml(value: Any) -> str:
    """A value as it is written in the file; empty where it can't be."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, str):
        return f'"{value}"'
    return _number(value) if isinstance(value, (int, float)) else str(value)


def _field(name: str, hint: Any, default: Any) -> Field:
    extra: dict[str, Any] = {}
    description = ""
    for meta in get_args(hint)[1:] if get_origin(hint) is Annotated else ():
        extra.update(meta.extra or {})
        description = meta.description or description
    seen = inspect.type_info(hint)
    kind = seen.type if isinstance(seen, inspect.Metadata) else seen
    if isinstance(kind, inspect.UnionType):  # or None, which nobody can write: not set
        kind = kind.types[0]
    return Field(name, hint, kind, default, description, extra)


def _check_text(text: str) -> None:
    """No system call and no exporter takes NUL, or text that is not UTF-8 (which arrives in variables as lone
    surrogates)."""
    try:
        if b"\0" not in text.encode():
            return
    except UnicodeEncodeError:
        pass  # the same remedy
    raise Wrong("text in UTF-8, without NUL")


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


_KINDS: Mapping[type[inspect.Type], str] = {
    inspect.BoolType: "true or false",
    inspect.VarTupleType: "a list",
    inspect.DictType: "a table",
}


def _kind(hint: Any, kind: inspect.Type, scale: float, unit: str) -> str:
    if isinstance(kind, inspect.LiteralType):
        return f"one of {', '.join(toml(value) for value in get_args(_bare(hint)) if value)}"
    if isinstance(kind, (inspect.IntType, inspect.FloatType)):
        number = "a whole number" if isinstance(kind, inspect.IntType) and scale == 1 else "a number"
        low, high = (_number((limit or 0) * scale) for limit in (kind.ge, kind.le))
        return f"{number}{f' of {unit}' if unit else ''} from {low} to {high}"
    if isinstance(kind, inspect.StrType):
        return "a text that is not empty" if kind.min_length else "a text"
    return _KINDS[type(kind)]


def _number(value: float) -> str:
    return f"{value:.15g}"
