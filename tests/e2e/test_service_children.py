"""Children that a program makes for itself belong to its service."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.instances import by_instance
from tests.e2e.launching import APPS, SOON, launched
from tests.e2e.otlp import receiving
from tests.e2e.services import MOUNTED, ON_LINUX

pytestmark = [pytest.mark.e2e, ON_LINUX]


@pytest.mark.parametrize(("parent", "begins_at"), [("counts", 1), ("looks-on", 0)])
def test_what_children_counted_last_before_a_normal_end_is_in_the_sum(
    tmp_path: Path, parent: str, begins_at: int
) -> None:
    """By fork, spawn and fork server, as processes and in a pool; the catalogue's counters and the
    application's own."""
    with launched(tmp_path, f"python {APPS}/children.py {parent}", env=MOUNTED) as program:
        assert 0 == program.wait(seconds=90), program.output()
        lines = [json.loads(line) for line in program.output().splitlines() if line.startswith('{"method"')]
    expected = [begins_at + 100_210 * number for number in (1, 2, 3)]
    assert expected == [line["bext_cache_hits_total"] for line in lines]
    assert expected == [line["shop_things_total"] for line in lines]
    assert ["fork", "spawn", "forkserver"] == [line["method"] for line in lines]


def test_forty_children_forked_in_the_middle_of_a_collection_measure_read_and_export(tmp_path: Path) -> None:
    """While two threads measure, two collect and one exports. Every child ends well, and sends what it has
    counted, nothing else."""
    with receiving() as receiver:
        env = {**MOUNTED, **SOON, "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
        with launched(tmp_path, f"python {APPS}/forks.py", env=env) as program:
            assert 0 == program.wait(seconds=120), program.output()
            (line,) = (
                json.loads(line) for line in program.output().splitlines() if line.startswith('{"exits"')
            )
        assert [0] * 40 == line["exits"]
        assert [line["counted"] + 40] * 2 == line["shown"]
        for name in ("bext_cache_hits_total", "shop.things"):
            totals = sorted(by_instance(receiver, name).values())
            assert [1] * 40 == totals[:40]
            assert [line["counted"]] == totals[40:]
        assert 40 == len(receiver.spans(name="child"))
        assert 40 == len({span.resource["service.instance.id"] for span in receiver.spans(name="child")})
        assert 40 == len(receiver.lines("child counts"))
