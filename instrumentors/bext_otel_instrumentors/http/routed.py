"""The route template of a request, as frameworks tell of it: mount by mount, or when they are asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

__all__ = ["Asked", "Routed"]

Asked: TypeAlias = "tuple[Callable[[Any, Routed, Mapping[str, Any]], str | None], Any]"
"""Who can say which route template a request has (below what the application is mounted under), if nobody
told: a function, and the application that it is to be called with, before the request and its scope or
environ."""


# The route of all that has no routes of its own.
_BELOW = "/{path}"


class Routed:
    """A request, as far as its route goes.

    `path` is the whole path. `mounts` is the template of what the matched route is mounted under and
    `mounted` the path behind it, which is `root` at first, `matched` the route's own template (None: none
    matched). `routed` says that a framework told, so that nobody needs to guess, `asked` who knows if nobody
    tells.
    """

    __slots__ = ("asked", "matched", "mounted", "mounts", "path", "root", "routed")

    def __init__(self, path: str, mounted: str, asked: Asked | None) -> None:
        self.path = path
        self.root = mounted
        self.mounts = ""
        self.mounted = mounted
        self.asked = asked
        self.matched: str | None = None
        self.routed = False

    def match(self, route: str | None) -> None:
        """A framework matched this route template (None: it has none that matches)."""
        self.matched = route
        self.routed = True

    def match_below(self, script_name: str, route: str | None) -> None:
        """As `match`, by an application that is reached under `script_name`: further in than mounts have told
        of, perhaps."""
        if script_name == self.mounted:
            pass
        elif script_name.startswith(self.mounted):
            self.mounts += script_name[len(self.mounted) :]
            self.mounted = script_name
        elif script_name == self.root:  # who routed before has only looked
            self.mounts, self.mounted = "", script_name
        self.matched, self.routed = route, True

    def enter_mount(self, template: str, path: str, *, routes: bool) -> None:
        """What is mounted under this template, which is `path` of this request, was entered; `routes` says
        that it has routes of its own.

        An application without (static files, WSGI) is one route; one with routes has yet to match. Some
        frameworks route more than once: what is entered again is not further inside.
        """
        if template and len(path) <= len(self.mounted):
            self.mounts = ""
        self.mounts += template
        self.mounted = path
        self.matched = None if routes else _BELOW
        self.routed = not routes

    @property
    def is_mount(self) -> bool:
        """Whether all that is known is what an application without routes of its own is mounted under."""
        return self.matched is _BELOW

    def may_ask(self, asked: Asked | None) -> None:
        """Who knows the route if nobody tells; whoever was named first is further outside, and is asked."""
        if self.asked is None:
            self.asked = asked

    def ask(self, surroundings: Mapping[str, Any]) -> str | None:
        """The route of a request that was answered before anybody told, from who was named for that; asks
        once."""
        if self.matched is None and not self.routed and self.asked is not None:
            (question, app), self.asked = self.asked, None
            self.routed = True
            with suppress(Exception):  # the application's own routing; it will fail there, too
                self.matched = question(app, self, surroundings)
        return self.matched

    def forget_mounts(self) -> None:
        """What is told of the route from now on is the whole of it."""
        self.mounts = ""
