"""The levels in force: those of the settings, which change with their file, and over them those that somebody
has asked for, until these are over."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from threading import RLock
from typing import Any, NamedTuple

from bext_otel.config import AppSettings, LoggingSettings
from bext_otel.logs.disabled import disable_for_others
from bext_otel.logs.level_orders import Order
from bext_otel.logs.levels import Gate, level_name, level_number, severity
from bext_otel.logs.logger_levels import LoggerLevels
from bext_otel.process import on_fork

__all__ = ["OWN", "LevelControl", "SetLevels", "shown"]

OWN = ("bext_otel", "bext_otel_instrumentors")
"""Loggers of ours, which pass no root logger."""


class SetLevels(NamedTuple):
    """What the settings say: `[logging] level` (None: nothing), `[logging.filters]`, and levels by app."""

    level: int | None
    filters: Mapping[str, int]
    apps: Mapping[str, int]

    @classmethod
    def of(cls, config: LoggingSettings, apps: Mapping[str, AppSettings]) -> SetLevels:
        """As numbers."""
        return cls(
            level_number(config.level) if config.level else None,
            {name: level_number(wanted) for name, wanted in config.filters.items()},
            {name: level_number(app.log_level) for name, app in apps.items() if app.log_level},
        )


class LevelControl:
    """Puts levels in force in this process, at `gate` and at the standard library's loggers; `remove` gives
    them back. Safe for threads.

    At the start the root logger is ours to open only if it has Python's default: a level that the application
    has set there stays. What is changed while the process runs is somebody's wish about this very process,
    and opens it.
    """

    def __init__(self, settings: SetLevels, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.gate = Gate(settings.level, settings.apps)
        self._loggers = LoggerLevels()
        self._clock = clock
        self._initial, self._settings = settings, settings
        self.orders: tuple[Order, ...] = ()
        self._applied: tuple[SetLevels, tuple[Order, ...]] | None = None
        self._undoing = ExitStack()
        self._removed = self._stands = False
        self._begin()
        self._undoing.callback(on_fork(in_child=self._begin))
        self.refresh()

    def _begin(self) -> None:
        self._lock = RLock()  # the parent's may be held

    def use(self, settings: SetLevels) -> None:
        """The settings are others now."""
        with self._lock:
            self._settings = settings
            self.refresh()

    def obey(self, orders: Iterable[Order]) -> None:
        """These are all the orders there are now."""
        with self._lock:
            self.orders = tuple(orders)
            self.refresh()

    def refresh(self) -> None:
        """Put in force what is to be, now: orders that are over count no more."""
        with self._lock:
            now = self._clock()
            self.orders = tuple(each for each in self.orders if each.until > now)
            if self._removed or self._applied == (self._settings, self.orders):
                return
            self._applied = self._settings, self.orders
            self._apply()

    def next_end(self) -> float | None:
        """When the next order is over, by the clock; None: there is none."""
        return min((each.until for each in self.orders), default=None)

    def remove(self) -> None:
        """Leave logging as it was found."""
        with self._lock:
            self._removed = True
            self.gate.opened = False
            self._undoing.close()
            self._loggers.apply({})

    def _apply(self) -> None:
        level, apps, filters = self._settings.level, dict(self._settings.apps), dict(self._settings.filters)
        narrow: dict[tuple[str, str], int] = {}
        for each in self.orders:
            number = level_number(each.level)
            if each.app and each.logger:
                narrow[each.whose] = number
            elif each.app:
                apps[each.app] = number
            elif each.logger:
                filters[each.logger] = number
            else:
                level = number
        if level is None:
            # What we say of ourselves passes no root logger either, that export works again for instance.
            for name in OWN:
                if self._loggers.of_application(name) == logging.NOTSET:
                    filters.setdefault(name, logging.INFO)
        widened = {name: filters.get(name) or self._loggers.of_application(name) for _, name in narrow}
        opened: dict[str, int] = {}
        for (_, name), number in narrow.items():
            opened[name] = min(number, opened.get(name, number), widened[name] or number)
        root = self._root_level(level, apps)
        self.gate.become(level, apps, self._base(level), narrow=narrow, widened=widened)
        self.gate.opened = root is not None
        wanted: dict[str | None, int] = {name: number for name, number in {**filters, **opened}.items()}  # noqa: C416  # of another type
        if root is not None:
            wanted[None] = root
        self._loggers.apply(wanted)
        if (self.gate.opened or widened) and not self._stands:
            self._stands = True
            self._undoing.callback(disable_for_others(self.gate))

    def _is_initial(self) -> bool:
        return not self.orders and self._settings == self._initial

    def _base(self, level: int | None) -> int | None:
        if level is not None or self._is_initial():
            return level
        return self._loggers.of_application(None) or None

    def _root_level(self, level: int | None, apps: Mapping[str, int]) -> int | None:
        """What we set the root logger to; None: it stays the application's."""
        own = self._loggers.of_application(None)
        base = self._base(level)
        lowest = min([logging.WARNING if base is None else base, *apps.values()])
        if self._is_initial():
            return lowest if own == logging.WARNING != lowest else None
        return lowest if own not in (lowest, logging.NOTSET) else None

    def document(self) -> dict[str, Any]:
        """What is in force, for people: levels by their names, `null` where the application decides, and each
        order with the seconds that are left of it and the moment when it is over."""
        with self._lock:
            self.refresh()
            settings, now = self._settings, self._clock()
            return {
                "level": _name(settings.level),
                "apps": {name: _name(number) for name, number in settings.apps.items()},
                "filters": {name: _name(number) for name, number in settings.filters.items()},
                "orders": [shown(each, now) for each in self.orders],
            }


def shown(order: Order, now: float) -> dict[str, Any]:
    """An order for people."""
    left = order.until - now
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + left))
    return {
        **({"app": order.app} if order.app else {}),
        **({"logger": order.logger} if order.logger else {}),
        "level": order.level,
        "seconds_left": round(left),
        "until": until,
    }


def _name(number: int | None) -> str | None:
    return None if number is None else level_name(severity(number))
