"""What each path answers, with no web framework: adapters turn requests into calls of `Endpoints.reply`, and
its replies into responses."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias
from urllib.parse import parse_qsl

import msgspec

from bext_otel import config
from bext_otel.endpoints.formats import json, negotiate
from bext_otel.endpoints.pages import FORMATS, Collection, content_type, packed
from bext_otel.endpoints.sharing import Sharing
from bext_otel.health.evaluation import Health, HealthReport
from bext_otel.metrics.snapshot import Snapshot

__all__ = ["NOT_FOUND", "Endpoints", "Reply", "finished", "plain_text"]

METRICS_ALIAS = "/__bext/metrics"
HEALTH_ALIAS = "/__bext/health"
"""Where the bext server looks as well."""

_MAX_QUERY = 2048

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reply:
    """An answer. `headers` (lower-case names) are all but `content-type`; `content-length` among them, which
    for HEAD is that of GET."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


_Handler: TypeAlias = Callable[[str, Mapping[str, str], bool], Reply]


class Endpoints:
    """Metrics and health by path.

    `read` gives a fresh snapshot; without it there are no metrics to be had, for the reason `unread`. `token`
    opens health details to callers that are not trusted; without one they stay closed to them.
    """

    def __init__(
        self,
        *,
        metrics: config.MetricsSettings,
        health_settings: config.HealthSettings,
        read: Callable[[], Snapshot] | None,
        health: Health,
        token: str = "",
        unread: str = "nothing is collected in this process, as with OTEL_SDK_DISABLED=true",
    ) -> None:
        self._metrics_settings = metrics
        self._health_settings = health_settings
        self._collections = None if read is None else Sharing(lambda: Collection(read()))
        self._health = health
        self._token = token.encode()
        self._unread = unread
        self._failed: dict[str, str] = {}
        self._routes: dict[str, _Handler] = {}
        for base in (health_settings.path, HEALTH_ALIAS):
            self._routes |= {base: self._full, f"{base}/live": self._live, f"{base}/ready": self._ready}
        self._routes |= dict.fromkeys((metrics.path, METRICS_ALIAS), self._metrics)

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path that is answered here."""
        return tuple(self._routes)

    @property
    def listing(self) -> tuple[tuple[str, str], ...]:
        """(address, what it shows) of what is on, for people."""
        metrics, health = self._metrics_settings.path, self._health_settings.path
        listed: list[tuple[str, str]] = []
        if self._metrics_settings.enabled and self._collections is not None:
            listed += [(metrics, "metrics for Prometheus"), (f"{metrics}?format=json", "metrics as JSON")]
        if self._health_settings.enabled:
            listed += [
                (health, "every health check"),
                (f"{health}/live", "is the process alive?"),
                (f"{health}/ready", "can it serve traffic?"),
            ]
        return tuple(listed)

    def owns(self, path: str) -> bool:
        """Whether a path is answered here."""
        return path in self._routes

    def is_quick(self, path: str) -> bool:
        """Whether the answer is made at once, without asking anybody: such a path must never wait behind
        another."""
        return self._routes.get(path, self._live) == self._live

    def reply(
        self, method: str, path: str, query: str, headers: Mapping[str, str], *, trusted: bool
    ) -> Reply | None:
        """The answer to a request; None for a path that is not ours. Never raises.

        `path` is without the mount's prefix, `headers` have lower-case names. `trusted` says that the caller
        reached our own loopback listener: on the application's port every visitor may look local, since bext
        is a proxy on the same host.
        """
        handler = self._routes.get(path)
        if handler is None:
            return None
        if method not in {"GET", "HEAD"}:
            wrong = plain_text(405, f"{path} answers GET and HEAD only")
            return finished(replace(wrong, headers=(("allow", "GET, HEAD"),)), method, headers)
        try:
            reply = finished(handler(query, headers, trusted), method, headers)
            self._failed.pop(path, None)
            return reply
        except Exception as exc:  # telemetry never hurts the application, and a client sees no traceback
            self._warn(path, exc)
            return finished(
                plain_text(
                    503, f"{path} could not be answered ({type(exc).__name__}); the next request tries again"
                ),
                method,
                headers,
            )

    def _metrics(self, query: str, headers: Mapping[str, str], trusted: bool) -> Reply:
        if not self._metrics_settings.enabled:
            return plain_text(404, "metrics are off: [metrics] enabled (BEXT_METRICS_ENABLED) is false")
        if self._collections is None:
            return plain_text(404, f"metrics are off: {self._unread}")
        wanted = _format(query) or negotiate.metrics_format(headers.get("accept", ""))
        if wanted not in FORMATS:
            return plain_text(400, f"unknown format {wanted[:50]!r}: expected one of {', '.join(FORMATS)}")
        found = self._collections.get()
        small = (
            found.packed_page(wanted) if negotiate.gzip_wanted(headers.get("accept-encoding", "")) else None
        )
        if small is None:
            return Reply(200, content_type(wanted), found.page(wanted), (("vary", "accept"),))
        return Reply(200, content_type(wanted), small, (("vary", "accept"), ("content-encoding", "gzip")))

    def _live(self, query: str, headers: Mapping[str, str], trusted: bool) -> Reply:
        try:
            return self._told(self._health.live, headers, trusted=trusted, status=200)
        except Exception as exc:  # who can answer is alive
            self._warn("liveness", exc)
            return Reply(200, json.CONTENT_TYPE, b'{"status":"healthy"}')

    def _ready(self, query: str, headers: Mapping[str, str], trusted: bool) -> Reply:
        return self._told(self._health.ready, headers, trusted=trusted)

    def _full(self, query: str, headers: Mapping[str, str], trusted: bool) -> Reply:
        return self._told(self._health.full, headers, trusted=trusted)

    def _told(
        self,
        ask: Callable[[], HealthReport],
        headers: Mapping[str, str],
        *,
        trusted: bool,
        status: int | None = None,
    ) -> Reply:
        """A report, with its details only for those who may see them."""
        if not self._health_settings.enabled:
            return plain_text(404, "health is off: [health] enabled (BEXT_HEALTH_ENABLED) is false")
        report = ask()
        detailed = self._health_settings.include_details and (trusted or self._has_token(headers))
        document = report.document() if detailed else {"status": report.status}
        return Reply(
            status or report.http_status, json.CONTENT_TYPE, msgspec.json.encode(document, enc_hook=str)
        )

    def _has_token(self, headers: Mapping[str, str]) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if not self._token or scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(self._token, given.strip().encode(errors="replace"))

    def _warn(self, path: str, exc: Exception) -> None:
        """One line for a failure, and no other until it changes or is over: a scraper comes back every few
        seconds."""
        failed = type(exc).__name__
        if failed != self._failed.get(path):
            self._failed[path] = failed
            _log.warning("%s could not be answered: %r", path, exc)


def plain_text(status: int, line: str) -> Reply:
    """One line for a person."""
    return Reply(status, "text/plain; charset=utf-8", f"{line}\n".encode(errors="replace"))


NOT_FOUND = plain_text(404, "not found")


def _format(query: str) -> str:
    """The last `format` of a query, in lower case; empty if there is none."""
    pairs = parse_qsl(query[:_MAX_QUERY], errors="replace")
    return next((value.strip().lower() for name, value in reversed(pairs) if name == "format"), "")


def finished(reply: Reply, method: str, headers: Mapping[str, str]) -> Reply:
    """With gzip where it is welcome and helps, the headers that every reply has, and no body for HEAD."""
    body, added = reply.body, [("cache-control", "no-store"), ("x-content-type-options", "nosniff")]
    vary = ", ".join([*(value for name, value in reply.headers if name == "vary"), "accept-encoding"])
    others = tuple(header for header in reply.headers if header[0] != "vary")
    if "content-encoding" not in dict(others) and negotiate.gzip_wanted(headers.get("accept-encoding", "")):
        compressed = b"".join(packed([body]))
        if len(compressed) < len(body):
            body = compressed
            added.append(("content-encoding", "gzip"))
    finished = (*others, ("vary", vary), *added, ("content-length", str(len(body))))
    return replace(reply, body=b"" if method == "HEAD" else body, headers=finished)
