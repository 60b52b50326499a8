"""What HTTP clients log about exporting: at debug, several lines for each export, which tell nothing about the application."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import wrapt
from opentelemetry.instrumentation.utils import is_instrumentation_enabled

__all__ = ["quieten_exports"]

# Filters work on the very logger only, so each is named; by the module whose import makes them.
_CLIENTS = {
    "urllib3.connectionpool": tuple(
        f"urllib3.{name}" for name in ("connectionpool", "connection", "poolmanager", "response", "util.retry")
    ),
    "charset_normalizer": ("charset_normalizer",),
}


class _Quiet(logging.Filter):
    """Leaves out what is below a warning while instrumentation is suppressed, as it is on a thread that exports."""

    def __reduce__(self) -> tuple[type[logging.Filter], tuple[()]]:
        return logging.Filter, ()  # in what the application pickles, nothing of ours

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter`."""
        return record.levelno >= logging.WARNING or is_instrumentation_enabled()


def quieten_exports() -> Callable[[], None]:
    """Keep lines about exporting from everybody, the application's own handlers too; what is returned undoes it."""
    quiet = _Quiet()
    loggers: list[logging.Logger] = []
    removed = False

    def hook(module: Any) -> None:
        if not removed:
            for logger in map(logging.getLogger, _CLIENTS[module.__name__]):
                logger.addFilter(quiet)
                loggers.append(logger)

    def remove() -> None:
        nonlocal removed
        removed = True
        while loggers:
            loggers.pop().removeFilter(quiet)

    for module in _CLIENTS:
        wrapt.register_post_import_hook(hook, module)
    return remove
