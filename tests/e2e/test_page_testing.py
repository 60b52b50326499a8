"""docs/testing.md, done by what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.launching import environment
from tests.pages import write_files

pytestmark = pytest.mark.e2e


def ran(folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        cwd=folder,
        env=environment(folder, 0, {}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout + done.stderr


def test_the_tests_of_the_page_pass_in_any_order_and_fail_where_nothing_is_counted(tmp_path: Path) -> None:
    assert ["shop.py", "conftest.py", "test_shop.py"] == write_files("testing.md", tmp_path)
    assert "2 passed" in ran(tmp_path)
    shop = tmp_path / "shop.py"
    without = [line for line in shop.read_text().splitlines() if "bext_otel.count(" not in line]
    shop.write_text("\n".join(without))
    told = ran(tmp_path)
    assert "1 failed, 1 passed" in told
    assert "assert 1 == 0" in told


def test_modules_of_the_page_need_no_telemetry(tmp_path: Path) -> None:
    write_files("testing.md", tmp_path)
    (tmp_path / "conftest.py").unlink()
    (tmp_path / "test_shop.py").write_text(
        "from fastapi.testclient import TestClient\nfrom shop import app\nimport bext_otel, logging\n"
        "def test_it(caplog):\n"
        "    caplog.set_level(logging.INFO)\n"
        "    assert 200 == TestClient(app).post('/orders/pro').status_code\n"
        "    assert ['order placed'] == [one.message for one in caplog.records if one.name == 'shop']\n"
        "    assert bext_otel.running() is None\n"
    )
    assert "1 passed" in ran(tmp_path)
