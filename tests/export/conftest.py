"""The fixtures of the metrics' tests."""

from tests.metrics.conftest import monotonic, reading, streams, upstream_loggers_as_they_were

__all__ = ["monotonic", "reading", "streams", "upstream_loggers_as_they_were"]
