"""What every test may rely on."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator

import pytest

from tests.conventions import unknown, watch_spans

# A job in the background ignores Ctrl-C, and so do the programs that it starts; some tests send it to theirs.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def names_of_our_own() -> Iterator[None]:
    """At the end of all tests: whatever attribute and metric of ours they have made is in the model."""
    undo = watch_spans()
    yield
    undo()
    assert [] == list(unknown()), "docs/semantic-conventions/attributes.yaml has to say what these are"


@pytest.fixture(autouse=True)
def loggers_that_speak() -> None:
    """Other tests' libraries configure logging for the whole process: they raise the root's level, and
    disable existing loggers."""
    logging.disable(logging.NOTSET)
    logging.root.setLevel(logging.WARNING)
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith("bext_otel") and isinstance(logger, logging.Logger):
            logger.disabled = False
            logger.setLevel(logging.NOTSET)
