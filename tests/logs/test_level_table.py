"""The level table of the platform's specification, row by row: what the real libraries do, as lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fresh import fresh

LEVELS = ("error", "warn", "info", "debug", "trace")

# What stands at each level; bodies of requests, at trace, are tried where they are taken.
TABLE = {
    ("error", "request completed", "/crash"),
    ("error", "isolate crashed", None),
    ("error", "plugin failed", None),
    ("warn", "cache evicted", None),
    ("warn", "bext.render slow", None),
    ("warn", "BEXT_LOGGING_SLOW_REQUEST_MS", None),
    ("info", "request completed", "/fine"),
    ("info", "deploy completed", None),
    ("info", "cache invalidated", None),
    ("debug", "cache hit", None),
    ("debug", "cache miss", None),
    ("debug", "body compressed", None),
    ("debug", "plugin called", None),
    ("trace", "plugin fuel consumed", None),
}

PROGRAM = """
import asyncio, logging, sys, time
import bext_otel
from bext_otel_instrumentors.asgi import ASGIMiddleware
runtime = bext_otel.configure()

# Requests, one of which fails, compressed.
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
import httpx

async def answer(request):
    if request.url.path == "/crash":
        raise LookupError("gone")
    return PlainTextResponse("x" * 5000)

app = Starlette(
    routes=[Route("/{word}", answer)], middleware=[Middleware(GZipMiddleware, minimum_size=100)]
)

async def ask():
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop.example") as client:
        await client.get("/fine", headers={"accept-encoding": "gzip"})
        await client.get("/crash")

asyncio.run(ask())

# A cache that is too small, and one that is cleared.
import cachetools
cache = cachetools.LRUCache(maxsize=2)
for number in range(4):
    cache[number] = number
cache.get(3), cache.get("missing")
cache.clear()

# A page that takes its time, and one that has no memory.
import py_mini_racer
with py_mini_racer.MiniRacer() as racer:
    racer.eval("const until = Date.now() + 150; while (Date.now() < until) {}; 1")
with py_mini_racer.MiniRacer() as racer:
    try:
        racer.eval("const all = []; while (true) all.push('x'.repeat(10000) + all.length)", max_memory=50_000_000)
    except Exception:
        pass

# A plugin with fuel, which fails.
import wasmtime
config = wasmtime.Config()
config.consume_fuel = True
engine = wasmtime.Engine(config)
store = wasmtime.Store(engine)
store.set_fuel(10_000)
source = '(module $plugin (func (export "fine")) (func (export "broken") unreachable))'
instance = wasmtime.Instance(store, wasmtime.Module(engine, source), [])
exports = instance.exports(store)
exports["fine"](store)
try:
    exports["broken"](store)
except Exception:
    pass

from bext_otel.deploys import deploy
with deploy("shop", "1.2.3"):
    pass

time.sleep(1.3)
runtime.shutdown()
show(1)
"""


def lines_at(level: str, folder: Path) -> list[dict[str, Any]]:
    env = {"BEXT_LOGGING_LEVEL": level, "BEXT_LOGGING_SLOW_REQUEST_MS": "soon"}
    _, lines = fresh(PROGRAM, folder, **env)
    return lines


@pytest.mark.parametrize("level", LEVELS)
def test_at_each_level_that_row_and_those_above_it_are_told(tmp_path: Path, level: str) -> None:
    pytest.importorskip("py_mini_racer")
    pytest.importorskip("wasmtime")
    lines = lines_at(level, tmp_path)
    told = {
        (own, message, path)
        for own, message, path in TABLE
        if any(
            line["level"] == own and message in line["message"] and path in (None, line.get("path"))
            for line in lines
        )
    }
    within = LEVELS[: LEVELS.index(level) + 1]
    assert {row for row in TABLE if row[0] in within} == told
    assert set(within) >= {line["level"] for line in lines}
