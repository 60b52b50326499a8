"""What HTTP clients log about exporting: at debug, several lines for each export, which tell nothing about
the application."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from bext_otel.process import on_import

__all__ = ["quieten_exports"]

# Filters work on the very logger only, so each is named; by the module whose import makes them.
_CLIENTS = {
    "urllib3.connectionpool": tuple(
        f"urllib3.{name}"
        for name in ("connectionpool", "connection", "poolmanager", "response", "util.retry")
    ),
    "charset_normalizer": ("charset_normalizer",),
}


class _Quiet(logging.Filter):
    """Leaves out what is below a warning while instrumentation is suppressed, as it is on a thread that
    exports."""

    def __reduce__(self) -> tuple[type[logging.Filter], tuple[()]]:
        return logging.Filter, ()  # in what the application pickles, nothing of ours

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter`."""
        return record.levelno >= logging.WARNING or is_instrumentation_enabled()


def quieten_exports() -> Callable[[], None]:
    """Keep lines about exporting from everybody, the application's own handlers too; what is returned undoes
    it."""
    quiet = _Quiet()
    undoing = ExitStack()

    def quieten(names: tuple[str, ...], _: object) -> None:
        for logger in map(logging.getLogger, names):
            logger.addFilter(quiet)
            undoing.callback(logger.removeFilter, quiet)

    for module, names in _CLIENTS.items():
        undoing.callback(on_import(module, partial(quieten, names)))
    return undoing.close
