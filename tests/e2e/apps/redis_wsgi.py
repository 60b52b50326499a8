"""An application whose workers share a Redis, as a cache of pages."""

import os

import redis
from flask import Flask

app = Flask(__name__)
cache = redis.Redis(port=int(os.environ["REDIS_PORT"]))


@app.get("/items/<item>")
def item(item: str) -> str:
    if cache.get(f"page:{item}") is None:
        cache.set(f"page:{item}", "x" * int(item))
    return str(os.getpid())
