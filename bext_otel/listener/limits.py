"""What a client may do to a listener, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]

_KIB = 1024
_MIB = 1024 * _KIB


@dataclass(frozen=True)
class Limits:
    """Bounds of a listener. Times are in all, never from one byte to the next.

    `connections` is how many are open at once: one more takes the place of the oldest without a whole
    request. `head_seconds` and `head_bytes` bound the head of a request, `body_bytes` its body, for which
    there are `body_seconds` and one more for each `body_rate` bytes. An answer is made within
    `making_seconds`, and taken within `taking_seconds` and one more for each `taking_rate` bytes. A
    connection rests for at most `idle_seconds` between two requests.
    """

    connections: int = 64
    head_bytes: int = 16 * _KIB
    head_seconds: float = 5.0
    body_bytes: int = 16 * _KIB
    body_seconds: float = 5.0
    body_rate: int = _MIB
    making_seconds: float = 25.0
    taking_seconds: float = 30.0
    taking_rate: int = 256 * _KIB
    idle_seconds: float = 120.0

    def for_body(self, size: int) -> float:
        """How many seconds a body of so many bytes may take."""
        return self.body_seconds + size / self.body_rate

    def for_taking(self, size: int) -> float:
        """How many seconds a client has to take an answer of so many bytes."""
        return self.taking_seconds + size / self.taking_rate
