"""Workers killed at any moment: what they had counted before their last second stays, and no reading goes
back."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.e2e.launching import launched
from tests.e2e.services import MOUNTED, ON_LINUX

pytestmark = [pytest.mark.e2e, ON_LINUX]

PROGRAM = Path(__file__).parent / "programs" / "storm.py"
KILLS = int(os.environ.get("BEXT_FAULT_KILLS", "60"))
WORKERS = 4
# A tick each second; on a busy machine it may come late, and takes its time.
LAST_SECONDS = 1.5


@pytest.mark.timeout(120 + 2 * KILLS)
def test_every_life_keeps_what_it_counted_before_its_last_second(tmp_path: Path) -> None:
    """Sixty kills among more than a million counts; BEXT_FAULT_KILLS=400 for more of them."""
    (tmp_path / "bext.config.toml").write_text("[metrics.budgets]\napp = 100000\n")
    with launched(tmp_path, f"python {PROGRAM} {KILLS} {WORKERS}", env=MOUNTED) as program:
        assert 0 == program.wait(seconds=60 + 2 * KILLS), program.output()
        (report,) = (
            json.loads(line) for line in program.output().splitlines() if line.startswith('{"kills"')
        )
    print(report)
    assert KILLS + WORKERS == report["kills"]
    assert (0, 0, []) == (report["backwards"], report["too_many"], report["more_than_counted"])
    assert report["worst_loss_seconds"] <= LAST_SECONDS
    assert report["counted"] > 10_000 * KILLS
    assert report["shown"] > report["counted"] / 10
    assert report["readings"] > 5 * KILLS
