from __future__ import annotations

import os
from pathlib import Path

import pytest

from bext_otel.viewer import Store
from bext_otel.viewer.app import ViewerApp
from bext_otel.viewer.login import Login, is_shared
from tests.viewer.otlp import span, spans
from tests.viewer.test_app import get, post

TOKEN = "Zq3_secret-token"


@pytest.fixture
def app() -> ViewerApp:
    return ViewerApp(Store(), token=TOKEN)


def test_nobody_looks_without_the_token(app: ViewerApp) -> None:
    for path in ("/", "/api/summary", "/api/traces", "/?token=", "/?token=wrong", "/nothing"):
        reply = get(app, path)
        assert (401, "Bearer") == (reply.status, reply.headers["WWW-Authenticate"])
        assert "Set-Cookie" not in reply.headers
        assert TOKEN not in str(reply.headers) + reply.body.decode()


def test_the_printed_address_leaves_a_cookie_and_is_left(app: ViewerApp) -> None:
    """The token is in no address that a page stands at: none of them can tell it to another site."""
    reply = get(app, f"/?token={TOKEN}")
    assert (303, "/", "no-referrer") == (
        reply.status,
        reply.headers["Location"],
        reply.headers["Referrer-Policy"],
    )
    cookie, *rules = reply.headers["Set-Cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} == set(rules)
    for path, status in (("/", 200), ("/api/summary", 200), ("/nothing", 404)):
        assert status == get(app, path, HTTP_COOKIE=f"other=1; {cookie}").status
    assert 401 == get(app, "/", HTTP_COOKIE=cookie + "x").status


def test_a_cookie_of_one_viewer_is_none_of_another(app: ViewerApp) -> None:
    """All ports of a host share their cookies."""
    cookie = get(app, f"/?token={TOKEN}").headers["Set-Cookie"].split("; ")[0]
    other = ViewerApp(Store(), token="another")
    theirs = get(other, "/?token=another").headers["Set-Cookie"].split("; ")[0]
    assert cookie.partition("=")[0] != theirs.partition("=")[0]
    assert 401 == get(other, "/", HTTP_COOKIE=cookie).status
    assert 200 == get(other, "/", HTTP_COOKIE=f"{cookie}; {theirs}").status


def test_a_program_shows_the_token_in_a_header(app: ViewerApp) -> None:
    assert 200 == get(app, "/api/summary", HTTP_AUTHORIZATION=f"Bearer {TOKEN}").status
    for header in ("Bearer wrong", "Bearer", f"Basic {TOKEN}", TOKEN, "Bearer \xff"):
        assert 401 == get(app, "/api/summary", HTTP_AUTHORIZATION=header).status


def test_to_send_nobody_needs_it(app: ViewerApp) -> None:
    assert 200 == post(app, "/v1/traces", spans(span(1)).SerializeToString()).status


def test_without_a_token_no_cookie_is_left() -> None:
    assert Login().admits({})
    assert Login().cookie("") is None
    assert Login().cookie("any") is None


def test_who_is_on_the_machine_can_be_told() -> None:
    """Of a machine where others have processes, and of one where all are root's or ours."""
    owners = {
        entry.stat().st_uid for entry in Path("/proc").iterdir() if entry.name.isdecimal() and entry.exists()
    }
    assert bool(owners - {0, os.getuid()}) == is_shared()
