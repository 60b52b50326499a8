"""An application that counts while it is imported: in the master, when that preloads it."""

from measured import things
from service_wsgi import app

from bext_otel.catalogue import CACHE_HITS
from bext_otel.operation import count

__all__ = ["app"]

count(CACHE_HITS, app="shop", layer="isr", by=100)
things.add(100, {"kind": "tea"})
