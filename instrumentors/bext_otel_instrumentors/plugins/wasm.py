"""What is known about WebAssembly from outside: the name that a module's text begins with, and the fuel that
a call burns."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["Burning", "burn", "burned", "refueling", "text_name"]

# What may stand before the name are spaces and comments.
_TEXT = re.compile(rb"(?:\s|;;[^\n]*\n|\(;.*?;\))*\(\s*(?:module|component)\s+\$([^\s()\";]+)", re.DOTALL)


def text_name(wasm: str | bytes | bytearray) -> str:
    """The name after `(module` in a module's or component's text; "" if there is none, or if this is a
    binary."""
    found = _TEXT.match(wasm.encode() if isinstance(wasm, str) else wasm)
    return found.group(1).decode("utf-8", "replace").removesuffix(".wasm") if found else ""


class Burning:
    """A call that burns fuel of a store: what it had burned when the fuel was last read, and how much was
    left then."""

    __slots__ = ("burned", "left")

    def __init__(self, left: int) -> None:
        self.burned = 0
        self.left = left

    def read(self, left: int) -> None:
        """`left` are left now."""
        self.burned += max(self.left - left, 0)
        self.left = left


# The calls under way in a store, the innermost last, are kept on it: a store has one thread at a time, and
# ends with its calls.
_CALLS = "_bext_burning"


def burn(store: Any) -> Burning | None:
    """A call begins. None where nobody counts: the engine does not, or the host was called back and has no
    store at hand."""
    calls: Any = getattr(store, _CALLS, None)
    if calls is None:
        if not hasattr(store, "get_fuel"):
            return None
        try:
            store.get_fuel()
            calls = []
        except Exception:  # the engine counts no fuel, as long as the store lives
            setattr(store, _CALLS, ())
            return None
        setattr(store, _CALLS, calls)
    elif calls == ():
        return None
    left = store.get_fuel()
    if calls:
        calls[-1].read(left)
    calls.append(call := Burning(left))
    return call


def burned(store: Any, call: Burning) -> None:
    """The call has ended: `call.burned` is what it burned, without what calls from within it did, which count
    for themselves."""
    left = store.get_fuel()
    call.read(left)
    calls: list[Burning] = getattr(store, _CALLS)
    while calls.pop() is not call:
        pass  # of an inner call that could not be read at its end
    if calls:
        calls[-1].left = left


def refueling(store: Any) -> Burning | None:
    """The store is about to be given other fuel: the call under way, whose fuel that is; set its `left`
    afterwards."""
    calls = getattr(store, _CALLS, None)
    if not calls:
        return None
    call: Burning = calls[-1]
    call.read(store.get_fuel())
    return call
