"""A declarative configuration as it is read: each part remembers which of its keys somebody has asked for, so
that none is without effect in silence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

__all__ = ["Keys"]

_DEVELOPMENT = "_development"


class Keys:
    """A part of the model, and where it stands. Keys have the model's names (`console`,
    `prometheus_development`); one whose value is null is there where its part may be empty."""

    def __init__(self, model: Any, path: str = "", asked: set[str] | None = None) -> None:
        self.model = model
        self.path = path
        # Paths of values that count, and, with `.*` behind them, of parts that count as a whole.
        self._asked: set[str] = set() if asked is None else asked

    def value(self, name: str) -> Any:
        """What a key says, as the file has it; None if it is not there."""
        found = dict(_children(self.model)).get(name)
        if found is not None:
            self._asked.add(self._below(name))
        return getattr(found, "value", found) if not isinstance(found, dict) else found

    def part(self, name: str) -> Keys | None:
        """The part of this name, which may be empty; None if it is not there."""
        found = dict(_children(self.model)).get(name)
        if found is None:
            return None
        self._asked.add(self._below(name))
        return Keys(found, self._below(name), self._asked)

    def parts(self, name: str) -> list[Keys]:
        """The elements of a list."""
        part = self.part(name)
        return [] if part is None else [part._element(number) for number in range(len(part.model))]

    def _element(self, number: int) -> Keys:
        path = f"{self.path}[{number}]"
        self._asked.add(path)
        return Keys(self.model[number], path, self._asked)

    def other(self) -> tuple[str, Any] | None:
        """The name and the properties of a component that the schema does not know; None if there is none."""
        for name, properties in getattr(self.model, "additional_properties", {}).items():
            self._asked.add(f"{self._below(name)}.*")
            return str(name), properties or {}
        return None

    def whole(self, *without: str) -> Any:
        """The model, all of which counts, but for keys of these names wherever they are."""
        for path, key in _leaves(self.model, self.path):
            if not set(without).intersection(key):
                self._asked.add(path)
        return self.model

    def without_effect(self) -> Iterator[str]:
        """Where there is something that nobody has asked for."""
        for path, _ in _leaves(self.model, self.path):
            if path not in self._asked and not any(
                path.startswith(each[:-1]) or path == each[:-2] for each in self._asked if each.endswith(".*")
            ):
                yield path

    def _below(self, name: str) -> str:
        return _joined(self.path, name)


def _joined(path: str, name: str) -> str:
    shown = f"{name.removesuffix(_DEVELOPMENT)}/development" if name.endswith(_DEVELOPMENT) else name
    return f"{path}.{shown}" if path else shown


def _children(model: Any) -> Iterator[tuple[str, Any]]:
    if is_dataclass(model):
        for each in fields(model):
            if (value := getattr(model, each.name)) is not None:
                yield each.name, value
        yield from getattr(model, "additional_properties", {}).items()
    elif isinstance(model, Mapping):
        yield from ((str(name), value) for name, value in model.items())


def _leaves(model: Any, path: str, keys: tuple[str, ...] = ()) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The path of each value, and of each part that is empty, with the keys on the way."""
    if isinstance(model, list) and model and (is_dataclass(model[0]) or isinstance(model[0], dict)):
        for number, element in enumerate(model):
            yield from _leaves(element, f"{path}[{number}]", keys)
        return
    below = list(_children(model))
    for name, value in below:
        yield from _leaves(value, _joined(path, name), (*keys, name))
    if not below and path:
        yield path, keys
