"""Starlette's GZipMiddleware, also where it is the fallback of another one."""

from __future__ import annotations

from typing import Any

from bext_otel_instrumentors._kit.base import Instrumentor
from bext_otel_instrumentors._kit.patch import Patches
from bext_otel_instrumentors.compression.bodies import watch_responder, watch_sending

__all__ = ["StarletteGzipInstrumentor"]

# Of which a responder has one: the first until Starlette 0.46, the second since.
_SENDING = ("send_with_gzip", "send_with_compression")


class StarletteGzipInstrumentor(Instrumentor):
    """Instruments Starlette's GZipMiddleware, as soon as it is imported: every response that it compresses,
    also a streaming one."""

    requires = ("starlette >= 0.40",)

    def _patch(self, patches: Patches) -> None:
        patches.when_imported("starlette.middleware.gzip", self._cover)

    def _cover(self, module: Any) -> None:
        responder = module.GZipResponder
        for name in _SENDING:
            if hasattr(responder, name):
                self._patches.wrap(responder, name, watch_sending)
        self._patches.wrap(responder, "__call__", watch_responder)
