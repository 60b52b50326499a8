"""One `service.instance.id` for each process of a service, the same in traces, metrics and logs.

Upstream gives a forked child a new random id in all three signals, also where the user has set one, while a
program that `multiprocessing` executes as a worker has the very id of its siblings, from the environment.
Here a worker's id begins with the user's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from opentelemetry.sdk import resources
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from bext_otel._compat import own_resource
from bext_otel.service.process_tree import origin_of
from bext_otel.service.procfs import Proc

__all__ = ["InstanceIds", "random_id"]

_ID = "service.instance.id"
# How much of the random id follows the user's.
_SUFFIX = 8


class InstanceIds:
    """Who this process is. `resource` is that of every signal; a forked child calls `in_child` before it says
    anything."""

    def __init__(self, resource: Resource, *, worker: bool | None = None) -> None:
        """`worker`: whether the process is one of several that share the user's settings; None: find out."""
        given = str(resource.attributes.get(_ID, ""))
        self._users = "" if given == random_id() else given
        self.resource = resource
        self._listeners: list[Callable[[Resource], None]] = []
        if self._users and (_is_worker() if worker is None else worker):
            self.resource = resource.merge(Resource({_ID: self._id()}))

    def keep(self, *providers: TracerProvider | MeterProvider | LoggerProvider) -> None:
        """Let these have this resource, also after a fork, where upstream would give each its own idea of
        it."""
        self._listeners += [own_resource(provider) for provider in providers]

    def tell(self, *listeners: Callable[[Resource], None]) -> None:
        """Call these with the resource of a forked child."""
        self._listeners += listeners

    def in_child(self) -> None:
        """This process is a fork of the one that was."""
        changed: dict[str, Any] = {_ID: self._id()}
        own = {"process.pid": os.getpid(), "process.parent_pid": os.getppid()}
        changed.update((name, value) for name, value in own.items() if name in self.resource.attributes)
        self.resource = self.resource.merge(Resource(changed))
        for listener in self._listeners:
            listener(self.resource)

    def _id(self) -> str:
        found = random_id()
        return f"{self._users}-{found[:_SUFFIX]}" if self._users else found


def random_id() -> str:
    """Upstream's, where it has one: random, kept by a process, another one in a forked child."""
    detector = getattr(resources, "ServiceInstanceIdResourceDetector", None)
    if detector is not None:
        return str(detector().detect().attributes[_ID])
    pid = os.getpid()
    if pid not in _random_ids:
        _random_ids.clear()
        _random_ids[pid] = str(uuid4())
    return _random_ids[pid]


# By process, for SDKs before 1.43.
_random_ids: dict[int, str] = {}


def _is_worker() -> bool:
    """Whether this process goes on with its parent's service, and so has siblings with the same settings."""
    # Also asked for by name, since only Linux has a /proc that tells.
    return "--multiprocessing-fork" in sys.orig_argv or origin_of(
        sys.orig_argv, os.environ, Proc(), pid=os.getpid()
    ).kind in {
        "joins",
        "forked",
    }
