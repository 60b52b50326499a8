"""Rows of an application's, as long as a test lasts: a process has them for good."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bext_otel import catalogue, declarations
from bext_otel.metrics.merging import row_keys

__all__ = ["forget_rows"]


@pytest.fixture
def forget_rows() -> Iterator[None]:
    held = (
        declarations._own,
        declarations._own_works,
        declarations._BY_NAME,
        declarations._BY_EXPORTED,
        declarations._LABELS,
        catalogue.LABEL_KEYS,
        row_keys._adopted,
    )
    before = [dict(each) for each in held]
    yield
    for each, was in zip(held, before, strict=True):
        each.clear()
        each.update(was)  # type: ignore[arg-type]  # its own
    row_keys._key_of.cache_clear()
