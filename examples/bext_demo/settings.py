"""Settings of the platform, from environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["Settings"]

_USUAL_REDIS = "redis://127.0.0.1:6379/0"


@dataclass(frozen=True)
class Settings:
    """What an operator may choose.

    `data_dir` holds the database and is kept; None: a temporary directory, gone at the end. `isolates` is how
    many V8 isolates may run at once, `isolate_memory_bytes` the heap of each, `render_timeout_seconds` the
    time of one render. A cached page is served as it is for `fresh_seconds`, and while it is rendered again
    for up to `stale_seconds`; the cache holds `cache_bytes` of HTML. What a call of the WASM plugin may burn,
    in wasmtime's units (about one for each instruction), is `request_fuel` for a request's target and
    `response_fuel` for a page. `report_seconds` is how long the warehouse takes to report, `payment_seconds`
    the payment provider to answer. `redis_url` is a Redis for parts of pages, used only where it answers;
    None: none. `broker_url` is a Redis over which a Celery worker in another process gets its tasks, in keys
    that begin with `queue`; None: there is none, and this process has a worker. `hosts` are the names that
    the platform answers to besides `localhost` and IP addresses.
    """

    data_dir: Path | None = None
    isolates: int = 2
    isolate_memory_bytes: int = 64 * 1024 * 1024
    render_timeout_seconds: float = 0.5
    fresh_seconds: float = 10.0
    stale_seconds: float = 60.0
    cache_bytes: int = 24 * 1024
    request_fuel: int = 20_000
    response_fuel: int = 400_000
    report_seconds: float = 0.7
    payment_seconds: float = 0.1
    redis_url: str | None = None
    broker_url: str | None = None
    queue: str = "bext-demo:tasks"
    hosts: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Settings from the variables in examples/README.md; ValueError names one that is wrong."""
        data_dir = environ.get("DEMO_DATA_DIR")
        return cls(
            data_dir=Path(data_dir) if data_dir else None,
            isolates=_positive(environ, "DEMO_ISOLATES", cls.isolates),
            cache_bytes=_positive(environ, "DEMO_CACHE_BYTES", cls.cache_bytes),
            redis_url=_redis_url(environ, "BEXT_DEMO_REDIS", _USUAL_REDIS),
            broker_url=_redis_url(environ, "DEMO_BROKER", ""),
            queue=environ.get("DEMO_QUEUE") or cls.queue,
            hosts=tuple(host for part in environ.get("DEMO_HOSTS", "").split(",") if (host := part.strip())),
        )


def _positive(environ: Mapping[str, str], name: str, default: int) -> int:
    raw = environ.get(name, "")
    if not raw:
        return default
    if not raw.isdecimal() or int(raw) == 0:
        raise ValueError(f"{name}={raw!r}: expected a positive whole number, e.g. {default}")
    return int(raw)


def _redis_url(environ: Mapping[str, str], name: str, default: str) -> str | None:
    """An address, None if it is empty."""
    raw = environ.get(name, default)
    if not raw:
        return None
    try:
        address = urlsplit(raw)
        right = address.scheme in {"redis", "rediss"} and bool(address.hostname) and address.port != 0
    except ValueError:  # a port that is none
        right = False
    if not right:
        raise ValueError(f"{name}={raw!r}: expected an address, e.g. {_USUAL_REDIS}, or nothing for none")
    return raw
