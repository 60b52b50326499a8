"""Calls below the level of the app at work, where the root logger is open for another app of the process:
they cost what a disabled call costs, and no record is made."""

from __future__ import annotations

import logging
from functools import wraps

from bext_otel._compat import get_current
from bext_otel.apps import APP_KEY, current_app
from bext_otel.covering import replace
from bext_otel.logs.levels import Gate
from bext_otel.process import Undo

__all__ = ["disable_for_others"]


def disable_for_others(gate: Gate) -> Undo:
    """Have loggers that have no level of their own say that they are not enabled below the level of the app
    at work, as far as it is only `gate` that has opened them; what is returned undoes it."""
    original, root = logging.Logger.isEnabledFor, logging.root
    active = True

    @wraps(original)
    def is_enabled_for(self: logging.Logger, level: int) -> bool:
        if gate.widened and active and gate.is_beyond(self.name, level, current_app() or ""):
            return False
        # As `Gate.hides` has it, without a record. Not written by means of that, because of what a call
        # costs.
        if (
            level < (base := gate.base)
            and gate.opened
            and root.level == gate.lowest
            and active
            and level < gate.apps.get(get_current().get(APP_KEY), base)  # type: ignore[call-overload]  # a name, or None
        ):
            found: logging.Logger | None = self
            while found is not None and not found.level:
                found = found.parent
            if found is root:
                return False
        return original(self, level)

    put_back = replace(logging.Logger, "isEnabledFor", is_enabled_for)

    def undo() -> None:
        nonlocal active
        active = False
        put_back()

    return undo
