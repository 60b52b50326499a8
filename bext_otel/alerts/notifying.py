"""Tells receivers what they have not been told: grouped, not twice, not too often, and not of what is
silenced."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TypeAlias

from bext_otel import threads
from bext_otel.alerts.evaluation import Alert
from bext_otel.alerts.receivers import Deliver, deliverer
from bext_otel.config.model import AlertReceiver, AlertSilence
from bext_otel.errors import ConfigError

__all__ = ["Receiver", "Silences", "figures", "receivers_of"]

_SEVERITIES = ("info", "warning", "critical")
_MOST_WAITING = 100
_TRIES = 5
_RESEND_SECONDS = 60.0  # to Alertmanager, which takes what it hears no more of to be over

Labels: TypeAlias = tuple[tuple[str, str], ...]


class Silences:
    """Which alerts nobody is told of, and until when."""

    def __init__(self, silences: Iterable[AlertSilence]) -> None:
        self._rows = [
            (_unix(each.until), {name: re.compile(pattern) for name, pattern in each.match.items()})
            for each in silences
            if each.until
        ]

    def cover(self, alert: Alert, now: float) -> bool:
        """Whether all patterns of one that has not ended match."""
        return any(
            now < until
            and all(pattern.fullmatch(alert.labels.get(name, "")) for name, pattern in patterns.items())
            for until, patterns in self._rows
        )


def _unix(text: str) -> float:
    at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (at if at.tzinfo else at.replace(tzinfo=timezone.utc)).timestamp()


@dataclass(slots=True)
class _Told:
    alert: Alert
    at: float
    firing: bool


class Receiver:
    """One receiver. `tell` is given all that fires, and finds out what is news; a thread of its own delivers,
    so that one that hangs keeps nobody waiting.

    Of what waits, the oldest is dropped past a hundred. `sent`, `failed` and `dropped` count notifications;
    `on_failure` is given the last error of each that failed. `back_off_seconds` is the first pause before
    another try; each is twice as long.
    """

    def __init__(
        self,
        settings: AlertReceiver,
        deliver: Deliver,
        silences: Silences,
        *,
        on_failure: Callable[[str], object],
        back_off_seconds: float = 1.0,
    ) -> None:
        self._settings = settings
        self._deliver = deliver
        self._silences = silences
        self._on_failure = on_failure
        self._back_off = back_off_seconds
        self._least = _SEVERITIES.index(settings.severity)
        self.reset()

    def reset(self) -> None:
        """Begin anew without a thread, as a forked child does."""
        self._told: dict[Labels, _Told] = {}
        self._waiting: deque[Sequence[Alert]] = deque()
        self._wake: threading.Event | None = None
        self._closed = False
        self.sent = self.failed = self.dropped = 0

    def tell(self, firing: Iterable[Alert], now: float) -> None:
        """Have what is new about these delivered, as one notification. Never waits."""
        current = {tuple(sorted(alert.labels.items())): alert for alert in firing}
        news: list[Alert] = []
        for key, alert in current.items():
            if _SEVERITIES.index(alert.labels["severity"]) < self._least:
                continue
            before = self._told.get(key)
            if self._silences.cover(alert, now) or not self._is_due(before, now):
                continue
            news.append(replace(alert, time_unix=now))
            self._told[key] = _Told(alert, now, firing=True)
        for key, told in list(self._told.items()):
            if key in current:
                continue
            if told.firing:
                news.append(replace(told.alert, state="resolved", time_unix=now))
                told.firing = False
            elif not 0 <= now - told.at < self._settings.cooldown_seconds:
                del self._told[key]
        if news:
            self._put(news)

    def _is_due(self, before: _Told | None, now: float) -> bool:
        if before is None:
            return True
        if before.firing:
            return self._settings.kind == "alertmanager" and not 0 <= now - before.at < _RESEND_SECONDS
        return not 0 <= now - before.at < self._settings.cooldown_seconds

    def _put(self, news: Sequence[Alert]) -> None:
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(news)
        if self._wake is None:
            self._wake = wake = threading.Event()
            if threads.start(self._run, wake, name="bext-otel-alert-receiver") is None:
                self._wake = None  # it waits for the next one
                return
        self._wake.set()

    def close(self) -> None:
        """Deliver nothing more."""
        self._closed = True
        if self._wake is not None:
            self._wake.set()

    def _run(self, wake: threading.Event) -> None:
        while not self._closed:
            wake.wait()
            wake.clear()
            while self._waiting and not self._closed:
                self._send(self._waiting.popleft(), wake)

    def _send(self, news: Sequence[Alert], wake: threading.Event) -> None:
        pause = self._back_off
        for attempt in range(_TRIES):
            try:
                self._deliver(news)
            except Exception as error:  # a receiver's trouble is counted, and nobody else's
                if attempt + 1 == _TRIES or self._closed:
                    self.failed += 1
                    self._on_failure(f"{type(error).__name__}: {error}")
                    return
                self._pause(pause)
                pause *= 2
            else:
                self.sent += 1
                return

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._closed and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.5))


def figures(receivers: Mapping[str, Receiver]) -> dict[str, int]:
    """How many notifications were sent, failed and were dropped, of all receivers."""
    found = {"alerts_sent": 0, "alerts_failed": 0, "alerts_dropped": 0}
    for receiver in receivers.values():
        found["alerts_sent"] += receiver.sent
        found["alerts_failed"] += receiver.failed
        found["alerts_dropped"] += receiver.dropped
    return found


def receivers_of(
    settings: Mapping[str, AlertReceiver],
    silences: Mapping[str, AlertSilence],
    *,
    tell: Callable[[str], object],
) -> dict[str, Receiver]:
    """Those of the settings by name. One that cannot be told of anything is left out, which is a line to
    `tell`; so is the first failure of each kind of one."""
    found = {}
    for name, each in settings.items():
        try:
            deliver = deliverer(name, each)
        except ConfigError as error:
            tell(f"{error}; the receiver is left out")
            continue
        found[name] = Receiver(each, deliver, Silences(silences.values()), on_failure=_once(name, tell))
    return found


def _once(name: str, tell: Callable[[str], object]) -> Callable[[str], object]:
    told: set[str] = set()

    def on_failure(why: str) -> None:
        if why not in told and len(told) < _MOST_WAITING:
            told.add(why)
            tell(f"[alerts.receivers.{name}] was not told: {why}")

    return on_failure
