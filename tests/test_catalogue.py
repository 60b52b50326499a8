"""The catalogue says what the platform's specification says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bext_otel import catalogue
from bext_otel.catalogue import METRICS, WORKS, Metric
from bext_otel.errors import CatalogueError

# The metric block of the specification, as it stands there: name{labels}, and a closed set of values behind
# some.
SPECIFICATION = (
    (Path(__file__).parent / "golden" / "specification_metrics.txt").read_text(encoding="utf-8").splitlines()
)
LINE = re.compile(r"^(?P<name>\w+)(\{(?P<labels>[^}]*)\})?(\s*# (?P<label>\w+): (?P<values>.*))?$")
EXPORTED = {row.exported: row for row in METRICS}


def specified() -> list[re.Match[str]]:
    found = [LINE.match(line) for line in SPECIFICATION]
    assert all(found)
    return [match for match in found if match is not None]


def test_the_specification_names_24_metrics() -> None:
    assert 24 == len(specified())


@pytest.mark.parametrize("line", specified(), ids=lambda match: match["name"])
def test_each_specified_metric_is_a_row_with_its_labels(line: re.Match[str]) -> None:
    row = EXPORTED[line["name"]]
    labels = [label.strip() for label in (line["labels"] or "").split(",") if label.strip()]
    # `quantile` is not a label of ours: it is what makes a summary.
    assert ("quantile" in labels) <= (row.kind == "summary")
    assert [label for label in labels if label != "quantile"] == list(row.label_names)


@pytest.mark.parametrize(
    "line", [match for match in specified() if match["label"]], ids=lambda match: match["name"]
)
def test_each_closed_set_of_the_specification_is_the_labels_values(line: re.Match[str]) -> None:
    (label,) = [label for label in EXPORTED[line["name"]].labels if label.name == line["label"]]
    values = [value.strip() for value in line["values"].split("|")]
    if "etc." in values:  # an open list: hooks
        assert label.values is None
    else:
        assert label.values is not None
        assert set(values) <= set(label.values)


def test_durations_sizes_and_ratios_are_summaries() -> None:
    for row in METRICS:
        measured = re.search(r"(_ms|_us|_size_bytes|_ratio)$", row.exported)
        assert (row.kind == "summary") == bool(measured), row.exported


def test_fuel_is_a_counter_without_total() -> None:
    row = EXPORTED["bext_plugin_fuel_consumed"]
    assert ("counter", "counter", "unknown") == (row.kind, row.type_0_0_4, row.type_openmetrics)


def test_names_are_unique_and_so_are_exported_names() -> None:
    assert len(METRICS) == len({row.name for row in METRICS}) == len(EXPORTED)


def test_every_row_has_a_description_that_is_a_sentence() -> None:
    for row in (*METRICS, *catalogue.LABELS, *WORKS):
        assert row.description.endswith("."), row


def test_a_stream_carries_its_unit_in_its_name_or_in_its_unit() -> None:
    assert ("bext_request_duration_ms", "") == (
        catalogue.REQUEST_DURATION.streamed,
        catalogue.REQUEST_DURATION.streamed_unit,
    )
    standard = catalogue.HTTP_SERVER_REQUEST_DURATION
    assert ("http.server.request.duration", "s") == (standard.streamed, standard.streamed_unit)


def test_what_a_kind_of_work_records_can_be_labelled_from_the_work() -> None:
    given_before_the_end = {"status", "error_type"}
    for work in WORKS:
        known = {label.name for label in work.labels} | given_before_the_end
        for metric in (work.duration, work.completed, work.failed):
            assert metric is None or set(metric.label_names) <= known, (work.name, metric)


def test_bounds_belong_to_histograms_alone() -> None:
    with pytest.raises(CatalogueError, match="bounds belong to a histogram"):
        Metric("bext.x", "counter", "1", "A row that contradicts itself.", (), bounds=(1.0,))


def test_every_label_has_a_key_of_its_own_also_where_two_share_a_name() -> None:
    assert set(catalogue.LABELS) == set(catalogue.LABEL_KEYS)
    assert (
        len(catalogue.LABELS)
        == len(set(catalogue.LABEL_KEYS.values()))
        > len({label.name for label in catalogue.LABELS})
    )
