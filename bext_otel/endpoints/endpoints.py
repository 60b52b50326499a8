"""What each path answers, with no web framework: adapters turn requests into calls of `Endpoints.reply`, and
its replies into responses."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeAlias
from urllib.parse import parse_qsl

import msgspec

from bext_otel import config
from bext_otel.endpoints import log_levels
from bext_otel.endpoints.access import Access, Caller
from bext_otel.endpoints.formats import json, negotiate
from bext_otel.endpoints.pages import FORMATS, Collection, content_type, packed
from bext_otel.endpoints.sharing import Sharing
from bext_otel.endpoints.token import Token
from bext_otel.endpoints.views import View
from bext_otel.health.evaluation import Health, HealthReport
from bext_otel.health.groups import OWN_GROUPS, group_names
from bext_otel.listener.lanes import Together
from bext_otel.logs.level_watch import LevelWatch
from bext_otel.metrics.snapshot import Snapshot

__all__ = ["NOT_FOUND", "Endpoints", "Reply", "finished", "plain_text"]

METRICS_ALIAS = "/__bext/metrics"
HEALTH_ALIAS = "/__bext/health"
"""Where the bext server looks as well."""

_MAX_QUERY = 2048
_NO_GROUP = config.GroupSettings()
_READING, _CHANGING = ("GET", "HEAD"), ("GET", "HEAD", "PUT", "DELETE")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reply:
    """An answer. `headers` (lower-case names) are all but `content-type`; `content-length` among them, which
    for HEAD is that of GET."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class _Request:
    path: str
    query: str
    caller: Caller
    together: Together | None
    method: str


_Handler: TypeAlias = Callable[[_Request], Reply]


class Endpoints:
    """Metrics and health by path.

    `read` gives a fresh snapshot; without it there are no metrics to be had, for the reason `unread`.
    `settings` and `token` say who sees what (`access.POLICY`). `levels` are the log levels that may be raised
    here (None: none may).
    """

    _app_path = "/apps/"

    def __init__(
        self,
        *,
        metrics: config.MetricsSettings,
        health_settings: config.HealthSettings,
        read: Callable[[], Snapshot] | None,
        health: Health,
        settings: config.EndpointsSettings | None = None,
        token: Token | None = None,
        unread: str = "nothing is collected in this process, as with OTEL_SDK_DISABLED=true",
        levels: LevelWatch | None = None,
    ) -> None:
        self._metrics_settings = metrics
        self._health_settings = health_settings
        self._collections = None if read is None else Sharing(lambda: Collection(read()))
        self._health = health
        settings = settings or config.EndpointsSettings()
        self.access = Access(settings, token or Token(log=_log.warning))
        self._unread = unread
        self._failed: dict[str, str] = {}
        self._routes: dict[str, _Handler] = {}
        aliases = settings.platform_paths != "off"
        self._bases = (health_settings.path, *((HEALTH_ALIAS,) if aliases else ()))
        for base in self._bases:
            self._routes[base] = self._full
            for name in group_names(health_settings.groups):
                is_live = name == "live" and not health_settings.groups.get(name, _NO_GROUP).checks
                self._routes[f"{base}/{name}"] = self._live if is_live else partial(self._group, name)
        paths = (metrics.path, *((METRICS_ALIAS,) if aliases else ()))
        self._routes |= dict.fromkeys(paths, self._metrics)
        self._levels = levels
        if levels is not None:
            self._routes.setdefault(log_levels.PATH, self._log_levels)

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
                (f"{health}/startup", "has it started?"),
                *((f"{health}/{name}", "a group of checks") for name in self._groups()),
            ]
        if log_levels.PATH in self._routes:
            listed.append((log_levels.PATH, "log levels in force; PUT raises one for a time"))
        return tuple(listed)

    @property
    def first_page(self) -> tuple[str, str]:
        """What is shown, in a word, and where: metrics, else health."""
        path = next((path for path, _ in self.listing), "/")
        return ("metrics" if path == self._metrics_settings.path else "health"), path

    def _groups(self) -> tuple[str, ...]:
        return group_names(self._health_settings.groups)[len(OWN_GROUPS) :]

    def begin(self) -> None:
        """They are served from now on: health checks are asked, so that the first who wants to know is
        answered."""
        if self._health_settings.enabled:
            self._health.begin()

    def owns(self, path: str) -> bool:
        """Whether a path is answered here."""
        return self._handler(path) is not None

    def _handler(self, path: str) -> _Handler | None:
        found = self._routes.get(path)
        if found is None and self._app_path in path:  # apps come as they are seen
            base, _, app = path.partition(self._app_path)
            if base in self._bases and app in self._health.apps:
                return partial(self._app, app)
        return found

    def lane(
        self, path: str, visitor: Mapping[str, str] | None = None
    ) -> Literal["scrapes", "health"] | None:
        """Where the answer is made: those of one lane one after the other, and none behind another lane's.
        None: at once, for it asks nobody; so is one that refuses a `visitor` of the application, by his
        headers."""
        handler = self._handler(path)
        if handler is None or handler == self._live:
            return None
        if handler == self._metrics and visitor is not None:
            return "scrapes" if self._shows_metrics(path, Caller(visitor, trusted=False)) else None
        return "scrapes" if handler == self._metrics else "health"

    def reply(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        *,
        trusted: bool,
        together: Together | None = None,
    ) -> Reply | None:
        """The answer to a request; None for a path that is not ours. Never raises.

        `path` is without the mount's prefix, `headers` have lower-case names. `trusted` says that the caller
        reached our own loopback listener: on the application's port every visitor may look local, since bext
        is a proxy on the same host. Those who are answered `together` get pages of one collection.
        """
        handler = self._handler(path)
        if handler is None:
            return None
        if method not in (allowed := _CHANGING if handler == self._log_levels else _READING):
            wrong = plain_text(405, f"{path} answers {' and '.join(allowed)} only")
            return finished(replace(wrong, headers=(("allow", ", ".join(allowed)),)), method, headers)
        try:
            reply = finished(
                handler(_Request(path, query, Caller(headers, trusted), together, method)), method, headers
            )
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

    def _metrics(self, asked: _Request) -> Reply:
        if not self._metrics_settings.enabled:
            return plain_text(404, "metrics are off: [metrics] enabled (BEXT_METRICS_ENABLED) is false")
        if self._collections is None:
            return plain_text(404, f"metrics are off: {self._unread}")
        if not self._shows_metrics(asked.path, asked.caller):
            return _WANTS_TOKEN
        wanted = _format(asked.query) or negotiate.metrics_format(asked.caller.headers.get("accept", ""))
        if wanted not in FORMATS:
            return plain_text(400, f"unknown format {wanted[:50]!r}: expected one of {', '.join(FORMATS)}")
        collect = self._collections.get
        found = collect() if asked.together is None else asked.together.share(collect)
        caller = asked.caller
        view = View(self.access.shows("system", caller), self.access.shows("telemetry", caller))
        packs = negotiate.gzip_wanted(caller.headers.get("accept-encoding", ""))
        small = found.packed_page(wanted, view) if packs else None
        if small is None:
            return Reply(200, content_type(wanted), found.page(wanted, view), (("vary", "accept"),))
        return Reply(200, content_type(wanted), small, (("vary", "accept"), ("content-encoding", "gzip")))

    def _shows_metrics(self, path: str, caller: Caller) -> bool:
        own = self._metrics_settings.path
        if path == own:
            return self.access.shows("metrics", caller)
        return self.access.shows_platform_path(caller, moved=own != config.MetricsSettings().path)

    def _log_levels(self, asked: _Request) -> Reply:
        if self._levels is None or not self.access.shows("levels", asked.caller):
            return _WANTS_TOKEN
        status, document = log_levels.answer(self._levels, asked.method, asked.query)
        return Reply(status, json.CONTENT_TYPE, document)

    def _live(self, asked: _Request) -> Reply:
        try:
            return self._told(self._health.live, asked, status=200)
        except Exception as exc:  # who can answer is alive
            self._warn("liveness", exc)
            return Reply(200, json.CONTENT_TYPE, b'{"status":"healthy"}')

    def _group(self, name: str, asked: _Request) -> Reply:
        show = self._health_settings.groups.get(name, _NO_GROUP).show
        return self._told(partial(self._health.group, name), asked, show=show)

    def _app(self, name: str, asked: _Request) -> Reply:
        return self._told(partial(self._health.app, name), asked)

    def _full(self, asked: _Request) -> Reply:
        return self._told(self._health.full, asked)

    def _told(
        self,
        ask: Callable[[], HealthReport],
        asked: _Request,
        *,
        status: int | None = None,
        show: Literal["", "never", "token", "always"] = "",
    ) -> Reply:
        """A report, with its details only for those who may see them."""
        if not self._health_settings.enabled:
            return plain_text(404, "health is off: [health] enabled (BEXT_HEALTH_ENABLED) is false")
        report = ask()
        document = report.document() if self._sees_details(show, asked.caller) else report.plain()
        return Reply(
            status or report.http_status, json.CONTENT_TYPE, msgspec.json.encode(document, enc_hook=str)
        )

    def _sees_details(self, show: Literal["", "never", "token", "always"], caller: Caller) -> bool:
        if show == "token":
            return self.access.has_token(caller.headers)
        if show:
            return show == "always"
        return self._health_settings.include_details and self.access.shows("details", caller)

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

# RFC 6750, 3.
_WANTS_TOKEN = replace(
    plain_text(401, "this wants the token: Authorization: Bearer <[telemetry] token>"),
    headers=(("www-authenticate", 'Bearer realm="bext-otel"'),),
)


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
        compressed = packed(body)
        if len(compressed) < len(body):
            body = compressed
            added.append(("content-encoding", "gzip"))
    finished = (*others, ("vary", vary), *added, ("content-length", str(len(body))))
    return replace(reply, body=b"" if method == "HEAD" else body, headers=finished)
