from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import pytest

from bext_otel.health import Health
from bext_otel.health.offered import GROUP, register_offered

LONG_S = 60.0


@pytest.fixture
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that offers a check that works, and one that can't be imported."""
    (tmp_path / "shop_checks.py").write_text("def stock():\n    return {'items': 3}\n")
    metadata = tmp_path / "shop_checks-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-checks\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[bext_otel.health]\nstock = shop_checks:stock\ngone = shop_checks:nothing\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("_installed")
def test_packages_offer_checks_and_one_that_cannot_be_loaded_is_not_green() -> None:
    health = Health()
    lines: list[str] = []
    points = entry_points(group=GROUP)
    register_offered(points, health.register, failed=lambda line, *facts: lines.append(line % facts))
    checks = health.full(wait_seconds=LONG_S).checks
    assert {"stock": "healthy", "gone": "unhealthy"} == {name: check.status for name, check in checks.items()}
    assert 3 == checks["stock"].details["items"]
    assert ["health check gone of shop_checks:nothing: AttributeError"] == [
        line.rpartition(": ")[0] for line in lines
    ]
