"""Calls below the level of the app at work, where the root logger is open for another app of the process:
they cost what a disabled call costs, and no record is made."""

from __future__ import annotations

import logging
from functools import wraps

from bext_otel.apps import current_app
from bext_otel.covering import replace
from bext_otel.logs.levels import Gate
from bext_otel.process import Undo

__all__ = ["disable_for_others"]


def disable_for_others(gate: Gate) -> Undo:
    """Have loggers that have no level of their own say that they are not enabled below the level of the app
    at work, as far as it is only `gate` that has opened them; what is returned undoes it."""
    original, root = logging.Logger.isEnabledFor, logging.root
    base, lowest, apps = gate.base, gate.lowest, gate.apps
    active = True

    @wraps(original)
    def is_enabled_for(self: logging.Logger, level: int) -> bool:
        # As `Gate.hides` has it, without a record. Not written by means of that, because of what a call
        # costs.
        if level < base and gate.opened and root.level == lowest and active:
            app = current_app()
            if level < (base if app is None else apps.get(app, base)):
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
