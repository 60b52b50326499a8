"""GraphQL by Strawberry and Ariadne: the operation names the span, the route stays what it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from bext_otel.catalogue import HTTP_SERVER_REQUEST_DURATION, REQUESTS
from bext_otel_instrumentors.http.flask import FlaskInstrumentor
from bext_otel_instrumentors.http.frameworks.graphql import GraphQLInstrumentor
from bext_otel_instrumentors.http.starlette import StarletteInstrumentor
from tests.instrumentors.conftest import Telemetry, instrumented_by
from tests.instrumentors.driving import ask, ask_wsgi

instrumented = instrumented_by(GraphQLInstrumentor, StarletteInstrumentor, FlaskInstrumentor)

DOCUMENT = "query Hero { hero(episode: 1) } query Other { hero(episode: 2) } mutation Rename { rename }"
JSON = [("content-type", "application/json")]


def by_strawberry(*extensions: Any) -> Any:
    strawberry = pytest.importorskip("strawberry")
    from strawberry.asgi import GraphQL

    def hero(episode: int) -> str:
        return f"hero {episode}"

    def rename() -> str:
        return "renamed"

    query = strawberry.type(type("Query", (), {"hero": strawberry.field(resolver=hero)}))
    mutation = strawberry.type(type("Mutation", (), {"rename": strawberry.mutation(resolver=rename)}))
    return Starlette(
        routes=[Mount("/graphql", GraphQL(strawberry.Schema(query, mutation, extensions=extensions)))]
    )


def ariadne_schema() -> Any:
    ariadne = pytest.importorskip("ariadne")
    query, mutation = ariadne.QueryType(), ariadne.MutationType()
    query.set_field("hero", lambda *_, episode: f"hero {episode}")
    mutation.set_field("rename", lambda *_: "renamed")
    types = "type Query { hero(episode: Int!): String! } type Mutation { rename: String! }"
    return ariadne.make_executable_schema(types, query, mutation)


def by_ariadne() -> Any:
    schema = ariadne_schema()
    from ariadne.asgi import GraphQL

    return Starlette(routes=[Route("/graphql/", GraphQL(schema), methods=["GET", "POST"])])


def asked(app: Any, document: str = DOCUMENT, **more: Any) -> Any:
    body = json.dumps({"query": document, **more}).encode()
    headers = [*JSON, ("content-length", str(len(body)))]
    return ask(app, "/graphql/", "POST", body=[body], headers=headers)


@pytest.fixture(params=[by_strawberry, by_ariadne], ids=["strawberry", "ariadne"])
def app(request: pytest.FixtureRequest) -> Any:
    return request.param()


@pytest.mark.parametrize(
    ("operation", "kind"), [("Hero", "query"), ("Other", "query"), ("Rename", "mutation")]
)
def test_the_operation_names_the_span(instrumented: Telemetry, app: Any, operation: str, kind: str) -> None:
    answer = asked(app, operationName=operation)
    assert 200 == answer.status
    assert {"data"} == set(json.loads(answer.body))
    span = instrumented.server()
    attributes = dict(span.attributes or {})
    assert f"{kind} {operation}" == span.name
    assert (kind, operation) == (attributes["graphql.operation.type"], attributes["graphql.operation.name"])
    route = attributes["http.route"]
    assert "/graphql" in route
    assert {("shop", "POST", "200", route): 1} == instrumented.counts(REQUESTS)


@pytest.mark.parametrize("document", ["{ hero(episode: 1) }", "{ nothing", "{ nothing }"])
def test_one_without_a_name_is_called_by_its_route(instrumented: Telemetry, app: Any, document: str) -> None:
    asked(app, document)
    span = instrumented.server()
    assert f"POST {(span.attributes or {})['http.route']}" == span.name


def test_a_long_name_is_cut(instrumented: Telemetry, app: Any) -> None:
    asked(app, f"query {'a' * 5000} {{ hero(episode: 1) }}")
    assert "query " + "a" * 128 == instrumented.server().name


def test_what_executes_in_a_request_of_flask_names_it(instrumented: Telemetry) -> None:
    schema = ariadne_schema()
    from ariadne import graphql_sync

    flask = Flask(__name__)
    flask.add_url_rule(
        "/g", view_func=lambda: graphql_sync(schema, {"query": "query Hero { hero(episode: 1) }"})[1]
    )
    assert b"hero 1" in ask_wsgi(flask, "/g").body
    assert ("query Hero", "/g") == (instrumented.server().name, instrumented.attributes()["http.route"])


def test_what_strawberry_tells_of_its_own_is_below_the_request_which_is_counted_once(
    instrumented: Telemetry,
) -> None:
    """Its span of an operation is a server's too, but of no HTTP request."""
    pytest.importorskip("strawberry")
    from strawberry.extensions.tracing import OpenTelemetryExtension

    asked(by_strawberry(OpenTelemetryExtension), operationName="Hero")
    (request,) = [span for span in instrumented.spans() if "http.route" in (span.attributes or {})]
    (operation,) = [span for span in instrumented.servers() if span is not request]
    assert ("query Hero", None) == (request.name, request.parent)
    assert ("GraphQL Query: Hero", request.context) == (operation.name, operation.parent)
    assert [1] == list(instrumented.counts(HTTP_SERVER_REQUEST_DURATION).values())


def test_outside_of_a_request_it_executes_untouched_and_undone_too(telemetry: Telemetry) -> None:
    schema = ariadne_schema()
    from ariadne import graphql_sync

    GraphQLInstrumentor().instrument()
    answers = [graphql_sync(schema, {"query": DOCUMENT, "operationName": "Hero"})]
    GraphQLInstrumentor().uninstrument()
    answers += [graphql_sync(schema, {"query": DOCUMENT, "operationName": "Hero"})]
    assert [(True, {"data": {"hero": "hero 1"}})] * 2 == answers
    assert [] == telemetry.spans()
