"""An application that closes what it does not know, and opens files of its own, which get the same
numbers."""

import os
from pathlib import Path

from flask import Flask, request
from service_wsgi import app

__all__ = ["app"]


def ours() -> list[int]:
    """Descriptors of the memory that workers share."""
    listed = [int(name) for name in os.listdir("/proc/self/fd")]
    return [number for number in listed if _target(number).startswith("/memfd:bext-otel")]


def _target(number: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        return ""


assert isinstance(app, Flask)


@app.get("/close")
def close() -> object:
    closed = ours()
    for number in closed:
        os.close(number)
    opened = []
    if "file" in request.args:
        file = os.open(request.args["file"], os.O_RDWR | os.O_CREAT)
        for number in closed:
            os.dup2(file, number)
            opened.append(number)
    return {"pid": os.getpid(), "closed": closed, "opened": opened}


@app.get("/held")
def held() -> object:
    return {"pid": os.getpid(), "held": ours()}


@app.get("/size")
def size() -> object:
    return {"pid": os.getpid(), "size": Path(request.args["file"]).stat().st_size}
