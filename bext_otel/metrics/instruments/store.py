"""All instruments of a provider that are not the catalogue's, and their streams: for our page and exporters,
and for readers that want others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from threading import RLock
from typing import Any

from msgspec.structs import replace
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from bext_otel._compat import Aggregated, InstrumentKind, ReaderPreferences
from bext_otel.apps import clean
from bext_otel.catalogue import Metric
from bext_otel.metrics.asking import Round
from bext_otel.metrics.instruments.identity import Identity, identified, tell
from bext_otel.metrics.instruments.observable import OBSERVABLE, Observing
from bext_otel.metrics.instruments.plan import Plan, Planner
from bext_otel.metrics.instruments.shown import family_of, part_of
from bext_otel.metrics.instruments.stream import MeterStream
from bext_otel.metrics.instruments.synchronous import SYNCHRONOUS, Measuring
from bext_otel.metrics.merging.wire import ThirdPartyFamily
from bext_otel.metrics.snapshot import Family, LabelSet
from bext_otel.metrics.store.streams import Streams
from bext_otel.redaction import redact_attributes

__all__ = ["Instruments"]

# How long a collection waits for one in another thread.
_PATIENCE_SECONDS = 5.0

# Instruments of one provider: names that are made up without end would fill the memory.
_MOST = 20_000

_collections: ContextVar[frozenset[object]] = ContextVar("bext_otel_collections", default=frozenset())


class Instruments:
    """The instruments. `scope_labels` says whether their series are labelled with the scope that
    measures, `total_suffix` whether counters end in `_total` on the page."""

    def __init__(
        self,
        streams: Streams,
        planner: Planner | None = None,
        *,
        scope_labels: bool = True,
        total_suffix: bool = True,
    ) -> None:
        self.streams = streams
        self.planner = planner or Planner()
        self._scope_labels = scope_labels
        self._total_suffix = total_suffix
        self._made: dict[tuple[InstrumentationScope, Any], Measuring | Observing] = {}
        self._streams: dict[Measuring | Observing, tuple[MeterStream, ...]] = {}
        # Streams of readers that prefer another aggregation, or limit, than the default.
        self._own: dict[MetricReader, dict[Measuring | Observing, tuple[MeterStream, ...]]] = {}
        self._preferences: dict[MetricReader, ReaderPreferences] = {}
        self._disabled: set[InstrumentationScope] = set()
        # By scope and name in small letters, how the name was spelled first.
        self._spellings: dict[tuple[InstrumentationScope, str], str] = {}
        # By scope and name, what streams there are.
        self._names: dict[tuple[InstrumentationScope, str], list[Plan]] = {}
        # Called when there is something to ask that was not there before.
        self.on_observable: Callable[[], object] = streams.wake
        self._begin()

    def _begin(self) -> None:
        # Held while an instrument is made. Reentrant, as a signal handler may make one.
        self._lock = RLock()
        # Held while callbacks of the application run.
        self._turns = RLock()
        # In the context of a collection, and so of the callbacks that it asks in threads of their own.
        self._collection = object()

    def reset(self) -> None:
        """Start over, as a forked child does."""
        self._begin()
        for stream in self.every():
            stream.reset()
        for instrument in tuple(self._made.values()):
            if isinstance(instrument, Observing):
                instrument.forget_askers()

    # --- Making
    # -----------------------------------------------------------------------------------------------

    def make(
        self,
        scope: InstrumentationScope,
        kind: InstrumentKind,
        name: str,
        unit: str,
        description: str,
        *,
        bounds: tuple[float, ...] | None = None,
        callbacks: Sequence[Any] | None = None,
        enabled: bool = True,
        row: Metric | None = None,
    ) -> Any:
        """The instrument that this is, made when it is first asked for."""
        identity = identified(scope, kind, name, unit, description, bounds, row)
        with self._lock:
            identity = self._first_spelled(identity)
            found = self._made.get((scope, identity.key))
            if found is not None:
                self._same(found, identity, callbacks)
                return found
            made: Any = (
                OBSERVABLE[kind](identity, callbacks) if kind in OBSERVABLE else SYNCHRONOUS[kind](identity)
            )
            if len(self._made) >= _MOST:
                tell("", f"is made: there are {_MOST} already, and what further ones measure is not kept")
                return made
            self._plan(made)
            self._made[scope, identity.key] = made
            self._connect(made, enabled=enabled)
        if callbacks and row is None:
            self.on_observable()  # what is only asked has something to show, too
        return made

    def _first_spelled(self, identity: Identity) -> Identity:
        """The identity by the name that its meter saw first, whatever else it is: case tells no names
        apart."""
        key = identity.scope, identity.name.lower()
        if len(self._spellings) >= _MOST:
            first = self._spellings.get(key, identity.name)
        else:
            first = self._spellings.setdefault(key, identity.name)
        if first == identity.name:
            return identity
        tell(first, f"is also spelled {identity.name}: it keeps the name that was seen first")
        return replace(identity, name=first)

    def _same(self, found: Any, identity: Identity, callbacks: Sequence[Any] | None) -> None:
        """An instrument is made again."""
        if found.identity.bounds != identity.bounds:
            tell(
                identity.name,
                f"was made with the bounds {found.identity.bounds}, which stay, and again with "
                f"{identity.bounds}",
            )
        for callback in callbacks or ():
            found.ask_too(callback)

    def _plan(self, instrument: Any) -> None:
        identity = instrument.identity
        self._streams[instrument] = self._made_by(identity, self.planner.plans(identity))
        for reader, preferences in self._preferences.items():
            self._plan_for(reader, preferences, instrument)

    def _plan_for(self, reader: MetricReader, preferences: ReaderPreferences, instrument: Any) -> bool:
        """Streams of an instrument that a reader has for itself; whether there are any."""
        identity = instrument.identity
        prefers, limit = preferences.aggregation[identity.kind], preferences.limits.get(identity.kind)
        if prefers == Aggregated() and limit is None:
            return False
        plans = self.planner.plans(identity, prefers, limit)
        if plans == [stream.plan for stream in self._streams[instrument]]:
            return False
        self._own[reader][instrument] = self._made_by(identity, plans, tell_conflicts=False)
        return True

    def _made_by(
        self, identity: Identity, plans: Iterable[Plan], *, tell_conflicts: bool = True
    ) -> tuple[MeterStream, ...]:
        streams = []
        for plan in plans:
            if tell_conflicts:
                self._tell_conflicts(identity, plan)
            told = self._scope_labels and identity.row is None  # the catalogue's names need no scope
            labels = scope_labels(identity.scope) if told else ()
            streams.append(
                MeterStream(
                    plan,
                    identity.kind,
                    identity.scope,
                    labels,
                    self.streams,
                    total_suffix=self._total_suffix or identity.row is not None,
                )
            )
        return tuple(streams)

    def _tell_conflicts(self, identity: Identity, plan: Plan) -> None:
        others = self._names.setdefault((identity.scope, plan.name.lower()), [])
        if others:
            tell(
                plan.name,
                f"of {identity.scope.name} is made by several instruments or views, which differ: each is "
                "kept for itself, and who reads them may mix them up; give them one kind, unit and "
                "description, or names of their own",
            )
        others.append(plan)

    def _connect(self, instrument: Any, *, enabled: bool) -> None:
        streams = [*self._streams[instrument]]
        for own in tuple(self._own.values()):
            streams += own.get(instrument, ())
        instrument.write_to(streams, enabled=enabled)

    def enable(self, scope: InstrumentationScope, *, enabled: bool) -> None:
        """Have the instruments of a scope measure, or measure nothing."""
        for (its, _), instrument in tuple(self._made.items()):
            if its == scope:
                self._connect(instrument, enabled=enabled)
        (self._disabled.discard if enabled else self._disabled.add)(scope)

    # --- Readers
    # ----------------------------------------------------------------------------------------------

    def join(self, reader: MetricReader, preferences: ReaderPreferences) -> None:
        """A reader of the application's: what it prefers otherwise than others do, it has for itself."""
        with self._lock:
            self._own[reader] = {}
            self._preferences[reader] = preferences
            for instrument in tuple(self._made.values()):
                if self._plan_for(reader, preferences, instrument):
                    self._connect(instrument, enabled=instrument.identity.scope not in self._disabled)

    def leave(self, reader: MetricReader) -> None:
        """It reads no more."""
        self._preferences.pop(reader, None)
        for instrument in self._own.pop(reader, {}):
            self._connect(instrument, enabled=instrument.identity.scope not in self._disabled)

    def read_by(self, reader: MetricReader | None) -> Iterator[MeterStream]:
        """The streams that a reader reads; None: our page and exporters."""
        own: Mapping[Any, tuple[MeterStream, ...]] = self._own.get(reader, {}) if reader is not None else {}
        for instrument in tuple(self._made.values()):
            yield from own[instrument] if instrument in own else self._streams.get(instrument, ())

    def every(self) -> Iterator[MeterStream]:
        """All streams."""
        for held in (self._streams, *self._own.values()):
            for streams in tuple(held.values()):
                yield from streams

    # --- Reading
    # ----------------------------------------------------------------------------------------------

    def collect(self) -> None:
        """Ask all callbacks. Never waits for itself, nor for ever: then what was observed stays as it was.

        A callback that collects, as one does that scrapes or flushes, does so in the middle of a collection;
        and a thread that collects may be what a callback in another thread waits for.
        """
        observing = [each for each in tuple(self._made.values()) if isinstance(each, Observing)]
        within = _collections.get()
        if not observing or self._collection in within:
            return
        if not self._turns.acquire(timeout=_PATIENCE_SECONDS):
            return
        token = _collections.set(within | {self._collection})
        try:
            Round(observing).ask_all()
        finally:
            _collections.reset(token)
            self._turns.release()

    @property
    def dropped(self) -> int:
        """How many measurements and callbacks said nothing that their instrument takes."""
        failed = sum(each.failed for each in tuple(self._made.values()) if isinstance(each, Observing))
        return failed + sum(stream.rejected for stream in self.every())

    @property
    def folded(self) -> int:
        """How many measurements were past the limit of their stream."""
        return sum(stream.folded for stream in self.every())

    def families(self) -> list[Family]:
        """Every stream as a Prometheus family, named by the standard translation. Under the reading's
        lock."""
        return [family for stream in self.read_by(None) if (family := family_of(stream)) is not None]

    def parts(self, now: float) -> list[ThirdPartyFamily]:
        """The same for the other workers."""
        return [part for stream in self.read_by(None) if (part := part_of(stream, now)) is not None]


def scope_labels(scope: InstrumentationScope) -> LabelSet:
    """The labels that tell a scope (OpenTelemetry's translation to Prometheus)."""
    told = {
        "otel_scope_name": scope.name,
        "otel_scope_version": scope.version or "",
        "otel_scope_schema_url": scope.schema_url or "",
        **{f"otel_scope_{name}": value for name, value in redact_attributes(scope.attributes or {}).items()},
    }
    return tuple([(name, clean(value, name)) for name, value in told.items() if value != ""])
