"""What upstream's own HTTP instrumentation does in this process, so that nothing is told twice."""

from __future__ import annotations

import os

__all__ = ["measures_requests"]


def measures_requests() -> bool:
    """Whether upstream's instrumentation, where it runs, records `http.server.request.duration` itself.

    It does with the stable conventions, which `OTEL_SEMCONV_STABILITY_OPT_IN` asks for (`http`, or `http/dup`
    for both).
    """
    asked = os.environ.get("OTEL_SEMCONV_STABILITY_OPT_IN", "")
    return any(word.strip().lower() in {"http", "http/dup"} for word in asked.split(","))
