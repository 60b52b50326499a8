"""OTLP over HTTP: sends requests that are encoded already, once each, and says what became of them."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from math import isfinite

from bext_otel.config import Signal
from bext_otel.distribution import VERSION
from bext_otel.export.delivery import Delivery
from bext_otel.export.http_client import Answer, HttpClient, UnsentError
from bext_otel.export.http_settings import http_settings
from bext_otel.export.replies import rejected, said
from bext_otel.text import visible

__all__ = ["MAX_REQUEST", "OtlpHttp"]

MAX_REQUEST = 64 << 20
"""How many bytes a request has at most, before it is compressed: JSON has up to six for one of a text."""

# OTLP specification, "Retryable Response Codes".
_MAY_PASS = frozenset({429, 502, 503, 504})
_GZIP = 16 + zlib.MAX_WBITS


class OtlpHttp:
    """Sends one signal to one endpoint, by the standard variables; `delivery` hears how it went. `json_of`
    makes JSON of a request, where that is spoken.

    Raises OSError or ValueError where a certificate cannot be read or the proxy cannot be used.
    """

    def __init__(
        self,
        signal: Signal,
        endpoint: str,
        delivery: Delivery,
        *,
        json_of: Callable[[bytes], bytes] | None = None,
    ) -> None:
        settings = http_settings(signal)
        self._delivery, self._json_of = delivery, json_of
        self._compression = settings.compression
        self._most_seconds = self._seconds = settings.timeout_seconds
        encoding = {} if settings.compression == "none" else {"content-encoding": settings.compression}
        self._headers = {
            "content-type": "application/x-protobuf" if json_of is None else "application/json",
            "user-agent": f"OTel-OTLP-Exporter-Python/{VERSION} (bext-otel)",
            **settings.headers,
            **encoding,
        }
        self._client = HttpClient(
            endpoint, trusted=settings.trusted, client=settings.client, client_key=settings.client_key
        )
        delivery.limits(self._limit)

    def _limit(self, seconds: float | None) -> None:
        """How long a request may take from now on; None: as the variables say, which is the most."""
        self._seconds = (
            self._most_seconds if seconds is None else max(min(self._most_seconds, seconds), 0.001)
        )

    def send(self, content: bytes, items: int) -> bool:
        """Send a request; whether it arrived."""
        del items  # the delivery knows
        message = content if self._json_of is None else self._json_of(content)
        if len(message) > MAX_REQUEST:
            self._delivery.explain(
                "too_large", f"a request has {len(message) >> 20} MiB, and 64 are the most"
            )
            return False
        body = self._compressed(message)
        try:
            answer = self._client.post(body, self._headers, seconds=self._seconds)
        except UnsentError as error:
            self._delivery.explain(error.cause, str(error), may_pass=True)
            return False
        self._delivery.answered(answer.status)
        kind = answer.headers.get("content-type", "")
        if 200 <= answer.status < 300:
            self._delivery.rejected(*rejected(answer.body, kind))
            return True
        self._refused(answer, said(answer.body, kind))
        return False

    def shutdown(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def _compressed(self, content: bytes) -> bytes:
        if self._compression == "none":
            return content
        maker = zlib.compressobj(wbits=_GZIP if self._compression == "gzip" else zlib.MAX_WBITS)
        return maker.compress(content) + maker.flush()

    def _refused(self, answer: Answer, message: str) -> None:
        # A redirect is none that is followed: who answers so may send the operator's credentials elsewhere.
        told = visible(f"{answer.status} {answer.reason}{': ' if message else ''}{message}")
        self._delivery.explain(
            str(answer.status),
            told.strip(),
            may_pass=answer.status in _MAY_PASS,
            pause_seconds=_retry_after(answer.headers.get("retry-after", "").strip()),
        )


def _retry_after(value: str) -> float:
    """Seconds that a server asks to be left alone, given as such or as a date; 0.0 for anything else."""
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError, IndexError):
            return 0.0
    return max(seconds, 0.0) if isfinite(seconds) else 0.0
