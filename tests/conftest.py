"""What every test may rely on."""

from __future__ import annotations

import logging

import pytest


@pytest.fixture(autouse=True)
def loggers_that_speak() -> None:
    """Other tests configure logging, and `disable_existing_loggers` is the standard library's default."""
    logging.disable(logging.NOTSET)
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith("bext_otel") and isinstance(logger, logging.Logger):
            logger.disabled = False
