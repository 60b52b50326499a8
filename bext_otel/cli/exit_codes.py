"""How what runs a command ends where that can't be run, as shells have it."""

from __future__ import annotations

__all__ = ["CANNOT_RUN", "NOT_FOUND"]

NOT_FOUND = 127
"""There is no such command."""

CANNOT_RUN = 126
"""The command exists and can't be run."""
