"""A small local OTLP receiver and its pages."""

from bext_otel.viewer.limits import Limits
from bext_otel.viewer.server import Viewer
from bext_otel.viewer.store import Store

__all__ = ["Limits", "Store", "Viewer"]
