"""For tests of applications that use bext-otel: a clock that stands still, and the fixture `bext_clock`.

Loaded by pytest as a plugin, so it imports next to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

__all__ = ["Clock", "bext_clock"]


@dataclass
class Clock:
    """Seconds that pass only when told: call it for the time, `advance` it to let time pass."""

    now: float = 1_774_711_800.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass; negative ones turn the clock back."""
        self.now += seconds


@pytest.fixture
def bext_clock() -> Clock:
    """A clock at 2026-03-28T15:30:00Z that stands still."""
    return Clock()
