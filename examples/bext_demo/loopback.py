"""How the platform's applications call each other: over HTTP, as if they ran on different machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

__all__ = ["Api", "ApiError", "base_url", "revalidate"]

_TIMEOUT_SECONDS = 3.0


class ApiError(Exception):
    """The API did not give what was asked of it."""


def base_url(server: Sequence[Any] | None) -> str:
    """The address of the server that received a request, from the ASGI scope's `server`: never the Host
    header, which a client writes."""
    host, port = server or ("127.0.0.1", 8000)
    if port is None:  # a Unix socket: nothing to call it by
        host, port = "127.0.0.1", 8000
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Api:
    """What the website asks of the API. `transport` stands in for the network in tests."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._transport = transport
        self._client: httpx.AsyncClient | None = None

    async def start(self) -> None:
        """Open the connection pool."""
        limits = httpx.Limits(max_connections=20, max_keepalive_connections=5)
        self._client = httpx.AsyncClient(
            transport=self._transport, timeout=_TIMEOUT_SECONDS, limits=limits, trust_env=False
        )

    async def close(self) -> None:
        """Close the connection pool."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def products(self, base: str) -> list[dict[str, Any]]:
        """Every product; ApiError if there is no answer."""
        return list((await self._get(f"{base}/api/products"))["products"])

    async def search(self, base: str, text: str) -> list[dict[str, Any]]:
        """Products that match; ApiError if there is no answer."""
        return list((await self._get(f"{base}/api/search", params={"q": text}))["products"])

    async def product(self, base: str, slug: str) -> dict[str, Any] | None:
        """One product, None if there is none of this name; ApiError if there is no answer."""
        response = await self._request(f"{base}/api/products/{slug}")
        return None if response.status_code == 404 else _document(response)

    async def _get(self, url: str, *, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        return _document(await self._request(url, params=params))

    async def _request(self, url: str, *, params: Mapping[str, str] | None = None) -> httpx.Response:
        assert self._client is not None, "the application has not been started"
        try:
            return await self._client.get(url, params=params)
        except httpx.HTTPError as error:
            raise ApiError(f"{type(error).__name__}: no answer from the API") from error


def _document(response: httpx.Response) -> dict[str, Any]:
    if response.status_code != 200:
        raise ApiError(f"the API answered {response.status_code}")
    document: dict[str, Any] = response.json()
    return document


def revalidate(base: str, tags: Sequence[str]) -> None:
    """Ask the website to render the pages with these tags again; httpx.HTTPError if it can't be reached or
    refuses. Blocks."""
    with httpx.Client(timeout=_TIMEOUT_SECONDS, trust_env=False) as client:
        client.post(f"{base}/revalidate", json={"tags": list(tags)}).raise_for_status()
