"""Which version of OpenTelemetry's SDK the tests run on: some look at what only newer ones have."""

from __future__ import annotations

from importlib.metadata import version

import pytest

__all__ = ["SDK", "since"]

SDK = tuple(int(part) for part in version("opentelemetry-sdk").split(".")[:2])
"""Its major and its minor version."""


def since(minor: int, what: str) -> pytest.MarkDecorator:
    """Left out below SDK 1.`minor`, from which on there is `what`."""
    return pytest.mark.skipif(SDK < (1, minor), reason=f"OpenTelemetry has {what} from 1.{minor} on")
