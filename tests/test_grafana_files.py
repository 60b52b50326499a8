"""Grafana's files, checked by structure: every reference leads somewhere, and every metric and label is one
that exists."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from bext_otel import catalogue
from tests.e2e.backends import CONFIG, ROOT

GRAFANA = CONFIG / "grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
FROM_PROMETHEUS_AND_COLLECTOR = ("traces_span_metrics_", "otelcol_")


def sources() -> list[dict[str, Any]]:
    return list(
        yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "datasources.yml").read_text())[
            "datasources"
        ]
    )


def dashboard(path: Any) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


def expressions(path: Any) -> list[str]:
    return [target["expr"] for panel in dashboard(path)["panels"] for target in panel["targets"]]


def exported_series() -> dict[str, set[str]]:
    """Every series name that `/metrics` may show, with its labels."""
    known: dict[str, set[str]] = {}
    for metric in catalogue.METRICS:
        labels = {name.replace(".", "_") for name in metric.label_names} | {"job", "instance"}
        known[metric.exported] = labels | ({"quantile"} if metric.kind == "summary" else set())
        if metric.kind in ("summary", "histogram"):
            known[f"{metric.exported}_sum"] = known[f"{metric.exported}_count"] = labels
            known[f"{metric.exported}_bucket"] = labels | {"le"}
    return known


def test_there_is_a_dashboard() -> None:
    assert DASHBOARDS


def test_datasources_lead_to_the_services_of_the_compose_file() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    hosts = {
        source["uid"]: re.fullmatch(r"http://([a-z]+):\d+", source["url"]).group(1) for source in sources()
    }  # type: ignore[union-attr]
    assert {"prometheus": "prometheus", "jaeger": "jaeger"} == hosts
    assert set(hosts.values()) <= set(services)


def test_exemplars_lead_to_traces_and_traces_to_metrics() -> None:
    by_uid = {source["uid"]: source for source in sources()}
    assert ["jaeger"] == [
        link["datasourceUid"] for link in by_uid["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    ]
    assert "prometheus" == by_uid["jaeger"]["jsonData"]["tracesToMetrics"]["datasourceUid"]


def test_variables_survive_the_provisioning_file() -> None:
    """Grafana replaces `$name` there by its own environment; `$$` is a dollar."""
    for path in (GRAFANA / "provisioning").rglob("*.yml"):
        assert [] == re.findall(r"(?<!\$)\$(?!\$)[\w{].*", path.read_text()), path.name


def test_dashboards_are_where_their_provider_looks() -> None:
    provider = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "dashboards.yml").read_text())[
        "providers"
    ][0]
    mounts = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["grafana"]["volumes"]
    assert f"./collector-config/grafana/dashboards:{provider['options']['path']}:ro" in mounts


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_are_numbered_once_and_do_not_overlap(path: Any) -> None:
    panels = dashboard(path)["panels"]
    assert len(panels) == len({panel["id"] for panel in panels})
    cells = [
        (x, y)
        for grid in (panel["gridPos"] for panel in panels)
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24, "Grafana's grid is 24 wide"


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_ask_a_provisioned_datasource(path: Any) -> None:
    used = {target["datasource"]["uid"] for panel in dashboard(path)["panels"] for target in panel["targets"]}
    assert used <= {source["uid"] for source in sources()}


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_name_series_and_labels_of_the_catalogue(path: Any) -> None:
    known = exported_series()
    for expression in expressions(path):
        names = re.findall(r"\b(?:bext|http_server|traces_span_metrics|otelcol)_\w+", expression)
        assert names, expression
        for name in names:
            if not name.startswith(FROM_PROMETHEUS_AND_COLLECTOR):
                assert name in known, f"{expression}: no metric of the catalogue exports {name}"
        for name, selector in re.findall(r"\b(bext_\w+)\{([^}]*)\}", expression):
            labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
            assert labels <= known[name], f"{expression}: {name} has no label {labels - known[name]}"


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_rates_follow_the_scrape_interval(path: Any) -> None:
    """A fixed range shorter than two scrapes draws nothing."""
    for expression in expressions(path):
        assert set(re.findall(r"\[([^\]]+)\]", expression)) <= {"$__rate_interval"}, expression


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_quantiles_of_the_service_are_never_added_or_averaged(path: Any) -> None:
    for expression in expressions(path):
        assert not re.search(r"\b(?:sum|avg)\b[^)]*quantile=", expression), expression
