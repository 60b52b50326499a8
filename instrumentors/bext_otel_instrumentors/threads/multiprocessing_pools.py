"""`multiprocessing.Pool` and `ThreadPool`: their tasks carry the context of whoever asks, and their workers
start in none."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from opentelemetry import context
from opentelemetry.context import Context

from bext_otel_instrumentors._kit.carrying import in_context, packed, unpacked_in
from bext_otel_instrumentors._kit.patch import Patches

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

__all__ = ["cover"]

# Every other method for submitting calls one of these. Each takes the function first.
_SUBMITTING = ("apply_async", "_map_async", "imap", "imap_unordered")

Method = Callable[..., Any]


_POOLS = "multiprocessing.pool"


def cover(patches: Patches) -> None:
    """Patch the pools, and how their workers are forked, when they are imported."""

    def cover_pools(module: Any) -> None:
        for name in _SUBMITTING:
            if hasattr(module.Pool, name):
                patches.wrap(module.Pool, name, _submitting)

    patches.when_imported(_POOLS, cover_pools)
    patches.when_imported(
        "multiprocessing.process", lambda module: patches.wrap(module.BaseProcess, "start", _starting)
    )


def _submitting(original: Method) -> Method:
    @wraps(original)
    def submit(self: Any, *args: Any, **kwargs: Any) -> Any:
        here = context.get_current()
        function = args[0] if args else kwargs.get("func")
        # What is no function is the library's to refuse, where and when it does.
        if not here or not callable(function):
            return original(self, *args, **kwargs)
        carrying = (
            partial(in_context, here, function)
            if isinstance(self, sys.modules[_POOLS].ThreadPool)
            else partial(unpacked_in, *packed(), function)
        )
        if args:
            return original(self, carrying, *args[1:], **kwargs)
        return original(self, **{**kwargs, "func": carrying})

    return submit


def _starting(original: Method) -> Method:
    @wraps(original)
    def start(self: BaseProcess) -> Any:
        if context.get_current() and getattr(getattr(self, "_target", None), "__module__", None) == _POOLS:
            return in_context(Context(), original, self)
        return original(self)

    return start
