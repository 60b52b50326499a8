"""What docs/anomalies.md promises of the unseen series."""

from __future__ import annotations

import statistics

import pytest

from benchmarks.anomalies import RIVALS, Verdict, judge_rival, ours
from benchmarks.anomaly_series import all_series


@pytest.mark.slow
def test_the_unseen_half_keeps_what_is_required() -> None:
    """F1 1.3 times that of the best k-sigma rule, at most one false alarm a week at one sample a minute, and
    a median delay of five points at most."""
    half = list(all_series(unseen=True))
    verdict = Verdict()
    for series in half:
        verdict.add(series, ours(series))
    rivals = [judge_rival(score, half)[0] for name, score in RIVALS.items() if "sigma" in name]
    assert verdict.f1 >= 1.3 * max(rival.f1 for rival in rivals)
    assert verdict.minute_false <= verdict.minute_weeks
    assert statistics.median(verdict.delays) <= 5
