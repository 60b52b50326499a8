"""The routes of requests that no framework tells: listed templates, and functions of packages."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bext_otel.apps import AppResolver, default_app
from bext_otel.config import AppSettings, load
from bext_otel.errors import ConfigError
from bext_otel.routes import RouteTemplate, router
from tests.fresh import fresh

ROOT = Path(__file__).parent.parent
SEGMENTS = st.text(
    st.characters(exclude_characters="/{}?# \t\n", exclude_categories=["Cs", "Zs"]), min_size=1
)


@pytest.mark.parametrize(
    ("template", "path", "matches"),
    [
        ("/", "/", True),
        ("/", "/a", False),
        ("/a", "/a", True),
        ("/a", "/a/", False),
        ("/{database}", "/fixtures", True),
        ("/{database}", "/", False),
        ("/{database}", "/a/b", False),
        ("/{database}/{table}", "/a/b", True),
        ("/{database}/{table}", "/a/b/c", False),
        ("/{database}/{table}.json", "/a/b.json", True),
        ("/{database}/{table}.json", "/a/.json", False),
        ("/{database}/{table}.json", "/a/b.csv", False),
        ("/{a}-{b}-{c}", "/x-y-z", True),
        ("/{a}-{b}-{c}", "/x-y-", False),
        ("/{a}-{b}-{c}", "/--x--y", True),
        ("/{a}-{b}-{c}", "/x-y", False),
        ("/{a}{b}", "/xy", True),
        ("/{a}{b}", "/x", False),
        ("/static/{file:path}", "/static/a/b.css", True),
        ("/static/{file:path}", "/static/", True),
        ("/static/{file:path}", "/static", False),
        ("/{all:path}", "/", True),
        ("/größe/{n}", "/größe/é", True),
        ("/a.b", "/axb", False),
    ],
)
def test_a_template_matches_whole_segments(template: str, path: str, matches: bool) -> None:
    assert matches is RouteTemplate(template).matches(path)


@given(st.lists(SEGMENTS, min_size=1, max_size=5), st.data())
def test_whatever_stands_for_a_parameter_its_template_matches(
    segments: list[str], data: st.DataObject
) -> None:
    shown = [data.draw(st.sampled_from([segment, "{name}"])) for segment in segments]
    path = "/" + "/".join(segments)
    assert RouteTemplate("/" + "/".join(shown)).matches(path)
    assert not RouteTemplate("/" + "/".join(shown)).matches(f"{path}/more")
    assert RouteTemplate("/" + "/".join([*shown[:-1], "{rest:path}"])).matches(path)


def test_the_first_that_matches_is_the_route_and_apps_have_their_own() -> None:
    said: list[str] = []
    apps = {
        "data": AppSettings(routes=("/{database}/-/{tool}", "/{database}/{table}/{row}", "/{all:path}")),
        "shop": AppSettings(routes=("/items/{item}",)),
        "none": AppSettings(),
    }
    route_of = router(apps, {}, failed=said.append)
    assert route_of is not None
    assert "/{database}/-/{tool}" == route_of("data", "/a/-/b", {})
    assert "/{database}/{table}/{row}" == route_of("data", "/a/b/c", {})
    assert "/{all:path}" == route_of("data", "/a", {})
    assert None is route_of("shop", "/a", {})
    assert None is route_of("none", "/items/1", {})
    assert None is route_of("unknown", "/items/1", {})
    assert [] == said


def test_nothing_is_asked_where_nobody_knows_a_route() -> None:
    assert None is router({"shop": AppSettings(paths=("/",))}, {}, failed=print)


def test_functions_are_asked_after_templates_and_a_failing_one_is_one_line() -> None:
    said: list[str] = []

    def broken(path: str, surroundings: Mapping[str, Any]) -> str | None:
        raise LookupError(path)

    def wrong(path: str, surroundings: Mapping[str, Any]) -> Any:
        return 3

    def by_scope(path: str, surroundings: Mapping[str, Any]) -> str | None:
        return surroundings.get("matched")

    functions = {"broken": broken, "wrong": wrong, "by_scope": by_scope}
    route_of = router({"shop": AppSettings(routes=("/a",))}, functions, failed=said.append)
    assert route_of is not None
    assert "/a" == route_of("shop", "/a", {"matched": "/other"})
    assert ["/other", "/other", None] == [
        route_of("shop", "/b", {"matched": "/other"}),
        route_of("blog", "/a", {"matched": "/other"}),
        route_of("shop", "/b", {}),
    ]
    assert [True, True] == ["LookupError" in said[0], "'wrong': returned int" in said[1]]
    assert 2 == len(said)


@pytest.mark.parametrize(
    "wrong", ["items", "/a b", "/{}", "/{a", "/{a:int}", "/a{rest:path}", "/{rest:path}/a", "/a?b"]
)
def test_one_that_is_no_template_is_one_line(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "bext.config.toml").write_text(f'[apps.data]\nroutes = ["{wrong}"]\n', encoding="utf-8")
    loaded = load(environ={}, cwd=tmp_path)
    assert () == loaded.config.apps["data"].routes if "data" in loaded.config.apps else True
    (line,) = loaded.warnings
    assert "[apps.data] routes" in line
    with pytest.raises(ConfigError, match="routes"):
        load({"apps": {"data": {"routes": [wrong]}}}, environ={})


def test_the_only_app_with_routes_has_every_request_if_it_claims_none() -> None:
    only = {"data": AppSettings(routes=("/{database}",))}
    assert "data" == AppResolver(only, default=default_app(only, "shop"))("any.example", "/a")
    claiming = {"data": AppSettings(routes=("/{database}",), hosts=("data.example",))}
    assert "unknown" == AppResolver(claiming, default=default_app(claiming, "shop"))("any.example", "/a")


PROGRAM = """
    import asyncio, bext_otel
    from bext_otel_instrumentors.http.asgi import ASGIMiddleware
    from bext_otel_instrumentors.http.wsgi import WSGIMiddleware
    from tests.instrumentors.driving import ask, ask_wsgi
    from starlette.applications import Starlette
    from starlette.routing import Mount, Route
    from starlette.responses import PlainTextResponse
    runs = bext_otel.configure()

    async def bare(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def plain(environ, start_response):
        start_response("200 OK", [])
        return [b""]

    known = Starlette(routes=[Route("/fixtures/{own}", lambda request: PlainTextResponse("")), Mount("/old", bare)])
    ask(ASGIMiddleware(bare), "/fixtures/facets")
    ask(ASGIMiddleware(bare), "/fixtures/facets/3")
    ask(ASGIMiddleware(bare), "/1/2/3/4")
    ask_wsgi(WSGIMiddleware(plain), "/fixtures/facets")
    ask(known, "/fixtures/facets")
    ask(known, "/old/3")
    ask(known, "/old/3/4/5")
    body = runs.endpoints.reply("GET", "/metrics", "", {}, trusted=True).body.decode()
    show(sorted(line.partition("route=")[2] for line in body.splitlines() if line.startswith("bext_requests_total{")))
"""


def test_listed_routes_are_those_of_requests_that_no_framework_knows(tmp_path: Path) -> None:
    (tmp_path / "bext.config.toml").write_text(
        '[apps.data]\nroutes = ["/old/{number}", "/{database}/{table}", "/{database}/{table}/{row}"]\n',
        encoding="utf-8",
    )
    shown, _ = fresh(PROGRAM, tmp_path, PYTHONPATH=str(ROOT))
    assert [
        '"/fixtures/{own}"} 1',
        '"/old/{number}"} 1',
        '"/old/{path}"} 1',
        '"/{database}/{table}"} 2',
        '"/{database}/{table}/{row}"} 1',
        '"unmatched"} 1',
    ] == shown


def test_a_package_offers_a_function_by_an_entry_point(tmp_path: Path) -> None:
    (tmp_path / "knows.py").write_text(
        "def route(path, surroundings):\n    return '/{first}/{second}' if path.count('/') == 2 else None\n"
    )
    info = tmp_path / "knows-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: knows\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[bext_otel_routes]\nknows = knows:route\nlost = nowhere:route\n")
    shown, said = fresh(PROGRAM, tmp_path, PYTHONPATH=os.pathsep.join((str(ROOT), str(tmp_path))))
    assert '"/{first}/{second}"} 3' in shown
    assert 1 == str(said).count("bext_otel_routes 'lost' is left out: ModuleNotFoundError")
