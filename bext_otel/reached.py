"""What this process has connections to, as the libraries that it uses tell: whoever checks health asks there,
by a connection that nobody else has at the time."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Literal, NamedTuple, TypeAlias

from bext_otel.process import Undo

__all__ = ["BUSY", "GONE", "Kind", "Reached", "on_reaching", "reach", "reached"]

Kind: TypeAlias = Literal["database", "cache"]

BUSY = "busy"
"""What a ping answers that had no connection to use: all are at work, so there is something to reach."""

GONE = "gone"
"""What it answers where there is nothing any more that could be asked, such as a pool that was closed."""

# A process that makes them for each request is asked about the newest.
_MOST = 16


class Reached(NamedTuple):
    """One of them: the library, and what asks it: returns, or raises what is wrong."""

    library: str
    ping: Callable[[], object]


_known: dict[Kind, OrderedDict[object, tuple[str, Callable[[], Any], Callable[[Any], object]]]] = {
    "database": OrderedDict(),
    "cache": OrderedDict(),
}
_told: list[Callable[[Kind], object]] = []


def reach(kind: Kind, library: str, owner: Any, ping: Callable[[Any], object]) -> None:
    """Have `ping` asked with `owner`, an engine, a client or a pool, for as long as that lives; a text stands
    for itself. Twice is once. Never raises."""
    with suppress(Exception):  # it is the application that connects
        known = _known[kind]
        key: object = owner if isinstance(owner, str) else id(owner)
        if key in known:
            return
        known[key] = (library, _reference(owner, lambda _: known.pop(key, None)), ping)
        while len(known) > _MOST:
            known.popitem(last=False)
        for told in tuple(_told):
            told(kind)


def reached(kind: Kind) -> Iterator[Reached]:
    """All that can be asked now, in the order in which they were made. What is gone is asked once."""
    known = _known[kind]

    def asking(key: object, owner: Any, ping: Callable[[Any], object]) -> Callable[[], object]:
        def ask() -> object:
            if (answer := ping(owner)) is GONE:
                known.pop(key, None)
            return answer

        return ask

    for key, (library, owner, ping) in tuple(known.items()):
        if (found := owner()) is not None:
            yield Reached(library, asking(key, found, ping))


def _reference(owner: Any, gone: Callable[[Any], object]) -> Callable[[], Any]:
    """To the owner, which lives no longer for it; but for what cannot be referred to so, as asyncpg's pools,
    and is dropped once its ping says that it is gone."""
    if not isinstance(owner, str):
        with suppress(TypeError):
            return weakref.ref(owner, gone)
    return lambda: owner


def on_reaching(call: Callable[[Kind], object]) -> Undo:
    """Call this with the kind when there is one more, and now for what there is."""
    _told.append(call)
    for kind, known in _known.items():
        if known:
            call(kind)

    def undo() -> None:
        with suppress(ValueError):  # it is undone already
            _told.remove(call)

    return undo
