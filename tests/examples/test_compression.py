"""Which coding a client gets."""

from __future__ import annotations

import gzip

import brotli
import pytest
from starlette.testclient import TestClient

from bext_demo.compression import preferred


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        ("", None),
        ("identity", None),
        ("gzip, deflate, br, zstd", "br"),
        ("gzip", "gzip"),
        ("GZIP;Q=0.5", "gzip"),
        ("br;q=0.5, gzip;q=0.8", "gzip"),
        ("br;q=0, gzip;q=0", None),
        ("br;q=0, gzip", "gzip"),
        ("br;q=nonsense", None),
        (",;,=;q", None),
    ],
)
def test_the_clients_preference_decides(header: str, coding: str | None) -> None:
    assert coding == preferred(header)


@pytest.mark.parametrize("path", ["/", "/dashboard/", "/api/products", "/static/site.css"])
def test_every_application_answers_the_same_in_every_coding(platform: TestClient, path: str) -> None:
    plain = platform.get(path, headers={"accept-encoding": "identity"})
    with platform.stream("GET", path, headers={"accept-encoding": "br"}) as response:
        assert "br" == response.headers["content-encoding"]
        assert plain.content == brotli.decompress(b"".join(response.iter_raw()))
    with platform.stream("GET", path, headers={"accept-encoding": "gzip"}) as response:
        assert "gzip" == response.headers["content-encoding"]
        assert plain.content == gzip.decompress(b"".join(response.iter_raw()))


def test_a_small_answer_is_not_compressed(platform: TestClient) -> None:
    assert (
        "content-encoding"
        not in platform.get("/api/products/cold-front", headers={"accept-encoding": "br"}).headers
    )
