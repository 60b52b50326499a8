"""What other libraries have measured in this process: collected when somebody reads, or publishes, and no
more often than is cheap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bext_otel.metrics import families
from bext_otel.metrics.merging.wire import ThirdPartyFamily
from bext_otel.metrics.numbers import exact_family
from bext_otel.metrics.snapshot import Family

__all__ = ["ThirdPartyMetrics"]

# Other libraries may have callbacks that take long; a tick collects again when this many times as long as the
# last collection took is over.
_PACE = 20
# And one that takes long enough to be felt is made every other second, so that telling others stays within a
# few milliseconds a second.
_FELT_SECONDS, _FELT_PACE_SECONDS = 0.002, 1.5
# The same where it looks on its own for what may have been counted, and found nothing.
_IDLE_PACE = 100

# Figures of `prometheus_client` that change also when nothing happens.
_RESTLESS = ("process_", "python_")


class ThirdPartyMetrics:
    """What is `registered` with a metrics library of its own, of which `unread` says how much could not be
    read and `watched` whether somebody may count there unheard. `ask` has the callbacks of instruments say
    what is, which takes its time likewise.

    `parts` are the families that were collected last, `pending` says that more was measured since, `heard`
    likewise since a tick has looked. Times are monotonic seconds.
    """

    def __init__(
        self,
        ask: Callable[[], None],
        registered: Callable[[], list[Family]],
        watched: Callable[[], bool],
        unread: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        self._ask = ask
        self.registered = registered
        self.watched = watched
        self._unread = unread
        self._monotonic = monotonic
        self._rejected = 0
        self.begin()

    def begin(self) -> None:
        """Begin anew, as a forked child does."""
        self.parts: list[ThirdPartyFamily] = []
        self._known_rows: families.KnownRows = {}
        self.heard = False
        self.pending = False
        self._collected = False
        self._collect_from = 0.0
        self._look_from = 0.0

    @property
    def rejected(self) -> int:
        """How many points that others registered could not be read, or were no numbers."""
        return self._rejected + self._unread()

    def take_heard(self) -> bool:
        """Whether something was heard since this was asked last; it is pending from now on."""
        heard, self.heard = self.heard, False
        self.pending = self.pending or heard
        return heard

    def is_due(self, busy: bool, now: float) -> bool:
        """Whether a tick is to collect now."""
        return not self._collected or ((busy or self.pending) and now >= self._collect_from)

    def collect(self) -> list[Family]:
        """All of it as it is now. Calls callbacks of the application, so that no lock may be held."""
        self.pending, self._collected = False, True
        began = self._monotonic()
        self._ask()
        registered = []
        for family in self.registered():
            plain = exact_family(family)
            self._rejected += len(family.points) - len(plain.points)
            registered.append(plain)
        self.parts = families.foreign_parts(registered, self._known_rows)
        ended = self._monotonic()
        took = ended - began
        self._collect_from = ended + max(_PACE * took, _FELT_PACE_SECONDS if took > _FELT_SECONDS else 0.0)
        return registered

    def has_counted(self, now: float) -> bool:
        """Look, if it is time to, whether others have counted something of which nobody has told."""
        if now < self._look_from:
            return False
        before, began = self._restful(), self._monotonic()
        self.collect()
        counted = before != self._restful()
        took = self._monotonic() - began
        self._look_from = began + took + (_PACE if counted else _IDLE_PACE) * took
        return counted

    def replace(self, counted: list[Family]) -> None:
        """Take these families for what they are now, and leave the others as they were."""
        parts = families.foreign_parts(counted)
        names = {part.name for part in parts}
        self.parts = [*(part for part in self.parts if part.name not in names), *parts]

    def _restful(self) -> list[Any]:
        return [part for part in self.parts if not part.name.startswith(_RESTLESS)]
