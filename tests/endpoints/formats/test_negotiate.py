from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bext_otel.endpoints.formats.negotiate import gzip_wanted, metrics_format

PROMETHEUS_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"


@pytest.mark.parametrize(
    "accept",
    [
        # Prometheus 2.42
        f"{PROTOBUF},application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        # Prometheus 3
        f"{PROTOBUF};q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;q=0.3",
        'application/vnd.google.protobuf; proto="io.prometheus.client.MetricFamily"; encoding="delimited"',
    ],
)
def test_who_asks_for_protobuf_gets_it(accept: str) -> None:
    assert "protobuf" == metrics_format(accept)


@pytest.mark.parametrize(
    "accept",
    [
        f"{PROTOBUF};q=0.2,text/plain;q=0.3",
        "application/vnd.google.protobuf",
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
        "application/vnd.google.protobuf;proto=other.Message;encoding=delimited",
    ],
)
def test_protobuf_of_another_kind_or_less_liked_is_not_sent(accept: str) -> None:
    assert "prometheus" == metrics_format(accept)


@pytest.mark.specification(
    "Beyond the rows", "Prometheus: the format is the one that is liked best by Accept and its q-values"
)
@pytest.mark.parametrize(
    "accept",
    [PROMETHEUS_2, PROMETHEUS_3, "application/openmetrics-text", "text/plain,application/openmetrics-text"],
)
def test_who_asks_for_openmetrics_gets_it(accept: str) -> None:
    assert "openmetrics" == metrics_format(accept)


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "text/plain;version=0.0.4",
        "application/openmetrics-text;q=0",
        "application/openmetrics-text;q=0.3,text/plain;q=0.4",
        "application/openmetrics-text;version=2.0.0,text/plain;q=0.4",
        "application/openmetrics-text;q=nan",
        "application/openmetrics-text;q=high",
        ";;;,,=;q",
    ],
)
def test_everybody_else_gets_prometheus_text(accept: str) -> None:
    assert "prometheus" == metrics_format(accept)


@pytest.mark.parametrize(
    "header",
    [
        "gzip",
        "GZIP",
        "deflate, gzip;q=0.1",
        "*",
        "gzip;q=1.0, identity;q=0.5",
        "br, x-gzip",
        "identity;q=0, *",
    ],
)
def test_gzip_is_used_where_it_is_welcome(header: str) -> None:
    assert gzip_wanted(header)


@pytest.mark.parametrize(
    "header",
    ["", "br", "gzip;q=0", "*;q=0", "gzip;q=0, *", "identity", "gzip;q=0.5, identity", "gzip;q=2", "gzipped"],
)
def test_gzip_is_not_used_where_it_is_not(header: str) -> None:
    assert not gzip_wanted(header)


@given(st.text())
def test_any_header_is_read(header: str) -> None:
    assert metrics_format(header) in {"prometheus", "openmetrics"}
    assert gzip_wanted(header) in {True, False}
