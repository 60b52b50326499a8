"""Datasette: route templates from its regular expressions, one span."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bext_otel.catalogue import REQUESTS
from bext_otel_instrumentors.http.asgi import ASGIMiddleware
from bext_otel_instrumentors.http.frameworks.datasette import DatasetteInstrumentor
from tests.instrumentors.conftest import Telemetry, instrumented_by
from tests.instrumentors.driving import Answer, ask_async, http_scope

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    datasette = pytest.importorskip("datasette.app")
    gc.collect()  # it leaves connections open, of which Python 3.13 and newer tell wherever they are collected

pytestmark = pytest.mark.filterwarnings("ignore")
instrumented = instrumented_by(DatasetteInstrumentor)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    # Where rich is installed, Datasette itself fails at what it does not find.
    monkeypatch.setattr("datasette.handle_exception.rich", None)
    path = tmp_path / "fixtures.db"
    with sqlite3.connect(path) as database:
        database.execute("create table facets (id integer primary key, name text)")
        database.execute("insert into facets values (1, 'a')")
    database.close()
    found = datasette.Datasette([str(path)])
    yield found
    for each in found.databases.values():
        each.close()
    del found, each
    gc.collect()


def asked(app: Any, path: str, **more: Any) -> Answer:
    return asyncio.run(ask_async(app, http_scope(path, **more)))


@pytest.mark.parametrize("around", [lambda app: app, ASGIMiddleware], ids=["alone", "by-hand"])
@pytest.mark.parametrize(
    ("path", "status", "route"),
    [
        ("/", 200, "/"),
        ("/fixtures", 200, "/{database}"),
        ("/fixtures.json", 200, "/{database}"),
        ("/fixtures/facets", 200, "/{database}/{table}"),
        ("/fixtures/facets/1.json", 200, "/{database}/{table}/{pks}"),
        ("/none", 404, "/{database}"),
        ("/-/static/app.css", 200, "/-/static/{path}"),
        ("/-/static/none.css", 404, "/-/static/{path}"),
        ("/-/versions", 200, "/-/versions"),
        ("/a/b/c/d/e", 404, "unmatched"),
    ],
)
def test_the_route_is_a_template_whatever_the_path(
    instrumented: Telemetry, made: Any, around: Any, path: str, status: int, route: str
) -> None:
    assert status == asked(around(made.app()), path).status
    assert {("shop", "GET", str(status), route): 1} == instrumented.counts(REQUESTS)
    assert (None if route == "unmatched" else route) == instrumented.attributes().get("http.route")


def test_below_a_base_url_the_route_has_it(instrumented: Telemetry, made: Any) -> None:
    made._settings["base_url"] = "/data/"
    assert 200 == asked(made.app(), "/data/fixtures/facets").status
    assert "/data/{database}/{table}" == instrumented.attributes()["http.route"]
