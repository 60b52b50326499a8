"""A script that somebody's worker runs: counts five hits, and says what it knows of the service that it
is."""

import bext_otel
from bext_otel.catalogue import CACHE_HITS
from bext_otel.operation import count

count(CACHE_HITS, app="nested", layer="isr", by=5)
runs = bext_otel.running()
assert runs is not None
reply = runs.endpoints.reply("GET", "/metrics", "", {}, trusted=True)
assert reply is not None
print(
    ";".join(
        line
        for line in reply.body.decode().splitlines()
        if line.startswith(("bext_cache_hits_total", "bext_requests_total"))
    )
)
