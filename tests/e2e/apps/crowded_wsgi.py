"""A Flask application with 20,000 series, and one whose value is how often it was asked for: by something
that takes the processor for a while."""

import time
from itertools import count, product

from flask import Flask

from bext_otel import measuring
from bext_otel.catalogue import CACHE_ENTRIES, REQUESTS

app = Flask(__name__)
asked = count(1)


@app.get("/items/<item>")
def item(item: str) -> dict[str, str]:
    return {"item": item}


def entries() -> list[tuple[int, tuple[str, str]]]:
    end = time.thread_time() + 0.2
    while time.thread_time() < end:
        pass
    return [(next(asked), ("asked", "isr"))]


for number, status, route in product(range(20), range(20), range(50)):
    measuring.count(REQUESTS, app=f"app-{number}", method="GET", status=str(200 + status), route=f"/{route}")
measuring.observe(CACHE_ENTRIES, entries, "app", "layer")
