"""docs/moving.md, done by what it says: the same metrics before and after, and each name of its tables."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.e2e.launching import SOON, launched, samples
from tests.e2e.otlp import receiving
from tests.e2e.test_rival_distro import rival
from tests.pages import DOCS, write_files
from tests.waiting import until

pytestmark = pytest.mark.e2e

__all__ = ["rival"]
INSTRUMENTATOR = "prometheus-fastapi-instrumentator>=7"


def table(heading: str) -> list[tuple[str, str]]:
    """The rows of two names of the first such table below a heading."""
    text = (DOCS / "moving.md").read_text(encoding="utf-8").partition(heading)[2]
    return re.findall(r"^\| `([\w.]+)` \| `([\w.]+)` \|$", text.partition("\n## ")[0], re.MULTILINE)


def shown(folder: Path, module: str) -> dict[str, float]:
    """Samples of the application's metrics, of two workers, after six orders."""
    env = {"OTEL_SERVICE_NAME": "shop"}
    command = f"uvicorn {module}:app --workers 2 --port {{port}}"
    with launched(folder, command, env=env, path="/docs", first=(str(folder),)) as shop:
        for country in ("de", "de", "fr") * 2:
            httpx.post(f"{shop.url}/orders/{country}", trust_env=False, timeout=20)

        def found() -> dict[str, float] | None:
            mine = {name: value for name, value in shop.metrics().items() if name.startswith("shop_")}
            return mine if 6 == sum(v for name, v in mine.items() if name.startswith("shop_orders")) else None

        return until(found, why="six orders")


def test_metrics_of_prometheus_client_keep_their_names_and_values(tmp_path: Path) -> None:
    assert ["before.py", "after.py"] == write_files("moving.md", tmp_path)
    before, after = shown(tmp_path, "before"), shown(tmp_path, "after")
    compared = {name: value for name, value in before.items() if "_created" not in name}
    assert 4 == compared['shop_orders_total{country="de"}']
    new = {name for name in after if "quantile=" in name}
    assert {"shop_basket_value"} == {name.partition("{")[0] for name in new}
    assert compared == {name: value for name, value in after.items() if name not in new}


@pytest.fixture(scope="module")
def instrumentator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that holds it; on machines that cannot get it, the test skips."""
    folder = tmp_path_factory.mktemp("instrumentator")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
    done = subprocess.run(
        [*command, INSTRUMENTATOR], capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode != 0:
        reason = f"{INSTRUMENTATOR} can't be had: {done.stderr.strip()[-200:]}"
        if os.environ.get("BEXT_REQUIRE_BACKENDS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


_APP = """
from fastapi import FastAPI, Request
app = FastAPI()
@app.post("/items/{item}")
async def item(item: str, request: Request):
    return {"size": len(await request.body())}
"""
_EXPOSED = "from prometheus_fastapi_instrumentator import Instrumentator\nInstrumentator().instrument(app).expose(app)\n"


def test_each_metric_of_the_instrumentator_has_its_heir(tmp_path: Path, instrumentator: Path) -> None:
    rows = table("## From prometheus-fastapi-instrumentator")
    assert 5 == len(rows)
    for module, text in (("before_app", _APP + _EXPOSED), ("after_app", _APP)):
        (tmp_path / f"{module}.py").write_text(text)

    def names(module: str, **env: str) -> set[str]:
        command = f"uvicorn {module}:app --port {{port}}"
        first = (str(tmp_path), str(instrumentator))
        with launched(tmp_path, command, instrument=bool(env), env=env, path="/docs", first=first) as shop:
            httpx.post(f"{shop.url}/items/tea", content=b"hot", trust_env=False, timeout=20)
            expected = "bext_requests_total" if env else "http_requests_total"
            page = until(lambda: expected in (text := shop.get("/metrics").text) and text, why=expected)
            return {re.sub(r"_(count|sum|bucket)$", "", name.partition("{")[0]) for name in samples(page)}

    assert [] == sorted({old for old, _ in rows} - names("before_app"))
    assert [] == sorted({new for _, new in rows} - names("after_app", BEXT_METRICS_MOUNT="true"))


def test_each_attribute_of_upstream_s_distribution_has_its_heir(tmp_path: Path, rival: str) -> None:
    rows = table("Attributes of server spans without")
    assert 8 == len(rows)

    def attributes(distro: str) -> set[str]:
        with receiving() as received:
            env = {
                **SOON,
                "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "OTEL_PYTHON_DISTRO": distro,
            }
            command = "uvicorn --port {port} fastapi_app:app"
            with launched(tmp_path, command, env=env, first=(rival,)) as shop:
                shop.get("/items/7")
                found = until(lambda: received.spans(kind="server", http_route="/items/{item}"), why="a span")
                return set(found[-1].attributes)

    theirs, ours = attributes("distro"), attributes("bext")
    assert [] == sorted({old for old, _ in rows} - theirs)
    assert [] == sorted({new for _, new in rows} - ours)
