"""brotli-asgi's BrotliMiddleware. Where it falls back to gzip, that is Starlette's, which has an instrumentor
of its own."""

from __future__ import annotations

from typing import Any

from bext_otel_instrumentors._kit.base import Instrumentor
from bext_otel_instrumentors._kit.patch import Patches
from bext_otel_instrumentors.compression.bodies import watch_responder, watch_sending

__all__ = ["BrotliAsgiInstrumentor"]


class BrotliAsgiInstrumentor(Instrumentor):
    """Instruments brotli-asgi, as soon as it is imported: every response that it compresses, also a streaming
    one."""

    requires = ("brotli-asgi >= 1.4",)

    def _patch(self, patches: Patches) -> None:
        patches.when_imported("brotli_asgi", self._cover)

    def _cover(self, module: Any) -> None:
        self._patches.wrap(module.BrotliResponder, "send_with_brotli", watch_sending)
        self._patches.wrap(module.BrotliResponder, "__call__", watch_responder)
