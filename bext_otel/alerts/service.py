"""Has the rules evaluated by one process of a service, as long as it runs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import Protocol

from bext_otel import threads
from bext_otel.alerts.evaluation import Alert, Evaluator
from bext_otel.alerts.notifying import Receiver, figures
from bext_otel.alerts.reading import Reading
from bext_otel.config.model import AlertRule
from bext_otel.metrics.snapshot import Snapshot
from bext_otel.process import on_fork

__all__ = ["AlertService", "Word"]

_log = logging.getLogger("bext_otel")


class Word(Protocol):
    """The right to evaluate for all processes of the service, until it is closed or the process ends."""

    def close(self) -> object:
        """Leave it to another one."""
        ...


class AlertService:
    """Evaluates `rules` every `interval_seconds`, from `start` on, in a thread of its own.

    `read` takes a snapshot of all workers. `take_word` answers None while another process evaluates; when
    that one ends, the next that asks goes on, from the readings that it takes itself. `notify` is given each
    alert that fires or is resolved; what it raises is one line. `receivers` are told of what fires at each
    look, and find out what is news.
    """

    def __init__(
        self,
        rules: Mapping[str, AlertRule],
        read: Callable[[], Snapshot],
        *,
        interval_seconds: float,
        take_word: Callable[[], Word | None],
        notify: Iterable[Callable[[Alert], object]],
        receivers: Mapping[str, Receiver] | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._rules = rules
        self._read = read
        self._interval = interval_seconds
        self._take_word = take_word
        self._notify = tuple(notify)
        self._receivers = receivers or {}
        self._wall = wall
        self._undoing = ExitStack()
        self._undoing.callback(on_fork(in_child=self._in_child))
        self._word: Word | None = None
        self._begin()

    def _begin(self) -> None:
        self._evaluator = Evaluator(self._rules)
        self._stop: threading.Event | None = None
        self._told: set[str] = set()

    def start(self) -> None:
        """From now on; nothing happens if it does already, or no thread can be had."""
        if self._stop is not None or not self._rules:
            return
        self._stop = stop = threading.Event()
        if threads.start(self._run, stop, name="bext-otel-alerts") is None:
            self._stop = None

    def close(self) -> None:
        """End the thread soon, and leave the evaluation to another process."""
        self._undoing.close()
        if self._stop is not None:
            self._stop.set()
        for receiver in self._receivers.values():
            receiver.close()
        self._leave()

    def figures(self) -> dict[str, int]:
        """What became of notifications of this process; nothing where there are no receivers."""
        return figures(self._receivers) if self._receivers else {}

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(self._interval):
            try:
                self.look()
            except Exception as error:  # the next look may go well
                self._say(f"alerts could not be evaluated: {type(error).__name__}: {error}")

    def look(self) -> bool:
        """Evaluate once, if nobody else does; whether it did."""
        if self._word is None:
            self._word = self._take_word()
            if self._word is None:
                return False
            self._evaluator = Evaluator(self._rules)
        for alert in self._evaluator.evaluate(Reading.of(self._read())):
            for notify in self._notify:
                try:
                    notify(alert)
                except Exception as error:  # others are told all the same
                    self._say(f"nobody was told of alert {alert.rule}: {type(error).__name__}: {error}")
        firing = [alert for alert in self._evaluator.active if alert.state == "firing"]
        for receiver in self._receivers.values():
            receiver.tell(firing, self._wall())
        for name, why in self._evaluator.failures.items():
            self._say(f"[alerts.rules.{name}] could not be evaluated: {why}")
        return True

    def _say(self, line: str) -> None:
        """Once, and not more than a hundred."""
        if line not in self._told and len(self._told) < 100:
            self._told.add(line)
            _log.warning("%s", line)

    def _leave(self) -> None:
        word, self._word = self._word, None
        if word is not None:
            word.close()

    def _in_child(self) -> None:
        # The parent goes on holding it by its own copy.
        self._leave()
        for receiver in self._receivers.values():
            receiver.reset()
        self._begin()
