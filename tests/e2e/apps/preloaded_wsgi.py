"""An application that counts while it is imported: in the master, when that preloads it."""

from measured import things
from service_wsgi import app

from bext_otel import operation
from bext_otel.catalogue import CACHE_HITS

__all__ = ["app"]

operation.count(CACHE_HITS, "shop", "isr", by=100)
things.add(100, {"kind": "tea"})
