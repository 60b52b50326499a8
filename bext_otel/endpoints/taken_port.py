"""A port that can't be had: when that is worth a line, and when to try again."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["RETRY_SECONDS", "TakenPort"]

RETRY_SECONDS = 2.0
"""How often a port that somebody else has is tried again."""
_SOON_SECONDS = 0.2
_LASTING_SECONDS = 1.5
_REMEDY = "set OTEL_EXPORTER_PROMETHEUS_HOST or OTEL_EXPORTER_PROMETHEUS_PORT to a free address"
# A stranger stays; relatives come and go, and looking for them takes milliseconds.
_LOOKS_AT_ONCE = 20
_LOOKS_EVERY = 5


class TakenPort:
    """Of one process. `tell(about, line)` logs a line, once for each `about`; `clock` is in seconds.

    Attributes:
        address: host and port as people write them.
    """

    def __init__(
        self,
        host: str,
        port: int,
        tell: Callable[[str, str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._tell = tell
        self._clock = clock
        self.over()

    def over(self) -> None:
        """It can be had now, or is in good hands."""
        self._tries, self._since = 0, 0.0

    def again(self, about: str, why: str) -> float:
        """A try has failed, because of `why`; how many seconds to wait for the next one.

        Told once it lasts: processes come and go, and one that was just given the port may not have said so
        yet.
        """
        now = self._clock()
        self._since = now if not self._tries else self._since
        self._tries += 1
        if now - self._since <= _LASTING_SECONDS:
            return _SOON_SECONDS
        self._tell(about, f"the endpoints wait for {self.address}: {why}; {_REMEDY}")
        return RETRY_SECONDS

    def is_refused(self, reason: str) -> float:
        """The system refuses the address, and will; the seconds to wait."""
        self._tell("address", f"the endpoints cannot be served at {self.address} ({reason}); {_REMEDY}")
        return RETRY_SECONDS

    def failed(self, error: Exception) -> float:
        """The server has failed; the seconds to wait."""
        self._tell("failed", f"the endpoints at {self.address} failed and are started again: {error!r}")
        return RETRY_SECONDS

    @property
    def is_worth_a_look(self) -> bool:
        """Whether to look this time who has it."""
        return self._tries < _LOOKS_AT_ONCE or self._tries % _LOOKS_EVERY == 0
