"""Our server spans beside upstream's, on the same requests: equal, but for what is listed here by name, with
its reason."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.instrumentors.differential import REQUESTS

Span = dict[str, Any]


@cache
def spans(framework: str) -> dict[str, dict[str, Span]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.instrumentors.differential", framework],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OTEL_SEMCONV_STABILITY_OPT_IN": "http"},
        cwd=Path(__file__).parents[3],
    )
    found: dict[str, dict[str, Span]] = json.loads(done.stdout)
    return found


@dataclass(frozen=True)
class Difference:
    """`applies` says of a request and both spans whether it is to be seen there; `make_equal` gives
    upstream's span what ours has there."""

    reason: str
    applies: Callable[[str, Span, Span], bool]
    make_equal: Callable[[Span, Span], None]


def takes(*names: str) -> Callable[[Span, Span], None]:
    """These attributes are as ours has them."""

    def make_equal(upstream: Span, ours: Span) -> None:
        for name in names:
            upstream["attributes"].pop(name, None)
            if name in ours["attributes"]:
                upstream["attributes"][name] = ours["attributes"][name]

    return make_equal


def named(upstream: Span, ours: Span) -> None:
    upstream["name"] = ours["name"]


def lone(upstream: Span, ours: Span) -> None:
    upstream["children"] = 0


def always(name: str, upstream: Span, ours: Span) -> bool:
    return True


APP = Difference("The app is what bext tells apart.", always, takes("bext.app"))
PEER = Difference(
    "network.peer.* is recommended by the conventions; upstream has the client only.",
    always,
    takes("network.peer.address", "network.peer.port"),
)
ADDRESS = Difference(
    "server.address is a name without a port, and the one that the client asked for (conventions, Host "
    "header); upstream's ASGI has the "
    "socket's address, both append the port.",
    always,
    takes("server.address"),
)
ERROR_TYPE = Difference(
    "An unhandled exception is told by its class, which the conventions prefer; upstream only sees the 500 "
    "that was made of it.",
    lambda name, upstream, ours: name == "failure",
    takes("error.type"),
)
ASGI_DIFFERENCES = {
    "app": APP,
    "peer": PEER,
    "server address": ADDRESS,
    "error type": ERROR_TYPE,
    "route": Difference(
        "Upstream's middleware does not know the route, and has the path in the span's name: any number of "
        "names.",
        lambda name, upstream, ours: "http.route" in ours["attributes"],
        lambda upstream, ours: (takes("http.route")(upstream, ours), named(upstream, ours))[0],
    ),
    "no path in names": Difference(
        "Where no route matched, the name is the method alone; upstream has the path there too.",
        lambda name, upstream, ours: name == "not found",
        named,
    ),
    "secrets": Difference(
        "Values of secret parameters do not leave the process.",
        lambda name, upstream, ours: name == "secret in the query",
        takes("url.query"),
    ),
    "no message spans": Difference(
        "A span for each message sent says nothing and doubles the cost.", always, lone
    ),
}
FLASK_DIFFERENCES = {
    "app": APP,
    "peer": PEER,
    "server address": ADDRESS,
    "error type": ERROR_TYPE,
    "path": Difference(
        "url.path is required by the conventions; upstream's WSGI has it only with a RAW_URI.",
        always,
        takes("url.path"),
    ),
    "query": Difference(
        "url.query is required by the conventions if there is one; upstream's WSGI has it only with a "
        "RAW_URI.",
        lambda name, upstream, ours: "url.query" in ours["attributes"],
        takes("url.query"),
    ),
    "no path in names": Difference(
        "Where no route matched, the name is the method alone; upstream has the path there.",
        lambda name, upstream, ours: name == "not found",
        named,
    ),
    "route of a wrong method": Difference(
        "A route that exists for another method is the target of the request all the same.",
        lambda name, upstream, ours: name in {"wrong method", "unknown method"},
        lambda upstream, ours: (takes("http.route")(upstream, ours), named(upstream, ours))[0],
    ),
}

WSGI_DIFFERENCES = {
    name: FLASK_DIFFERENCES[name] for name in ("app", "peer", "server address", "path", "query")
}
FALCON_DIFFERENCES = {
    **WSGI_DIFFERENCES,
    "error type": ERROR_TYPE,
    "resource": Difference(
        "The class of the resource is no attribute of the conventions.",
        lambda name, upstream, ours: "falcon.resource" in upstream["attributes"],
        takes("falcon.resource"),
    ),
    "unknown method": Difference(
        "The name of a method that nobody knows is HTTP (conventions); upstream has what the client sent.",
        lambda name, upstream, ours: name == "unknown method",
        named,
    ),
}
PYRAMID_DIFFERENCES = {
    **WSGI_DIFFERENCES,
    "names": Difference(
        "The method is in the name of a span (conventions), and where no route matched, nothing else is; "
        "upstream has the route or the path.",
        always,
        named,
    ),
    "url.full": Difference(
        "url.full is for clients (conventions).",
        always,
        takes("url.full"),
    ),
}

CASES = [
    ("asgi", ASGI_DIFFERENCES),
    ("flask", FLASK_DIFFERENCES),
    ("falcon", FALCON_DIFFERENCES),
    ("pyramid", PYRAMID_DIFFERENCES),
]


@pytest.mark.parametrize("framework", ["falcon", "pyramid"])
def test_with_upstreams_beside_ours_there_is_one_server_span_with_the_route(framework: str) -> None:
    found = spans(framework)
    for name in REQUESTS:  # a second one would have ended the program
        ours, both = found["ours"][name], found["both"][name]
        assert ours["attributes"].get("http.route") == both["attributes"].get("http.route"), name
        assert "shop" == both["attributes"]["bext.app"]


@pytest.mark.parametrize(("framework", "differences"), CASES, ids=[name for name, _ in CASES])
@pytest.mark.parametrize("name", REQUESTS)
def test_server_spans_are_upstreams_but_for_what_is_listed(
    framework: str, differences: dict[str, Difference], name: str
) -> None:
    found = json.loads(json.dumps(spans(framework)))
    upstream, ours = found["upstream"][name], found["ours"][name]
    for difference in differences.values():
        if difference.applies(name, upstream, ours):
            difference.make_equal(upstream, ours)
    assert upstream == ours


@pytest.mark.parametrize(("framework", "differences"), CASES, ids=[name for name, _ in CASES])
def test_every_listed_difference_is_seen(framework: str, differences: dict[str, Difference]) -> None:
    """One that upstream has repaired is to be taken off the list."""
    found = json.loads(json.dumps(spans(framework)))
    for title, difference in differences.items():
        changed = 0
        for name in REQUESTS:
            upstream, ours = found["upstream"][name], found["ours"][name]
            if difference.applies(name, upstream, ours):
                before = json.dumps(upstream, sort_keys=True)
                difference.make_equal(upstream, ours)
                changed += before != json.dumps(upstream, sort_keys=True)
        assert changed, title
