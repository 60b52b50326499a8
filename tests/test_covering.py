"""What stands instead of a function or a method, and what is left when it goes."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import types
from collections.abc import Callable
from typing import Any

from bext_otel.covering import cover


class Base:
    def greet(self, name: str = "you") -> str:
        return f"hello {name}"


class Derived(Base):
    async def wait(self) -> str:
        return "done"


def louder(original: Callable[..., str], *args: Any, **kwargs: Any) -> str:
    return original(*args, **kwargs).upper()


def test_a_method_is_covered_and_uncovered() -> None:
    undo = cover(Base, "greet", louder)
    covered = Base().greet(name="me"), Base.greet.__name__, pickle.loads(pickle.dumps(Base().greet))()
    undo()
    undo()
    assert ("HELLO ME", "greet", "HELLO YOU") == covered
    assert "hello you" == Base().greet()


def test_a_function_of_a_module_is_covered() -> None:
    module = types.ModuleType("shop")
    module.sell = lambda: "sold"  # type: ignore[attr-defined]
    undo = cover(module, "sell", louder)
    assert "SOLD" == module.sell()
    undo()
    assert "sold" == module.sell()


def test_what_was_inherited_is_inherited_again() -> None:
    undo = cover(Derived, "greet", louder)
    assert ("HELLO YOU", "hello you") == (Derived().greet(), Base().greet())
    undo()
    assert "greet" not in vars(Derived)


def test_a_coroutine_function_stays_one() -> None:
    heard: list[str] = []

    def told(original: Callable[..., Any], waiting: Derived) -> Any:
        heard.append("told")
        return original(waiting)

    undo = cover(Derived, "wait", told)
    assert inspect.iscoroutinefunction(Derived.wait)
    assert ("done", ["told"]) == (asyncio.run(Derived().wait()), heard)
    undo()


def test_what_somebody_has_put_in_our_place_stays_and_we_are_silent_below_it() -> None:
    before = Base.greet
    undo = cover(Base, "greet", louder)
    ours = Base.greet
    Base.greet = lambda self: f"{ours(self)}!"  # type: ignore[method-assign,assignment]
    try:
        assert "HELLO YOU!" == Base().greet()
        undo()
        assert "hello you!" == Base().greet()
    finally:
        Base.greet = before  # type: ignore[method-assign]
