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
    if framework == "aiohttp":
        pytest.importorskip("aiohttp")  # which is compiled, and not yet for the newest Python
    done = subprocess.run(
        [sys.executable, "-m", "tests.instrumentors.differential", framework],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OTEL_SEMCONV_STABILITY_OPT_IN": "http"},
        cwd=Path(__file__).parents[3],
    )
    found: dict[str, dict[str, Span]] = json.loads(done.stdout)  # of upstream's, ours, and both
    return found


@dataclass(frozen=True)
class Difference:
    """`applies` says of a request and both spans whether it is to be seen there; `make_equal` gives
    upstream's span what ours has there."""

    reason: str
    applies: Callable[[str, Span, Span], bool]
    make_equal: Callable[[Span, Span], None]


def takes(*names: str) -> Callable[[Span, Span], None]:
    """These attributes are as ours has them, of the span and of the duration."""

    def make_equal(upstream: Span, ours: Span) -> None:
        mine = [ours["attributes"], *ours["duration"]]
        for theirs, wanted in zip([upstream["attributes"], *upstream["duration"]], mine, strict=False):
            for name in names:
                theirs.pop(name, None)
                if name in wanted:
                    theirs[name] = wanted[name]

    return make_equal


def both_of(*changes: Callable[[Span, Span], None]) -> Callable[[Span, Span], None]:
    def make_equal(upstream: Span, ours: Span) -> None:
        for change in changes:
            change(upstream, ours)

    return make_equal


def counted_as(upstream: Span, ours: Span) -> None:
    """As often as ours, and with the same."""
    for name in ("servers", "recorded", "duration"):
        upstream[name] = ours[name]


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
        both_of(takes("http.route"), named),
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
        both_of(takes("http.route"), named),
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
    "duration": Difference(
        "The duration has the route and the type of an error (conventions), as the span has; upstream's has "
        "neither.",
        lambda name, upstream, ours: bool({"http.route", "error.type"} & ours["attributes"].keys()),
        counted_as,
    ),
}

_NO_PATHS = Difference("A path is in no name: any number of names (conventions).", always, named)
_FAILED_STATUS = Difference(
    "An exception that leaves the application is answered by its server, with 500; upstream does not know.",
    lambda name, upstream, ours: name == "failure",
    takes("http.response.status_code"),
)
BARE_ASGI_DIFFERENCES = {
    **{
        name: ASGI_DIFFERENCES[name]
        for name in ("app", "peer", "server address", "secrets", "no message spans")
    },
    "error type": ERROR_TYPE,
    "no path in names": _NO_PATHS,
    "status of a failure": _FAILED_STATUS,
}
BARE_WSGI_DIFFERENCES = {
    **WSGI_DIFFERENCES,
    "no path in names": _NO_PATHS,
    "status of a failure": _FAILED_STATUS,
}
TORNADO_DIFFERENCES = {
    "app": APP,
    "peer": Difference(
        "network.peer.* and client.port are recommended by the conventions; upstream has neither port.",
        always,
        takes("network.peer.address", "network.peer.port", "client.port"),
    ),
    "server address": Difference(
        "server.address is a name without a port; upstream has both in one.",
        always,
        takes("server.address", "server.port"),
    ),
    "route": Difference(
        "http.route is recommended by the conventions; upstream has it in the name only, and every group is "
        "called the same there.",
        lambda name, upstream, ours: "http.route" in ours["attributes"],
        both_of(takes("http.route"), named),
    ),
    "version": Difference("The version of HTTP is a number.", always, takes("network.protocol.version")),
    "handler": Difference(
        "The class of a handler is no attribute of the conventions.", always, takes("tornado.handler")
    ),
    "url.full": Difference("url.full is for clients (conventions).", always, takes("url.full")),
    "error type": Difference(
        "An error has a type (conventions), of the duration too; upstream has the status, of the span only.",
        lambda name, upstream, ours: name in {"failure", "unavailable"},
        takes("error.type"),
    ),
    "secrets": ASGI_DIFFERENCES["secrets"],
    "errors once": Difference(
        "Upstream records the duration of an error twice, one that is an exception as a success too.",
        lambda name, upstream, ours: name in {"not found", "wrong method", "failure"},
        counted_as,
    ),
}
AIOHTTP_DIFFERENCES = {
    "app": APP,
    "client": Difference(
        "Who the client is, is recommended by the conventions.",
        always,
        takes("client.address", "client.port", "network.peer.address", "network.peer.port"),
    ),
    "secrets": ASGI_DIFFERENCES["secrets"],
    "no empty route": Difference(
        "Where no route matched, there is none; upstream has an empty one.",
        lambda name, upstream, ours: name == "not found",
        takes("http.route"),
    ),
    "route of a wrong method": Difference(
        "A route that exists for another method is the target of the request all the same.",
        lambda name, upstream, ours: name == "wrong method",
        both_of(takes("http.route"), named),
    ),
    "status of a failure": _FAILED_STATUS,
    "sub-applications": Difference(
        "A request is one server span; upstream makes one for each application that it passes.",
        lambda name, upstream, ours: name == "mounted",
        counted_as,
    ),
}

CASES = [
    ("asgi", ASGI_DIFFERENCES),
    ("bare asgi", BARE_ASGI_DIFFERENCES),
    ("bare wsgi", BARE_WSGI_DIFFERENCES),
    ("flask", FLASK_DIFFERENCES),
    ("falcon", FALCON_DIFFERENCES),
    ("pyramid", PYRAMID_DIFFERENCES),
    ("tornado", TORNADO_DIFFERENCES),
    ("aiohttp", AIOHTTP_DIFFERENCES),
]
# Upstream fails at a method that a handler of Tornado's does not have. Aiohttp refuses it before any handler is called.
UNSEEN = {"tornado": {"unknown method"}, "aiohttp": {"unknown method"}}
# A handler of Tornado's own, which upstream had instrumented before: it counts, and an error twice.
COUNTED_TWICE = {"tornado": {"not found"}}


@pytest.mark.parametrize("framework", [name for name, _ in CASES])
def test_with_upstreams_beside_ours_there_is_one_server_span_with_the_route(framework: str) -> None:
    found = spans(framework)
    for name in REQUESTS:
        ours, both = found["ours"][name], found["both"][name]
        assert (1, 1) == (ours["servers"], both["servers"]), name
        assert (1, 2 if name in COUNTED_TWICE.get(framework, ()) else 1) == (
            ours["recorded"],
            both["recorded"],
        ), name
        assert ours["attributes"].get("http.route") == both["attributes"].get("http.route"), name
        assert "shop" == both["attributes"]["bext.app"]


@pytest.mark.parametrize("framework", [name for name, _ in CASES])
def test_upstream_sees_what_ours_sees_but_for_what_is_listed(framework: str) -> None:
    found = spans(framework)
    assert set(REQUESTS) == found["ours"].keys()
    assert UNSEEN.get(framework, set()) == found["ours"].keys() - found["upstream"].keys()


@pytest.mark.parametrize(("framework", "differences"), CASES, ids=[name for name, _ in CASES])
@pytest.mark.parametrize("name", REQUESTS)
def test_server_spans_are_upstreams_but_for_what_is_listed(
    framework: str, differences: dict[str, Difference], name: str
) -> None:
    found = json.loads(json.dumps(spans(framework)))
    if name in UNSEEN.get(framework, ()):
        assert name not in found["upstream"]
        return
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
        for name in found["upstream"]:
            upstream, ours = found["upstream"][name], found["ours"][name]
            if difference.applies(name, upstream, ours):
                before = json.dumps(upstream, sort_keys=True)
                difference.make_equal(upstream, ours)
                changed += before != json.dumps(upstream, sort_keys=True)
        assert changed, title
