"""The app of a call is told to the operator's own hosts, and to nobody whose host is not known."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator, Mapping
from email.message import Message
from io import BytesIO
from typing import Any

import pytest
import requests
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind

from bext_otel.app_baggage import Hosts, propagate_app
from bext_otel.apps import with_app
from bext_otel.config import AppSettings, load
from bext_otel.export.internal_metrics import SelfTelemetry
from bext_otel.traces.provider import BextTracerProvider

APPS = {"shop": AppSettings(hosts=("shop.example", "*.shops.example"))}
DEFAULT = ("loopback", "apps")


@pytest.fixture
def told() -> Iterator[None]:
    undo = propagate_app(Hosts(DEFAULT, APPS))
    yield
    undo()


def sent(
    attributes: Mapping[str, Any] | None,
    *,
    app: str = "shop",
    kind: SpanKind = SpanKind.CLIENT,
    carrier: dict[str, str] | None = None,
) -> str | None:
    """The baggage of a call in a span with these attributes."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("client")
    carrier = {} if carrier is None else carrier
    token = context.attach(with_app(app))
    try:
        with tracer.start_as_current_span("GET", kind=kind, attributes=attributes):
            propagate.inject(carrier)
    finally:
        context.detach(token)
    return carrier.get("baggage")


OURS = [
    {"url.full": "http://127.0.0.1:8000/x"},
    {"url.full": "http://localhost/x"},
    {"url.full": "http://api.localhost/x"},
    {"url.full": "http://[::1]:8000/x"},
    {"http.url": "https://SHOP.example./x"},
    {"url.full": "https://REDACTED:REDACTED@shop.example:8443/x"},
    {"url.full": "https://a.b.shops.example/x"},
    {"server.address": "shop.example"},
    {"net.peer.name": "127.0.0.2"},
]
OTHERS: list[Mapping[str, Any] | None] = [
    {"url.full": "https://api.partner.example/x"},
    {"url.full": "https://shops.example/x"},
    {"url.full": "https://notshop.example/x"},
    {"url.full": "https://shop.example@evil.example/"},
    {"url.full": "https://evil.example/shop.example", "server.address": "shop.example"},
    {"url.full": "http://[broken"},
    {"url.full": 7},
    {"server.address": "127.0.0.1.evil.example"},
    {"server.address": ""},
    {"rpc.system": "grpc"},
    None,
]


@pytest.mark.parametrize("attributes", OURS)
def test_the_operators_own_hosts_are_told(told: None, attributes: Mapping[str, Any]) -> None:
    assert "bext.app=shop" == sent(attributes)


@pytest.mark.parametrize("attributes", OTHERS)
def test_nobody_else_is_told(told: None, attributes: Mapping[str, Any] | None) -> None:
    assert sent(attributes) is None


@pytest.mark.parametrize("kind", [SpanKind.SERVER, SpanKind.INTERNAL, SpanKind.PRODUCER])
def test_a_span_that_is_no_call_names_nobody(told: None, kind: SpanKind) -> None:
    """A server span's address is our own."""
    assert sent(OURS[0], kind=kind) is None


def test_an_unknown_app_is_never_told(told: None) -> None:
    assert sent(OURS[0], app="unknown") is None


def test_an_app_of_any_name_can_be_sent(told: None) -> None:
    assert "bext.app=caf%C3%A9%20%EF%BF%BD%2C%3B%3D" == sent(OURS[0], app="caf\u00e9 \udc80,;=")


def test_other_baggage_goes_where_it_went(told: None) -> None:
    token = context.attach(baggage.set_baggage("tenant", "blue", baggage.set_baggage("bext.app", "forged")))
    try:
        assert "tenant=blue" == sent(OTHERS[0])
        assert {"tenant=blue", "bext.app=shop"} == set((sent(OURS[0]) or "").split(","))
    finally:
        context.detach(token)


@pytest.mark.parametrize(
    ("before", "left"), [("bext.app=shop", None), ("tenant=blue,bext.app=shop", "tenant=blue")]
)
def test_headers_of_the_first_call_do_not_follow_a_redirect(
    told: None, before: str, left: str | None
) -> None:
    assert left == sent(OTHERS[0], carrier={"baggage": before})


@pytest.mark.parametrize(
    ("host", "left"), [("cdn.example", "tenant=blue"), ("shop.example", "tenant=blue,bext.app=shop")]
)
def test_a_client_that_follows_a_redirect_by_itself_takes_no_app_to_others(
    told: None, host: str, left: str
) -> None:
    headers = {"baggage": "tenant=blue,bext.app=shop"}
    first = requests.Request("GET", "http://127.0.0.1/a", headers=headers).prepare()
    first.url = f"https://{host}/b"
    requests.Session().rebuild_method(first, requests.Response())
    assert left == first.headers["Baggage"]
    second = urllib.request.HTTPRedirectHandler().redirect_request(
        urllib.request.Request("http://127.0.0.1/a", headers=headers),
        BytesIO(),
        302,
        "Found",
        Message(),
        f"https://{host}/b",
    )
    assert second is not None
    assert left == second.get_header("Baggage")


def test_blanks_are_blanks_to_who_reads_by_the_specification(told: None) -> None:
    token = context.attach(baggage.set_baggage("note", " a+b c "))
    try:
        assert "note=%20a%2Bb%20c%20" == sent(OTHERS[0])
    finally:
        context.detach(token)


def test_a_call_that_is_not_sampled_is_told_too(told: None, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = BextTracerProvider(Resource({}), SelfTelemetry().spans)
    provider.sampler = ALWAYS_OFF
    carriers: list[dict[str, str]] = []
    for attributes in (OURS[0], OTHERS[0]):
        carrier: dict[str, str] = {}
        token = context.attach(with_app("shop"))
        with provider.get_tracer("client").start_as_current_span(
            "GET", kind=SpanKind.CLIENT, attributes=attributes
        ):
            assert not trace.get_current_span().is_recording()
            propagate.inject(carrier)
        context.detach(token)
        carriers.append(carrier)
    assert ["bext.app=shop", None] == [carrier.get("baggage") for carrier in carriers]


def test_without_the_setting_in_force_nobody_is_told() -> None:
    assert sent(OURS[0]) is None


@pytest.mark.parametrize(
    ("named", "host", "is_told"),
    [
        ((), "127.0.0.1", False),
        (("loopback",), "shop.example", False),
        (("apps",), "127.0.0.1", False),
        (("partner.example",), "partner.example", True),
        (("*.internal",), "a.internal", True),
        (("10.0.0.7",), "10.0.0.7", True),
        (("::1",), "::1", True),
        (DEFAULT, "::ffff:127.0.0.1", True),
    ],
)
def test_the_operator_names_hosts(named: tuple[str, ...], host: str, is_told: bool) -> None:
    assert is_told == (host in Hosts(named, APPS))


def test_the_setting_is_a_list_in_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ("loopback", "apps") == load({}).config.telemetry.propagate_app_to
    for text in ("loopback, *.internal", '["loopback", "*.internal"]'):
        monkeypatch.setenv("BEXT_TELEMETRY_PROPAGATE_APP_TO", text)
        assert ("loopback", "*.internal") == load({}).config.telemetry.propagate_app_to


@pytest.mark.parametrize("value", ["v", "v" * 500, "\u00e9" * 300, "+ ," * 200])
def test_no_more_is_sent_on_than_every_receiver_has_to_bear(
    told: None, value: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 members and 8,192 bytes: the app, and then what was there first. One line says so, ours."""
    monkeypatch.setattr("bext_otel.app_baggage._told", False)
    carrying = context.get_current()
    for number in range(200):
        carrying = baggage.set_baggage(f"k{number}", value, carrying)
    token = context.attach(carrying)
    try:
        for _ in range(2):
            said = sent({"url.full": "http://127.0.0.1:8000/x"})
            assert said is not None
            assert len(said.encode()) <= 8192
    finally:
        context.detach(token)
    names = [member.partition("=")[0] for member in said.split(",")]
    assert len(names) <= 64
    assert value != "v" or 64 == len(names)
    assert {"bext.app", *(f"k{number}" for number in range(len(names) - 1))} == set(names)
    assert 1 == len(caplog.records)
    assert "bext_otel" == caplog.records[0].name


def test_baggage_that_everybody_bears_is_sent_as_it_is(told: None, caplog: pytest.LogCaptureFixture) -> None:
    carrying = context.get_current()
    for number in range(64):
        carrying = baggage.set_baggage(f"k{number}", "v" * 100, carrying)
    token = context.attach(carrying)
    try:
        assert ",".join(f"k{number}={'v' * 100}" for number in range(64)) == sent(None)
    finally:
        context.detach(token)
    assert not caplog.records
