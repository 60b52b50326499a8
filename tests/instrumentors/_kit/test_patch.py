"""Replacing attributes of classes, and putting them back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bext_otel_instrumentors._kit.patch import Patches


class Base:
    def name(self) -> str:
        return "base"


class Derived(Base):
    pass


def louder(original: Callable[..., str]) -> Callable[..., str]:
    return lambda *args: original(*args).upper()


def test_what_was_there_is_put_back() -> None:
    patches, before = Patches(), vars(Base)["name"]
    patches.wrap(Base, "name", louder)
    assert "BASE" == Base().name()
    patches.undo()
    assert before is vars(Base)["name"]


def test_an_inherited_attribute_is_inherited_again() -> None:
    patches = Patches()
    patches.wrap(Derived, "name", louder)
    assert ("BASE", "base") == (Derived().name(), Base().name())
    patches.undo()
    assert "name" not in vars(Derived)


def test_several_are_undone_in_reverse() -> None:
    patches, before = Patches(), vars(Base)["name"]
    for _ in range(3):
        patches.wrap(Base, "name", louder)
    patches.undo()
    assert before is vars(Base)["name"]
    patches.undo()
    assert before is vars(Base)["name"]


def test_what_somebody_else_put_there_since_is_theirs() -> None:
    patches, before = Patches(), vars(Base)["name"]
    patches.wrap(Base, "name", louder)
    theirs: Any = lambda self: "theirs"  # noqa: E731  # a patch of somebody else's
    Base.name = theirs  # type: ignore[method-assign]
    try:
        patches.undo()
        assert theirs is vars(Base)["name"]
    finally:
        Base.name = before  # type: ignore[method-assign]
