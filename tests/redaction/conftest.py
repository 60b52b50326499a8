"""The policy that holds by itself, after each test that sets another."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bext_otel.redaction import use_policy


@pytest.fixture(autouse=True)
def own_policy() -> Iterator[None]:
    """Nobody's settings."""
    use_policy()
    yield
    use_policy()
