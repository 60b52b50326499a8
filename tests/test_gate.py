"""The overhead gate of `benchmarks/gate.py`: what it makes of figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import gate
from benchmarks.gate import GATES, Measured, documented, over


def test_a_share_is_what_is_above_bare() -> None:
    measured = Measured("ours", "theirs", 1, "bare")
    assert 0.5 == measured.share({"bare": [10.0] * 3, "ours": [15.0] * 3, "theirs": [20.0] * 3})
    assert 0.75 == Measured("ours", "theirs", 1).share({"ours": [15.0], "theirs": [20.0]})


def test_what_else_runs_on_the_machine_makes_nothing_dearer() -> None:
    """Half of the rounds were disturbed, always at the same contestant."""
    figures = {"bare": [10.0] * 4, "ours": [15.0, 90.0, 15.0, 80.0], "theirs": [20.0] * 4}
    assert 0.5 == Measured("ours", "theirs", 1, "bare").share(figures)


def test_there_is_a_figure_for_each_thing_that_is_measured() -> None:
    assert GATES.keys() == documented().keys()
    assert all(0 < figure for figure in documented().values())


def test_figures_of_something_else_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "overhead.json"
    path.write_text(json.dumps({"request": 0.1}), encoding="utf-8")
    monkeypatch.setattr(gate, "FIGURES", path)
    with pytest.raises(ValueError, match="expected figures of"):
        documented()


def test_half_as_much_again_is_too_much(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ["span"] == over({"request": 0.149, "span": 0.31}, {"request": 0.1, "span": 0.2})
    runs: list[tuple[list[str], int]] = []
    answers = [dict.fromkeys(GATES, 0.1), {"span": 0.2}]

    def measure(names: object, *, rounds: int) -> dict[str, float]:
        runs.append((list(names), rounds))  # type: ignore[call-overload]  # an iterable
        return dict(answers[len(runs) - 1])

    monkeypatch.setattr(gate, "measure", measure)
    monkeypatch.setattr(gate, "documented", lambda: dict.fromkeys(GATES, 0.2))
    monkeypatch.setattr("sys.argv", ["gate"])
    assert 0 == gate.main()
    answers[0] = {**answers[0], "span": 0.5}
    runs.clear()
    assert 0 == gate.main()
    assert [(list(GATES), 7), (["span"], 14)] == runs
    answers[1] = {"span": 0.31}
    runs.clear()
    assert 1 == gate.main()
    assert "span" in capsys.readouterr().out.rpartition("TOO MUCH")[0].splitlines()[-1]
