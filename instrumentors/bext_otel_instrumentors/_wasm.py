"""What is known about WebAssembly from outside: the name that a binary gives itself, and the fuel that a call burns."""

from __future__ import annotations

import re
from typing import Any, Protocol

__all__ = ["Burning", "binary_name", "burn", "burned", "refueling"]

_MAGIC = b"\0asm"
# Of the text format: what may stand before the name are spaces and comments.
_TEXT = re.compile(rb"(?:\s|;;[^\n]*\n|\(;.*?;\))*\(\s*(?:module|component)\s+\$([^\s()\";]+)", re.DOTALL)
_NAME_SECTIONS = (b"name", b"component-name")


def binary_name(wasm: str | bytes | bytearray) -> str:
    """The name in a module's or component's name section, or after `(module` in its text; "" if there is none.

    Sections and their sizes are those of the core specification, 5.5 Modules and 7.4.1 Name Section; components have the same frame.
    """
    data = wasm.encode() if isinstance(wasm, str) else bytes(wasm)
    if not data.startswith(_MAGIC):
        found = _TEXT.match(data)
        name = found.group(1) if found else b""
    else:
        try:
            name = _named(data)
        except IndexError:  # cut short; the engine says so better
            name = b""
    return name.decode("utf-8", "replace").removesuffix(".wasm")


def _named(data: bytes) -> bytes:
    place = 8
    while place < len(data):
        kind = data[place]
        size, place = _number(data, place + 1)
        if kind == 0:
            title, inside = _text(data, place)
            # The name of the whole is the first subsection, if it is there at all.
            if title in _NAME_SECTIONS and data[inside] == 0:
                return _text(data, _number(data, inside + 1)[1])[0]
        place += size
    return b""


def _text(data: bytes, place: int) -> tuple[bytes, int]:
    length, place = _number(data, place)
    return data[place : place + length], place + length


def _number(data: bytes, place: int) -> tuple[int, int]:
    """An unsigned LEB128 number, and the place after it."""
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7


class _Store(Protocol):
    def get_fuel(self) -> int: ...


class Burning:
    """A call that burns fuel of a store: what it had burned when the fuel was last read, and how much was left then."""

    __slots__ = ("burned", "left")

    def __init__(self, left: int) -> None:
        self.burned = 0
        self.left = left

    def read(self, left: int) -> None:
        """`left` are left now."""
        self.burned += max(self.left - left, 0)
        self.left = left


# The calls under way in a store, the innermost last, are kept on it: a store has one thread at a time, and ends with its calls.
_CALLS = "_bext_burning"


def burn(store: Any) -> Burning | None:
    """A call begins. None where nobody counts: the engine does not, or the host was called back and has no store at hand."""
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


def burned(store: _Store, call: Burning) -> None:
    """The call has ended: `call.burned` is what it burned, without what calls from within it did, which count for themselves."""
    left = store.get_fuel()
    call.read(left)
    calls: list[Burning] = getattr(store, _CALLS)
    while calls.pop() is not call:
        pass  # of an inner call that could not be read at its end
    if calls:
        calls[-1].left = left


def refueling(store: _Store) -> Burning | None:
    """The store is about to be given other fuel: the call under way, whose fuel that is; set its `left` afterwards."""
    calls = getattr(store, _CALLS, None)
    if not calls:
        return None
    call: Burning = calls[-1]
    call.read(store.get_fuel())
    return call
