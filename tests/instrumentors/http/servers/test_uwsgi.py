"""Where uWSGI's options say that its applications are."""

from __future__ import annotations

import logging
import sys
from types import ModuleType
from typing import Any

import pytest

from bext_otel.catalogue import REQUESTS
from bext_otel_instrumentors.http.servers.uwsgi import UwsgiInstrumentor, applications_of
from tests.e2e.apps import bare_wsgi
from tests.instrumentors.conftest import Telemetry, instrumenting
from tests.instrumentors.driving import ask_wsgi


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"module": b"shop.wsgi:app"}, {"shop.wsgi": ("app",)}),
        ({"wsgi": b"shop"}, {"shop": ("application",)}),
        ({"module": b"shop", "callable": b"app"}, {"shop": ("app",)}),
        ({"mount": [b"/a=one:app", b"/b=one:other", b"/c=/srv/two.py"]}, {"one": ("app", "other")}),
        ({"mount": [b"/=shop.wsgi:app", b"/old=old.wsgi"]}, {"shop.wsgi": ("app",)}),
        ({"module": b"shop:make()"}, {}),
        ({"wsgi-file": b"shop.py", "module": True}, {}),
        ({}, {}),
    ],
)
def test_a_module_is_named_by_several_options(options: Any, found: Any) -> None:
    assert found == applications_of(options)


def test_what_a_module_holds_is_measured_when_uwsgi_takes_it(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    uwsgi, shop = ModuleType("uwsgi"), ModuleType("uwsgi_s_shop")
    uwsgi.opt = {"module": b"uwsgi_s_shop:app"}  # type: ignore[attr-defined]
    shop.app = bare_wsgi.app  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "uwsgi", uwsgi)
    monkeypatch.setitem(sys.modules, "uwsgi_s_shop", shop)
    told: list[str] = []
    with instrumenting(UwsgiInstrumentor, on_serving=lambda: told.append("serving")):
        assert b"tea 0" == ask_wsgi(shop.app, "/tea").body
        assert {("shop", "GET", "200", "unmatched"): 1} == telemetry.counts(REQUESTS)
    assert b"tea 0" == ask_wsgi(shop.app, "/tea").body
    assert 1 == len(telemetry.servers())
    assert "serving" in told


def test_a_module_without_an_application_is_uwsgi_s_to_complain_of(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    uwsgi = ModuleType("uwsgi")
    uwsgi.opt = {"module": b"uwsgi_s_shop:none"}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "uwsgi", uwsgi)
    monkeypatch.setitem(sys.modules, "uwsgi_s_shop", shop := ModuleType("uwsgi_s_shop"))
    with caplog.at_level(logging.WARNING), instrumenting(UwsgiInstrumentor):
        assert not hasattr(shop, "none")
    assert [] == caplog.records


def test_outside_of_uwsgi_there_is_nothing_to_instrument(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is installed in many environments whose programs run without it, and another distribution's launcher
    enters all that is installed."""
    monkeypatch.delitem(sys.modules, "uwsgi", raising=False)
    with instrumenting(UwsgiInstrumentor):
        assert "uwsgi" not in sys.modules
