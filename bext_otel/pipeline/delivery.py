"""How export fares: counts for each signal, and one line in the log when a backend goes away and one when it is back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

__all__ = ["Delivery", "listen_to_exporters"]

_log = logging.getLogger("bext_otel.export")

# What upstream's exporters say while they retry, a line each time. The last one of a thread is the reason of its failed export.
_UPSTREAM = "opentelemetry.exporter.otlp"


class Delivery:
    """The way of one signal to one endpoint. Counts are items: spans, log records, data points."""

    def __init__(self, signal: str, endpoint: str) -> None:
        self.signal = signal
        self.endpoint = endpoint
        self.exported = 0
        self.failed = 0
        self.failing = False

    def succeeded(self, items: int) -> None:
        """A batch arrived."""
        self.exported += items
        if self.failing:
            self.failing = False
            _log.info("export of %s to %s works again", self.signal, self.endpoint)

    def lost(self, items: int, reason: str = "") -> None:
        """A batch was given up."""
        self.failed += items
        if not self.failing:
            self.failing = True
            why = reason or _heard.take() or "no reason given"
            _log.warning(
                "export of %s to %s fails: %s; the application goes on, what cannot be delivered is counted "
                "(OTEL_EXPORTER_OTLP_ENDPOINT or [telemetry] otlp_endpoint says where to)",
                self.signal,
                self.endpoint,
                why,
            )

    def figures(self) -> Mapping[str, int | str]:
        """For the JSON document and the telemetry check."""
        return {
            f"{self.signal}_exported": self.exported,
            f"{self.signal}_failed": self.failed,
            f"{self.signal}_export": "failing" if self.failing else "ok",
        }


class _Heard(logging.Handler):
    """Keeps the last thing that upstream's exporters said in a thread, instead of a line for each retry."""

    def __init__(self) -> None:
        super().__init__()
        self._said = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._said.text = record.getMessage()[:300]
        except Exception:  # a message that cannot be formatted has nothing to tell
            self._said.text = ""

    def take(self) -> str:
        text: str = getattr(self._said, "text", "")
        self._said.text = ""
        return text


_heard = _Heard()


def listen_to_exporters() -> None:
    """Let upstream's exporters talk to us instead of to the application's log."""
    upstream = logging.getLogger(_UPSTREAM)
    if _heard not in upstream.handlers:
        upstream.addHandler(_heard)
    upstream.propagate = False
