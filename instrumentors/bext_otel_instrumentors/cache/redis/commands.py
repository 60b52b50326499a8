"""What commands of Redis do to a cache, told from their arguments and the server's replies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, NamedTuple

from bext_otel.catalogue import UNKNOWN
from bext_otel_instrumentors.cache.calls import Call, calling, dropping, during
from bext_otel_instrumentors.cache.drops import Selector, invalidated
from bext_otel_instrumentors.cache.layers import Layers
from bext_otel_instrumentors.cache.lookups import looked_up, stored

__all__ = ["KIND", "Asked", "Kept", "asking", "read", "tell_piped"]

KIND = "redis"
"""What these caches are called."""

Verb = Literal["lookup", "store", "drop", "take", "flush"]

# What commands do (redis.io/commands), and where their keys stand: the first argument, all of them, or every
# second one.
_ONE, _ALL, _PAIRS = slice(1, 2), slice(1, None), slice(1, None, 2)
_COMMANDS: dict[str, tuple[Verb, slice]] = {
    "GET": ("lookup", _ONE),
    "GETEX": ("lookup", _ONE),
    "HGET": ("lookup", _ONE),
    "HGETALL": ("lookup", _ONE),
    "HMGET": ("lookup", _ONE),
    "MGET": ("lookup", _ALL),
    "SET": ("store", _ONE),
    "SETEX": ("store", _ONE),
    "PSETEX": ("store", _ONE),
    "SETNX": ("store", _ONE),
    "HSET": ("store", _ONE),
    "MSET": ("store", _PAIRS),
    "DEL": ("drop", _ALL),
    "UNLINK": ("drop", _ALL),
    "GETDEL": ("take", _ONE),
    "FLUSHDB": ("flush", _ONE),
    "FLUSHALL": ("flush", _ONE),
}
# Answered with a list that has a value for each key, or for each field of one key.
_LISTS = frozenset({"MGET", "HMGET"})


class Kept(list[Any]):
    """Keeps what it is given, and returns it."""

    def __call__(self, reply: Any) -> Any:
        self.append(reply)
        return reply


class Asked(NamedTuple):
    """A command on keys of a cache: what it does, and the layer of each value that is asked for, None for one
    that is of no cache."""

    verb: Verb
    layers: tuple[str | None, ...]
    lists: bool = False

    @property
    def layer(self) -> str:
        return next((layer for layer in self.layers if layer is not None), UNKNOWN)

    @property
    def by(self) -> Selector:
        return "tag" if self.verb == "flush" else "path"

    @property
    def drops(self) -> bool:
        return self.verb in {"drop", "take", "flush"}


def read(layers: Layers, args: Sequence[Any]) -> Asked | None:
    """What a command asks of a cache; None if it is about something else."""
    try:
        name = args[0]
        command = name if name in _COMMANDS else name.upper()
        found = _COMMANDS.get(command)
        if found is None:
            return None
        verb, where = found
        if verb == "flush":
            return Asked(verb, ())
        keyed = tuple(layers.keyed(key) for key in args[where])
        if not any(keyed):
            return None
        return Asked(verb, keyed * len(args[2:]) if command == "HMGET" else keyed, command in _LISTS)
    except Exception:  # whatever is no command is the client's to refuse
        return None


def _dropped(asked: Asked, reply: Any) -> int | None:
    """How many entries of the cache a command has dropped; None: a flush drops all, and the server does not
    say how much."""
    if asked.verb == "flush":
        return None
    if isinstance(reply, int):
        return min(reply, sum(layer is not None for layer in asked.layers))
    return int(reply is not None)


@contextmanager
def asking(asked: Asked) -> Iterator[Callable[[Any], Any]]:
    """Around a command: what is yielded is to be given the reply, which it returns."""
    if calling() is not None:
        yield partial(_for_the_caller, asked)
    elif asked.drops:
        with dropping(asked.layer, asked.by, KIND) as call:
            yield partial(_drop, call, asked)
    else:
        replies = Kept()
        with during(asked.verb) as call:
            yield replies
        for reply in replies:
            _tell(asked, reply, call.seconds)


def _drop(call: Call, asked: Asked, reply: Any) -> Any:
    """A call that drops entries was answered."""
    entries = _dropped(asked, reply)
    call.entries, call.known = entries or 0, entries is not None
    if asked.verb == "take":
        _tell(asked, reply, None)
    return reply


def _for_the_caller(asked: Asked, reply: Any) -> Any:
    """A library above has asked, and counts. How much it has dropped, it may not know."""
    call = calling()
    if call is not None and call.what == "invalidate":
        if asked.verb == "drop" and isinstance(reply, int):
            call.found, call.entries = True, call.entries + int(reply)
        elif asked.verb == "flush":
            call.known = False
    return reply


def _tell(asked: Asked, reply: Any, seconds: float | None) -> None:
    """A command was answered after so many seconds; None: not worth measuring."""
    if asked.verb == "store":
        if seconds is not None:
            stored(asked.layer, seconds)
        return
    values = reply if asked.lists and isinstance(reply, (list, tuple)) else [reply]
    counted: dict[tuple[str, bool], int] = {}
    for layer, value in zip(asked.layers, values, strict=False):
        if layer is not None:
            # A hash that is not there is an empty one, or, where the client has not made a dictionary of it
            # yet, an empty list.
            found = value is not None and value not in ({}, [])
            counted[layer, found] = counted.get((layer, found), 0) + 1
    for (layer, found), times in counted.items():
        looked_up(layer, found, KIND, times=times, seconds=seconds)
        seconds = None


def tell_piped(asked: Asked, reply: Any, started_ns: int) -> None:
    """A command among others in a pipeline was answered."""
    if asked.verb in {"lookup", "take"}:
        _tell(asked, reply, None)
    if asked.drops and (entries := _dropped(asked, reply)) != 0:
        invalidated(asked.layer, asked.by, KIND, started_ns=started_ns, entries=entries)
