"""The demo platform in this process, its applications calling each other without a network."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from bext_demo.asgi import create_app
from bext_demo.settings import Settings

# Newer Starlettes prefer a client that the platform has no use for; the one that it calls itself with does.
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="Using `httpx` with `starlette.testclient`")
    from starlette.testclient import TestClient


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path,
        render_timeout_seconds=1.5,
        report_seconds=0.0,
        payment_seconds=0.0,
        cache_bytes=16 * 1024,
        hosts=("testserver",),
    )


@pytest.fixture
def platform(settings: Settings) -> Iterator[TestClient]:
    """A client of the platform; every part is started, and closed at the end."""

    async def itself(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)

    app = create_app(settings, transport=httpx.ASGITransport(app=itself))
    with TestClient(app, raise_server_exceptions=False, follow_redirects=False) as client:
        yield client
