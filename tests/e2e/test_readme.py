"""What the README shows is what runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.e2e.launching import launched, samples

README = Path(__file__).parents[2] / "README.md"

pytestmark = pytest.mark.e2e

# What the reader's application has of its own.
BEFORE = """
from flask import Flask
app = Flask("theirs")
def ping(): return True
def render(): return "page"
"""
AFTER = """
@app.get("/items/<item>")
def item(item):
    return page
"""


@pytest.mark.parametrize(
    "command", ["gunicorn -b 127.0.0.1:{port} theirs:app", "flask --app theirs run --port {port}"]
)
def test_the_example_in_code_measures_requests_and_serves_the_endpoints(tmp_path: Path, command: str) -> None:
    found = re.search(
        r"^In code:\n\n```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert found is not None
    (tmp_path / "theirs.py").write_text(BEFORE + found[1] + AFTER)
    with launched(tmp_path, command, instrument=False, path="/health/live") as program:
        assert "page" == program.get("/items/1").text
        shown = samples(program.get("/metrics").text)
        assert 1 == shown['bext_requests_total{app="shop",method="GET",status="200",route="/items/<item>"}']
        assert "database" in program.endpoint("/health").json()["checks"]
        assert program.completion("/items/1")["trace_id"]
        assert "already instrumented" not in program.output()
