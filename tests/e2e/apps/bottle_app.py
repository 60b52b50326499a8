"""A Bottle application by its own adapters: `python -m bottle_app ADAPTER PORT`."""

from __future__ import annotations

import sys

if __name__ == "__main__" and sys.argv[1] == "gevent":
    from gevent import monkey

    monkey.patch_all()

import bottle

app = bottle.Bottle()


@app.get("/first")
def first() -> str:
    return "tea"


@app.get("/tea/<number>")
def tea(number: str) -> str:
    return f"tea {number}"


@app.get("/fails")
def fails() -> str:
    raise LookupError("no tea")


if __name__ == "__main__":
    bottle.run(app, server=sys.argv[1], host="127.0.0.1", port=int(sys.argv[2]))
