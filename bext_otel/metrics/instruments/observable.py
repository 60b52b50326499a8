"""The OpenTelemetry API's instruments that are asked: their callbacks, and what becomes of one that raises or
hangs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from opentelemetry.metrics import CallbackOptions, CallbackT
from opentelemetry.sdk import metrics as sdk

from bext_otel.metrics.asking import tell_of_failure, tell_of_hanging
from bext_otel.metrics.instruments.identity import Identity
from bext_otel.metrics.instruments.stream import MeterStream

__all__ = ["OBSERVABLE", "Observing", "asker"]


def asker(callback: CallbackT) -> Callable[[], Iterable[Any]]:
    """Asks a callback for its observations: a generator is asked once and then sent options; a function is
    called each time (the API allows both)."""
    if callable(callback):
        return lambda: callback(CallbackOptions())
    next(callback)

    def ask() -> Iterable[Any]:
        try:
            return callback.send(CallbackOptions())
        except StopIteration:
            return ()

    return ask


class Observing:
    """What these instruments share: callbacks, and the streams that what they say goes to.

    `asked_since` is when a callback was asked that has not answered yet (monotonic seconds); None: nobody
    waits.
    """

    def __init__(self, identity: Identity, callbacks: Sequence[CallbackT] | None) -> None:
        self.identity = identity
        self.name, self.unit, self.description = identity.name, identity.unit, identity.description
        self.instrumentation_scope = identity.scope
        self.failed = 0
        self.forget_askers()
        self._streams: tuple[MeterStream, ...] = ()
        self._failing = False
        self._askers: list[Callable[[], Iterable[Any]]] = []
        for callback in callbacks or ():
            self.ask_too(callback)

    def forget_askers(self) -> None:
        """Nobody asks, as in a forked child."""
        self.asked_since: float | None = None
        # Has one item while somebody asks: two never do at once.
        self._turn: dict[None, object] = {}

    def ask_alone(self) -> None:
        """Ask all callbacks, unless somebody does."""
        mine = object()
        if self._turn.setdefault(None, mine) is not mine:
            return
        self.asked_since = time.monotonic()
        try:
            self.ask()
        finally:
            self.asked_since = None
            self._turn.pop(None, None)

    def ask_too(self, callback: CallbackT) -> None:
        """One more callback."""
        try:
            self._askers.append(asker(callback))
        except Exception as error:  # a generator that ends, or raises, before it is asked
            self._fail(error)

    def write_to(self, streams: Sequence[MeterStream], *, enabled: bool) -> None:
        """From now on observations go there."""
        self._streams = tuple(streams) if enabled else ()

    def ask(self) -> None:
        """Ask all callbacks. One that raises keeps what it has said before."""
        told: list[tuple[Any, Mapping[str, Any]]] = []
        failed = self.failed
        for ask in tuple(self._askers) if self._streams else ():
            try:
                for observation in ask():
                    told.append((observation.value, observation.attributes))  # noqa: PERF401  # what was said before it failed stays
            except Exception as error:  # a callback of the application is broken
                self._fail(error)
        for stream in self._streams:
            try:
                stream.observe(told)
            except Exception as error:  # attributes that nobody can read
                self._fail(error)
        if self.failed == failed:  # all went well: the next failure is news
            self._failing = False

    def _fail(self, error: Exception) -> None:
        self.failed += 1
        failing, self._failing = self._failing, True
        tell_of_failure(self.name, error, again=failing)

    def hang(self) -> None:
        """It does not answer, and is left alone until it does."""
        tell_of_hanging(self.name)


class ObservableCounter(Observing, sdk.ObservableCounter):
    """See `opentelemetry.metrics.ObservableCounter`."""


class ObservableUpDownCounter(Observing, sdk.ObservableUpDownCounter):
    """See `opentelemetry.metrics.ObservableUpDownCounter`."""


class ObservableGauge(Observing, sdk.ObservableGauge):
    """See `opentelemetry.metrics.ObservableGauge`."""


OBSERVABLE: dict[str, Any] = {
    "observable_counter": ObservableCounter,
    "observable_up_down_counter": ObservableUpDownCounter,
    "observable_gauge": ObservableGauge,
}
