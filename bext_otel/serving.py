"""Whether this process serves: answers requests or consumes tasks, by a server or worker of a known kind.

It does from its start where the command that launched it is one of those, elsewhere from the moment in which
one is opened in it. A child that is forked by a process that serves, serves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

from bext_otel.covering import cover
from bext_otel.launched_command import serves
from bext_otel.process import Undo, on_import

__all__ = ["begin", "is_aside", "is_serving", "on_serving", "since", "watch"]

# By module: what is called when a server or a worker opens. What a version of a library has not, is left out.
_OPENS: Mapping[str, tuple[str, ...]] = {
    "aiohttp.web_runner": ("BaseSite.start",),
    "arq.worker": ("Worker.async_run",),
    "celery.worker.worker": ("WorkController.start",),
    "cheroot.server": ("HTTPServer.prepare",),
    "daphne.server": ("Server.run",),
    "django.core.servers.basehttp": ("run",),
    "dramatiq.worker": ("Worker.start",),
    "eventlet.wsgi": ("server",),
    "gevent.pywsgi": ("WSGIServer.start",),
    "granian.server.common": ("AbstractServer.serve",),
    "granian.server.embed": ("Server.serve",),
    "gunicorn.arbiter": ("Arbiter.run",),
    "huey.consumer": ("Consumer.start",),
    "hypercorn.asyncio": ("serve",),
    "hypercorn.run": ("run",),
    "hypercorn.trio": ("serve",),
    "radicale.server": ("serve",),
    "rq.worker": ("BaseWorker.work", "Worker.work"),
    "sanic.app": ("Sanic._startup",),
    "tornado.httpserver": ("HTTPServer.add_sockets",),
    "twisted.web.server": ("Site.startFactory",),
    "uvicorn.server": ("Server.run", "Server.serve"),
    "uvicorn.supervisors.basereload": ("BaseReload.run",),
    "uvicorn.supervisors.multiprocess": ("Multiprocess.run",),
    "waitress.server": ("BaseWSGIServer.run", "MultiSocketServer.run"),
    "werkzeug.serving": ("run_simple", "BaseWSGIServer.serve_forever"),
    "wsgiref.simple_server": ("WSGIServer.serve_forever",),
}
# A page of metrics beside whatever a program does is no service of its own.
_ASIDE = ("prometheus_client.", "bext_otel.")

_since: float | None = None
_waiting: list[Callable[[], object]] = []


def is_serving() -> bool:
    """Does this process serve?"""
    return _since is not None


def is_aside(thing: object) -> bool:
    """Whether this server, or application, shows metrics beside whatever its process does."""
    module = getattr(thing, "__module__", None)
    return isinstance(module, str) and f"{module}.".startswith(_ASIDE)


def since() -> float | None:
    """When this process, or the one that forked it, began to serve, by `time.monotonic`; None: it does
    not."""
    return _since


def begin() -> None:
    """This process serves from now on. Whoever waits for that is called, once; nothing that they raise gets
    out."""
    global _since
    if _since is not None:
        return
    _since = time.monotonic()
    while _waiting:
        with suppress(Exception):  # the server opens, whatever telemetry makes of it
            _waiting.pop(0)()


def on_serving(call: Callable[[], object]) -> Undo:
    """Call this as soon as this process serves, before the server opens: now if it does already. Once, unless
    the answer was called before; in a process that was forked meanwhile, when that one serves."""
    if _since is not None:
        call()
        return lambda: None
    _waiting.append(call)

    def undo() -> None:
        with suppress(ValueError):  # it is called, or undone already
            _waiting.remove(call)

    return undo


def watch(commands: Iterable[Sequence[str]] = ()) -> Undo:
    """Find out whether this process serves, and when it begins to.

    `commands` are the command lines that launched it: its own, and those of the processes whose work it goes
    on with. What is returned stops that, and leaves the libraries as they were; who serves goes on to.
    """
    if any(map(serves, commands)):
        begin()
    undoing = ExitStack()
    if _since is None:
        for module, names in _OPENS.items():
            undoing.callback(on_import(module, partial(_announce, names, undoing)))
    return undoing.close


def _announce(names: tuple[str, ...], undoing: ExitStack, module: Any) -> None:
    for name in names:
        path, _, attribute = name.rpartition(".")
        owner = getattr(module, path, None) if path else module
        if callable(getattr(owner, attribute, None)):
            undoing.callback(cover(owner, attribute, _opening))


def _opening(original: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    if not (args and is_aside(args[0])):
        begin()
    return original(*args, **kwargs)
