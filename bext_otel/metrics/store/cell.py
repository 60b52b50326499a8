"""A cell: where the measurements of one series are kept, and how they get there.

A measurement appends to its cell's list and does nothing else: `list.append` is atomic, takes no lock that a
fork could leave locked, and is safe in a signal handler. Whoever reads drains the lists, one at a time, under
the reading's lock.

A handler may also raise (a time limit), between any two steps of whoever drains in the main thread. So a
drain computes first what the cell is going to hold, which changes nothing, and puts that in the place of what
it took in one step of C: before it, nothing has happened, and after it, whoever drains next completes what is
left to do.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

from opentelemetry import trace
from opentelemetry.context import Context

from bext_otel.metrics.merging.wire import Labels, Row, exemplar_row
from bext_otel.metrics.numbers import GREATEST, PLAIN, sound
from bext_otel.metrics.snapshot import Distribution, Exemplar, Histogram, Series

__all__ = ["ALWAYS", "EXEMPLAR_TRIES", "Cell", "Home", "exemplar_of"]

# Whoever makes a list this long, or a multiple of it, drains it, so that it stays small also when nobody
# reads. A power of two less one: only one measurement in so many tries, for while a thread drains the others
# would all try in vain.
_RELIEF = 4096 - 1

_FILTER = os.environ.get("OTEL_METRICS_EXEMPLAR_FILTER", "").strip().lower()

EXEMPLAR_TRIES = 0 if _FILTER == "always_off" else 16
"""How many measurements of a tick, made in spans that are not sampled, are looked at for one that is: a look
costs more than measuring."""

ALWAYS = _FILTER == "always_on"
"""Whether any measurement may become an exemplar, outside of sampled spans too."""

# One outside of any span counts as eight: others like it are likely to follow.
_OUTSIDE = 8


def exemplar_of(
    value: float, time_unix: float, span: trace.SpanContext, dropped: tuple[tuple[str, Any], ...] = ()
) -> Exemplar:
    """An exemplar measured within a span; its ids are empty where there is none."""
    if not span.is_valid:
        return Exemplar(value, time_unix, "", "", dropped=dropped)
    return Exemplar(
        value,
        time_unix,
        trace.format_trace_id(span.trace_id),
        trace.format_span_id(span.span_id),
        dropped=dropped,
    )


class _Outcome(tuple[Any, ...]):
    """What a cell is going to hold: the first of what is pending, until the cell has it."""

    __slots__ = ()


class Home(Protocol):
    """The stream that a cell belongs to, as far as the cell knows it."""

    label_names: tuple[str, ...]
    bounds: tuple[float, ...]
    rejected: int
    window_seconds: float
    clock: Callable[[], float]

    def now(self) -> int:
        """The time that is told to backends (nanoseconds since 1970)."""

    def mark_dirty(self, cell: Cell) -> None:
        """It has something to drain."""

    def drain_if_idle(self) -> None:
        """Some list has grown long: drain now, unless somebody is at it."""


class Cell:
    """One series: what was measured and not yet drained, and what was drained.

    `key` has its label values in the catalogue's order, `live` is False until the first measurement; after a
    fork it is False again in the child. `published` is what was published of it, and None when that is out of
    date. `exemplar_tries` is how many measurements are still to be looked at for an exemplar. `began` is when
    it was made (nanoseconds since 1970); 0 for one that began anew with its process.
    """

    __slots__ = (
        "began",
        "dirty",
        "exemplar",
        "exemplar_tries",
        "key",
        "live",
        "pending",
        "published",
        "series",
        "stream",
        "typed",
    )

    def __init__(
        self, stream: Home, key: Labels, series: Series, typed: tuple[Any, ...] | None = None
    ) -> None:
        self.stream = stream
        self.key = key
        self.series = series
        self.typed = typed
        self.reset()
        self.began = stream.now()

    @property
    def _least(self) -> float:
        """The least amount that the instrument takes."""
        return 0

    @property
    def attributes(self) -> dict[str, Any]:
        """Its attributes for OTLP: the label values, as the types that `typed` has where they are not all
        text."""
        values = self.key if self.typed is None else self.typed
        return {
            name: value
            for name, value in zip(self.stream.label_names, values, strict=True)
            if value is not None
        }

    def reset(self) -> None:
        """Forget everything measured; in a forked child that was the parent's."""
        self.began = 0
        self.pending: list[Any] = []
        self.dirty = False
        self.live = False
        self.exemplar_tries = EXEMPLAR_TRIES
        self.exemplar: Exemplar | None = None
        self.published: Row | None = None

    def add(self, amount: float, context: Context | None = None) -> None:
        """Take one measurement."""
        pending = self.pending
        pending.append(amount)
        # Append first, look second: a drain clears the flag before it takes the list, so nothing is left
        # behind unflagged.
        if not self.dirty:
            try:
                self.dirty = True
                self.stream.mark_dirty(self)
            except BaseException:
                # A signal handler's: nobody may know of this cell, so the next measurement tells again.
                self.dirty = False
                raise
        elif not len(pending) & _RELIEF:
            self.stream.mark_dirty(self)  # again, in case that a handler raised where it was told
            self.stream.drain_if_idle()
        if self.exemplar_tries:
            self._offer_exemplar(amount, context)

    def _offer_exemplar(self, amount: Any, context: Context | None) -> None:
        """Keep the first measurement of a tick inside a sampled span as exemplar."""
        left, self.exemplar_tries = self.exemplar_tries, 0
        current = trace.get_current_span(context)
        if current is trace.INVALID_SPAN and not ALWAYS:
            if left > _OUTSIDE:
                self.exemplar_tries = left - _OUTSIDE
            return
        span = current.get_span_context()
        if not ((span.trace_flags & trace.TraceFlags.SAMPLED and span.is_valid) or ALWAYS):
            if left > 1:
                self.exemplar_tries = left - 1
            return
        for value in sound((amount,), self._least):
            self._keep_exemplar(exemplar_of(value, self.stream.clock(), span), left)

    def _keep_exemplar(self, exemplar: Exemplar, left: int) -> None:
        """Keep it; `left` is how many looks there were left before this one."""
        self.exemplar = exemplar

    def drain(self, now: float) -> None:
        """Move what is pending into what is kept. Called under the reading's lock; `now` is monotonic
        seconds."""
        self.dirty = False
        pending = self.pending
        if pending and type(pending[0]) is _Outcome:
            self._settle(pending)
        taken = len(pending)
        batch = pending[:taken]
        if not batch:
            return
        try:
            found = self._whole(batch, now)
        except OverflowError:  # an int that no float can hold, beside a float
            found = None
        except Exception:
            # Numbers may be of another's type, and then its code runs; what Python's own raise is a signal
            # handler's.
            if PLAIN.issuperset(map(type, batch)):
                raise
            found = None
        if found is None:  # something in the batch is no number, or none for this instrument: keep the rest
            good = sound(batch, self._least)
            self.stream.rejected += len(batch) - len(good)
            if not good:
                del pending[:taken]
                return
            found = self._plus(good, sum(good), min(good), now)
        pending[:taken] = [_Outcome(found)]
        self._settle(pending)

    def _settle(self, pending: list[Any]) -> None:
        self._hold(pending[0])
        self.published = None
        self.live = True
        self.exemplar_tries = EXEMPLAR_TRIES
        del pending[0]

    def _whole(self, batch: list[Any], now: float) -> tuple[Any, ...] | None:
        """What there is with all of the batch; None if it has to be looked at one by one."""
        total, low = sum(batch), min(batch)
        # A number of another type makes a sum of that type; a NaN, which min passes over, makes one that is
        # neither less nor more.
        if type(total) in PLAIN and low >= self._least and -GREATEST <= total <= GREATEST:
            return self._plus(batch, total, low, now)
        return None

    def _plus(self, batch: list[Any], total: float, low: float, now: float) -> tuple[Any, ...]:
        """What there is with a batch, its sum and its least value added, for `_hold`; changes nothing."""
        raise NotImplementedError

    def _hold(self, found: tuple[Any, ...]) -> None:
        """Keep what `_plus` made. To do so again changes nothing."""
        raise NotImplementedError

    def read(self, now: float | None = None) -> float | Distribution | Histogram:
        """The value of this series; without `now` (monotonic seconds), without what is recent."""
        raise NotImplementedError

    def row(self, now: float) -> Row:
        """What there is to say of this series, for the other workers; the same object as long as that has not
        changed."""
        if self.published is None:
            self.published = Row(self.key, self.read(now), exemplar_row(self.exemplar))
        return self.published
