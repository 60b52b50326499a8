"""An application that has a `/metrics` of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.e2e.launching import Launched, launched
from tests.waiting import until

pytestmark = pytest.mark.e2e

COMMAND = "gunicorn -b 127.0.0.1:{port} own_page:app"


def page(program: Launched) -> str:
    """What it answers after three requests, without the figures that no two processes have alike."""
    for number in range(3):
        assert 200 == program.get(f"/items/{number}").status_code
    answer = program.get("/metrics")
    unlike = r"^((?:process|python_gc)_[^ ]*|[^ ]*_created(?:{[^}]*})?) .*$"
    return re.sub(unlike, r"\1", answer.headers["content-type"] + "\n" + answer.text, flags=re.MULTILINE)


def test_it_answers_what_it_answers_without_us(tmp_path: Path) -> None:
    with (
        launched(tmp_path / "bare", COMMAND, instrument=False) as bare,
        launched(tmp_path / "ours", COMMAND) as ours,
    ):
        found = page(bare)
        assert 'shop_sold_total{kind="flat white"} 4.0' in found, "the first request waited for the server"
        assert found == page(ours)
        assert 4 == until(lambda: ours.metrics().get('shop_sold_total{kind="flat white"}'))
        assert any(name.startswith("bext_requests_total") for name in ours.metrics())


def test_ours_are_there_as_well_where_that_is_asked_for(tmp_path: Path) -> None:
    with launched(tmp_path, COMMAND, env={"BEXT_METRICS_IN_PROMETHEUS_CLIENT": "true"}) as program:
        found = page(program)
    assert 'shop_sold_total{kind="flat white"} 4.0' in found
    assert 'bext_requests_total{app="unknown",method="GET",route="/items/<item>",status="200"} 4.0' in found
