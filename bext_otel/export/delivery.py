"""How export fares: counts for each signal, and one line in the log when a backend goes away and one when it
is back."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from opentelemetry.instrumentation.utils import suppress_instrumentation

from bext_otel.export.queue import Queue

__all__ = ["Delivery", "Figures", "Signal", "listen_to_exporters", "queue_of"]

_log = logging.getLogger("bext_otel.export")

# What upstream's exporters say while they retry, a line each time: why an export fails.
_UPSTREAM = "opentelemetry.exporter.otlp"
_TRANSIENT = re.compile(
    r"Transient error (.*?) encountered while exporting .*?(?:Error details: (.*))?$", re.DOTALL
)
# urllib3 tells of every layer, the innermost of which is the reason: what the system says, or TLS.
_INNERMOST = re.compile(r"\[Errno -?\d+\] ([^\"'()]+)|(\[SSL[^\]]*\] [^\"'()]+)")
_MAX_REASON = 300
# As urllib3 has it, with how many seconds it waited; and as we do.
_TIMEOUT, _NO_ANSWER = "Read timed out", "no answer in time"
# What an exporter says where the other side speaks another protocol, and what that means.
_MISTAKEN: tuple[tuple[re.Pattern[str], str], ...] = (
    (  # the first frame of HTTP/2; the exception's text is what came, its representation has it in quotes
        re.compile(r"(?:BadStatusLine\(['\"]|^)(?:\\x00|\x00){2}"),
        "this port speaks gRPC: set OTEL_EXPORTER_OTLP_PROTOCOL=grpc, or use port 4318",
    ),
    (
        re.compile(r"Failed parsing HTTP/2|Trying to connect an http1\.x server|Unexpected HTTP/1\.x"),
        "this port speaks HTTP: set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or use port 4317",
    ),
    (  # an alert of TLS
        re.compile(
            r"(?:BadStatusLine\(['\"]|^)(?:\\x15|\x15)(?:\\x03|\x03)|HTTP request was sent to (?:an )?HTTPS"
        ),
        "this port speaks TLS: write https:// in front of it",
    ),
    (
        re.compile(r"WRONG_VERSION_NUMBER|wrong version number"),
        "this port speaks no TLS: write http:// in front of it, or set OTEL_EXPORTER_OTLP_INSECURE=true",
    ),
)
_UNEXPLAINED = "no reason given"
_UNEXPLAINED_GRPC = (
    "no answer; if this port speaks HTTP, set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or use port 4317"
)
# Whose export this thread is at.
_exporting = threading.local()
# What upstream's batch processors say of each item that they drop. `Queue` counts those, and says so.
_PROCESSORS = "opentelemetry.sdk._shared_internal"

# Causes of failure that are told apart. Semantic conventions: `error.type` is `_OTHER` for one without a
# name.
_MAX_CAUSES = 32
_OTHER = "_OTHER"
# Durations that wait to be read; nobody may be reading.
_MAX_DURATIONS = 1024

Figures: TypeAlias = Mapping[str, "int | str"]
Signal: TypeAlias = Literal["traces", "metrics", "logs"]

_ITEMS: Mapping[str, str] = {"traces": "spans", "logs": "log records", "metrics": "metric points"}
_KINDS: Mapping[str, str] = {"traces": "span", "logs": "log", "metrics": "metric"}
_ROOM: Mapping[str, str] = {
    "traces": "OTEL_BSP_MAX_QUEUE_SIZE",
    "logs": "OTEL_BLRP_MAX_QUEUE_SIZE",
    "metrics": "",
}


def _unlimited(_: float | None) -> None:
    """An exporter that does not wait for anybody."""


class Delivery:
    """The way of one signal to one endpoint. Counts are items: spans, log records, data points.

    `endpoint` is where it sends, for people. `component` is the exporter's type by the semantic conventions
    (`otel.component.type`), `number` tells it from others of the same type. `keeps` says that whoever has
    something exported keeps what may arrive another time: that is not lost, `kept` is True after the attempt,
    and `pause_seconds` is how long the other side asked to be left alone. `is_ending` says that what fails
    from now on is told all at once (`Undelivered`).
    """

    def __init__(
        self,
        signal: Signal,
        endpoint: str,
        *,
        component: str = "",
        number: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.signal: Signal = signal
        self.endpoint = endpoint
        self.component = component or f"console_{_KINDS[signal]}_exporter"
        self.number = number
        self.address, self.port = _server(endpoint, grpc="grpc" in self.component)
        self.items = _ITEMS[signal]
        self.queue = Queue(self.items, _ROOM[signal], clock=clock)
        self.keeps = False
        self._set_limit: Callable[[float | None], object] = _unlimited
        self._limit_seconds: float | None = None
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Start over, as a forked child does."""
        self.queue.reset()
        self.exported = self.inflight = self._lost_before = 0
        # Until the first one has arrived, nobody knows.
        self._was_answered = False
        self._asked_at: float | None = None
        self.failures: dict[str, int] = {}
        self.failing = False
        self.last_loss: float | None = None
        self._cause, self._rejected, self._status = "", 0, 0
        self.reason = ""
        self.kept = self._may_pass = self.is_ending = False
        self.pause_seconds = 0.0
        # Seconds, a cause of failure ("" for none) and the status of the answer (0: none, or not HTTP): of
        # exports, and of readings for them.
        self.durations: deque[tuple[float, str, int]] = deque(maxlen=_MAX_DURATIONS)
        self.readings: deque[tuple[float, str, int]] = deque(maxlen=_MAX_DURATIONS)

    def limit(self, seconds: float | None) -> None:
        """How many seconds an attempt may take from now on; None: as long as the exporter's own timeout."""
        self._limit_seconds = seconds
        self._set_limit(seconds)

    def limits(self, set_limit: Callable[[float | None], object]) -> None:
        """The exporter has been made, which may be within an attempt: how to limit it."""
        self._set_limit = set_limit
        set_limit(self._limit_seconds)

    @property
    def unanswered_seconds(self) -> float:
        """How long the export in progress has waited; 0 if there is none."""
        asked_at = self._asked_at
        return 0.0 if asked_at is None else self._clock() - asked_at

    @property
    def failed(self) -> int:
        """Items that were given up, or that the backend rejected."""
        return sum(self.failures.values())

    def attempt(self, items: int, export: Callable[[], bool]) -> bool:
        """Have `items` exported by `export`, which says whether they arrived; count, time and explain. Never
        raises an Exception.

        One at a time. The exporter's own requests are nobody's trace: without suppression, an instrumented
        `requests` makes one of each.
        """
        self.inflight += items
        if not self.failing:
            self._lost_before = self.lost_so_far
        self._asked_at = self._clock()
        self._cause, self.reason, self._rejected, self._status = "", "", 0, 0
        self.kept = self._may_pass = False
        self.pause_seconds = 0.0
        arrived, began = False, time.perf_counter()
        _exporting.delivery = self
        try:
            with suppress_instrumentation():
                arrived = export()
        except Exception as error:  # an exporter must not end the thread that feeds it
            self.reason, self._cause = f"{type(error).__name__}: {error}", type(error).__qualname__
        finally:
            _exporting.delivery = self._asked_at = None
            self.inflight -= items
        rejected = min(self._rejected, items)
        if arrived:
            self.succeeded(items - rejected)
            if rejected:
                self._lose(rejected, "rejected")
        elif self.keeps and self._may_pass:
            self.kept = True
            self._fails()
        else:
            self.lost(items)
        cause = "" if arrived and not rejected else self._cause or "rejected"
        self.durations.append((time.perf_counter() - began, cause, self._status))
        return arrived

    def answered(self, status: int) -> None:
        """The backend has answered the export in progress with this status of HTTP."""
        self._status = status

    def hear(self, text: str) -> None:
        """What upstream's exporter says of the export in progress. Why it tries again tells more than that it
        gave up."""
        if (told := _TRANSIENT.match(text)) is not None:
            text = ": ".join(part for part in told.groups() if part)
        elif self.reason:
            return
        for mistake, meaning in _MISTAKEN:
            if mistake.search(text):
                self.reason = meaning
                return
        if _TIMEOUT in text:
            text = _NO_ANSWER
        innermost = _INNERMOST.search(text)
        self.reason = (innermost[1] or innermost[2] if innermost is not None else text).strip()[:_MAX_REASON]

    def explain(
        self, cause: str, reason: str = "", *, may_pass: bool = False, pause_seconds: float = 0.0
    ) -> None:
        """Why the export in progress failed: `cause` in a word (an exception's class, or a status), `reason`
        for people, whether it may arrive another time, and how long the other side asks to be left alone."""
        self._cause = cause
        if reason:
            self.reason = ""
            self.hear(reason)
        self._may_pass, self.pause_seconds = may_pass, pause_seconds

    def rejected(self, items: int, message: str) -> None:
        """The backend took the export in progress but for `items` of it (OTLP's partial success)."""
        if items > 0:
            if self.last_loss is None:
                _log.warning(
                    "%s of %s took not all %s: %s; counted as failed",
                    self.signal,
                    self.endpoint,
                    self.items,
                    message[:300],
                )
            self._rejected += items

    def succeeded(self, items: int) -> None:
        """A batch arrived."""
        self.exported += items
        self._was_answered = True
        if self.failing:
            self.failing = False
            if lost := self.lost_so_far - self._lost_before:
                _log.info(
                    "export of %s to %s works again; %s dropped meanwhile: %d",
                    self.signal,
                    self.endpoint,
                    self.items,
                    lost,
                )
            else:
                _log.info("export of %s to %s works again", self.signal, self.endpoint)

    def lost(self, items: int, reason: str = "") -> None:
        """A batch was given up."""
        self._cause = self._cause or _OTHER
        self._lose(items, self._cause)
        self._fails(reason)

    def _fails(self, reason: str = "") -> None:
        """One line for each outage."""
        if not self.failing:
            self.failing = True
            if self.is_ending:
                return
            _log.warning(
                "export of %s to %s fails: %s; the application goes on, what cannot be delivered is "
                "%scounted "
                "(OTEL_EXPORTER_OTLP_ENDPOINT or [telemetry] otlp_endpoint says where to)",
                self.signal,
                self.endpoint,
                reason or self.reason or (_UNEXPLAINED_GRPC if "grpc" in self.component else _UNEXPLAINED),
                "kept while there is room and sent again, what is lost is "
                if self.kept and _ROOM[self.signal]
                else "",
            )

    def give_up(self, items: int) -> None:
        """What was kept is sent no more."""
        self._lose(items, self._cause or _OTHER)

    def unread(self, error: Exception) -> None:
        """What there is to export could not be put together; it is kept, and tried again."""
        self.readings.append((0.0, type(error).__qualname__, 0))
        self.explain(type(error).__qualname__)
        self.lost(0, f"{type(error).__name__}: {error}")
        _log.debug("%s cannot be read", self.signal, exc_info=error)

    def _lose(self, items: int, cause: str) -> None:
        name = cause if cause in self.failures or len(self.failures) < _MAX_CAUSES else _OTHER
        self.failures[name] = self.failures.get(name, 0) + items
        self.last_loss = self._clock()

    @property
    def waiting(self) -> int:
        """Items that are queued, or on their way."""
        return self.queue.size + self.inflight

    @property
    def lost_so_far(self) -> int:
        """Items that were dropped, given up or rejected."""
        return self.failed + sum(self.queue.dropped.values())

    def lost_within(self, seconds: float) -> bool:
        """Whether something was dropped, rejected or given up in the last `seconds`."""
        then = self._clock() - seconds
        return any(moment is not None and moment > then for moment in (self.last_loss, self.queue.last_drop))

    def figures(self) -> Figures:
        """For the JSON document and the telemetry check. What waits is what is queued, or on its way."""
        word = self.items.replace(" ", "_")
        return {
            f"{word}_queued": self.waiting,
            f"{word}_exported": self.exported,
            f"{word}_dropped": sum(self.queue.dropped.values()),
            f"{word}_failed": self.failed,
            f"{word}_export": "failing" if self.failing else "ok" if self._was_answered else "trying",
        }


def queue_of(exporter: object, items: str, variable: str) -> Queue:
    """What counts the items that wait for an exporter: its own where it is one of ours, which know who counts
    for them; else one for these `items`, whose room `variable` names."""
    delivery = getattr(exporter, "delivery", None)
    return delivery.queue if isinstance(delivery, Delivery) else Queue(items, variable)


def _server(endpoint: str, *, grpc: bool) -> tuple[str, int | None]:
    """Host and port of an endpoint; ("", None) for what is no address, such as `console`."""
    if "://" not in endpoint and ":" not in endpoint:
        return "", None
    try:
        parts = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
        port = parts.port
    except ValueError:
        return "", None
    return parts.hostname or "", port or (443 if grpc or parts.scheme == "https" else 80)


class _Heard(logging.Handler):
    """Tells a delivery what upstream's exporters say of it, instead of a line for each retry."""

    def emit(self, record: logging.LogRecord) -> None:
        delivery: Delivery | None = getattr(_exporting, "delivery", None)
        if delivery is not None:
            with suppress(Exception):  # a message that cannot be formatted has nothing to tell
                delivery.hear(record.getMessage())


_heard = _Heard()


def listen_to_exporters() -> None:
    """Let upstream's exporters talk to us instead of to the application's log, and its processors be silent
    about what they drop."""
    upstream = logging.getLogger(_UPSTREAM)
    if _heard not in upstream.handlers:
        upstream.addHandler(_heard)
    upstream.propagate = False
    processors = logging.getLogger(_PROCESSORS)
    if processors.level == logging.NOTSET:
        processors.setLevel(logging.ERROR)
