"""Levels that somebody asked for while the service runs: for an app, for a logger or for all, and until
when."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from bext_otel.config.model import LEVELS, Level
from bext_otel.errors import ConfigError
from bext_otel.service.file_format import LONGEST_ORDERS

__all__ = [
    "DEFAULT_SECONDS",
    "MAX_ORDERS",
    "MAX_SECONDS",
    "Order",
    "decode",
    "encode",
    "order",
    "seconds_of",
    "with_order",
]

DEFAULT_SECONDS = 3600.0
MAX_SECONDS = 7 * 86_400.0
"""How long an order holds where nobody says, and at most."""

MAX_ORDERS = 20
"""How many hold at a time, fewer where names are long."""

_MAX_NAME = 100
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*(s|m|h|d|)")
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


class Order(msgspec.Struct, frozen=True, array_like=True):
    """The least `level` that is logged until `until` (`time.monotonic`, which all processes of a machine
    share): of the app, of the logger and those below it, of both together (what the logger says in that
    app's work), or of everything if neither is named."""

    level: Level
    until: float
    app: str = ""
    logger: str = ""

    @property
    def whose(self) -> tuple[str, str]:
        """What it is for; a newer order for the same takes its place."""
        return self.app, self.logger


def order(level: str, app: str, logger: str, until: float) -> Order:
    """A checked order. Raises ConfigError, which says what would be right."""
    word = level.strip().lower()
    word = {"warning": "warn", "critical": "error", "fatal": "error"}.get(word, word)
    if word not in LEVELS:
        raise ConfigError(f"level = {level[:40]!r}: expected one of {', '.join(LEVELS)}")
    for what, name in (("app", app), ("logger", logger)):
        if len(name) > _MAX_NAME or not name.isprintable():
            raise ConfigError(f"{what} = {name[:40]!r}...: expected a name of at most {_MAX_NAME} characters")
    return Order(word, round(until, 3), app, logger)


def seconds_of(text: str) -> float:
    """How long `10m`, `1h`, `90` (seconds) or `2d` is; an empty text is an hour. Raises ConfigError."""
    if not text.strip():
        return DEFAULT_SECONDS
    match = _DURATION.fullmatch(text.strip().lower())
    seconds = float(match[1]) * _UNITS[match[2]] if match is not None else 0.0
    if not 1.0 <= seconds <= MAX_SECONDS:
        raise ConfigError(f"for = {text[:40]!r}: expected a time from 1s to 7d, e.g. 90s, 10m or 1h")
    return seconds


def with_order(orders: Iterable[Order], new: Order, now: float) -> tuple[Order, ...]:
    """These and a new one, without those that are over. Raises ConfigError where there are too many."""
    kept = [each for each in orders if each.until > now and each.whose != new.whose]
    if len(kept) >= MAX_ORDERS or len(encode([*kept, new])) > LONGEST_ORDERS:
        raise ConfigError(f"{len(kept)} levels hold already: take one back first (DELETE, or --reset)")
    return (*kept, new)


_decoder = msgspec.json.Decoder(tuple[Order, ...])


def decode(content: bytes) -> tuple[Order, ...]:
    """Orders as `encode` has written them; none where it is something else."""
    try:
        return _decoder.decode(content) if content else ()
    except msgspec.DecodeError:  # msgspec's for a type that does not fit is one, too
        return ()


def encode(orders: Iterable[Order]) -> bytes:
    """As bytes, for the board."""
    return msgspec.json.encode(tuple(orders))
