"""What an instrumentor was asked to serve beside the application: endpoints on its port, and the news that it serves."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from typing import Any, Protocol, TypeAlias

from bext_otel.process import on_fork
from bext_otel_instrumentors._guard import report

__all__ = ["Hosting", "Mount", "Reply"]


class Reply(Protocol):
    """An answer, ready to be sent."""

    @property
    def status(self) -> int:
        """HTTP status code."""

    @property
    def content_type(self) -> str:
        """Value of the Content-Type header."""

    @property
    def body(self) -> bytes:
        """The whole body."""

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Further headers."""


_log = logging.getLogger("bext_otel")

Mount: TypeAlias = Callable[[str, str, str, Mapping[str, str]], "Reply | None"]
"""Answers a request (method, path below the application's root, query, headers by lower-case name), or None: it is the application's.

It may have two attributes: `owns`, a function that says of a path whether it would answer, so that others need not be asked; and
`is_quick`, one that says whether the answer takes no time worth a thread.
"""

# Enough for a scrape and a probe at a time; more would take the processor from the application.
_THREADS = 2


class LazyHeaders(Mapping[str, str]):
    """Request headers by lower-case name, decoded when somebody looks."""

    def __init__(self, read: Callable[[], Mapping[str, str]]) -> None:
        self._read = read
        self._found: Mapping[str, str] | None = None

    def _headers(self) -> Mapping[str, str]:
        if self._found is None:
            self._found = self._read()
        return self._found

    def __getitem__(self, name: str) -> str:
        return self._headers()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers())

    def __len__(self) -> int:
        return len(self._headers())


class Hosting:
    """What to serve: `mount` answers before the application, `on_serving` hears of an application being made and of the first request,
    `on_ending` of an ASGI application that has shut down: some servers then end the process by a signal, without exit handlers.

    The first request counts for each process: workers that were forked after an application was made have their own.
    """

    def __init__(
        self, mount: Mount | None = None, on_serving: Callable[[], None] | None = None, on_ending: Callable[[], object] | None = None
    ) -> None:
        self.mount = mount
        self._on_ending = on_ending
        self.hears_end = on_ending is not None
        self._owns: Callable[[str], bool] | None = getattr(mount, "owns", None)
        self._is_quick: Callable[[str], bool] | None = getattr(mount, "is_quick", None)
        self._threads: ThreadPoolExecutor | None = None
        # By path: who knows the application's routes, until that was asked. The endpoints have few paths.
        self._routes: dict[str, Callable[[str], bool] | None] = {}
        self._on_serving = on_serving
        self.tells = on_serving is not None
        self.waiting = self.tells
        _all.add(self)

    def made(self) -> None:
        """An application was made."""
        if self._on_serving is not None:
            try:
                self._on_serving()
            except Exception as error:
                report("on_serving", error)

    def after(self, original: Callable[..., None]) -> Callable[..., None]:
        """An `__init__` that tells us when an application was made."""

        @wraps(original)
        def __init__(application: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807  # it becomes that method
            original(application, *args, **kwargs)
            self.made()

        return __init__

    def first(self) -> None:
        """The first request of this process, or its lifespan."""
        self.waiting = False
        self.made()

    def ended(self) -> None:
        """An application has shut down."""
        if self._on_ending is not None:
            try:
                self._on_ending()
            except Exception as error:
                report("on_ending", error)

    def may_answer(self, path: str) -> bool:
        """Whether `mount` might answer."""
        return self.mount is not None and (self._owns is None or self._owns(path))

    def expect(self, path: str, has_route: Callable[[str], bool]) -> None:
        """A request for `path` comes; `has_route` says whether the application has a route of its own there."""
        if self._owns is not None and path not in self._routes and self._owns(path):
            self._routes[path] = has_route

    def _tell_hidden(self, path: str) -> None:
        """Say once of each path that the endpoints hide a route of the application."""
        has_route = self._routes.get(path)
        if has_route is None:
            return
        self._routes[path] = None
        if has_route(path):
            _log.warning(
                "[metrics] mount answers at %s, where the application has a route of its own that is not reached any more: "
                "set [metrics] path or [health] path, or serve the endpoints without mount",
                path,
            )

    def wait_again(self) -> None:
        """In a forked child, the first request is still to come, and the parent's threads are not there."""
        self.waiting = self.tells
        self._threads = None

    async def answer_async(self, method: str, path: str, query: str, read_headers: Callable[[], Mapping[str, str]]) -> Reply | None:
        """As `answer`, and in a thread unless it is quick: a scrape, or a health check that waits, must not hold up other requests.

        The thread is ours: the loop's own may be busy with the application's work. On a loop that is not asyncio's it answers at once.
        """
        ask = partial(self.answer, method, path, query, read_headers)
        if self._owns is None or (self._is_quick is not None and self._is_quick(path)):
            return ask()
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="bext-otel-endpoints")
        try:
            made = asyncio.get_running_loop().run_in_executor(self._threads, ask)
        except RuntimeError:  # trio; or the interpreter ends, and starts no more threads
            return ask()
        return await made

    def answer(self, method: str, path: str, query: str, read_headers: Callable[[], Mapping[str, str]]) -> Reply | None:
        """The endpoint's answer; None where the application is to answer. Never raises."""
        if self.mount is None:
            return None
        try:
            reply = self.mount(method, path, query, LazyHeaders(read_headers))
            if reply is not None:
                self._tell_hidden(path)
        except Exception as error:
            report("an endpoint", error)
            return None
        return reply


_all: weakref.WeakSet[Hosting] = weakref.WeakSet()


def _after_fork() -> None:
    for hosting in tuple(_all):
        hosting.wait_again()


def _after_fork_in_parent() -> None:
    """A parent closes its endpoints for the children's sake; a request of its own shows that it serves itself."""
    for hosting in tuple(_all):
        hosting.waiting = hosting.tells


on_fork(in_parent=_after_fork_in_parent, in_child=_after_fork)
