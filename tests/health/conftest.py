from __future__ import annotations

from collections.abc import Iterator

import pytest

from bext_otel.health import Health


@pytest.fixture(autouse=True)
def _ended(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test leaves threads that ask."""
    made: list[Health] = []
    begin = Health.begin

    def remembered(health: Health) -> None:
        made.append(health)
        begin(health)

    monkeypatch.setattr(Health, "begin", remembered)
    yield
    for health in made:
        health.end()
