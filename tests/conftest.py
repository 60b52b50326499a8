"""What every test may rely on."""

from __future__ import annotations

import logging
import signal
from collections.abc import Generator, Iterator

import pytest
from hypothesis import settings

from tests.conventions import unknown, vague_scopes, watch_exporters

# Fewer examples, for who runs a part of the tests at each change.
settings.register_profile("quick", max_examples=20, deadline=None)

# A job in the background ignores Ctrl-C, and so do the programs that it starts; some tests send it to theirs.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def names_of_our_own() -> Iterator[None]:
    """At the end of all tests: whatever attribute, metric and event of ours they have made is in the model."""
    undo = watch_exporters()
    yield
    undo()
    assert [] == list(unknown()), "docs/semantic-conventions/has to say what these are"
    assert [] == list(vague_scopes()), "each scope of ours says its version and its schema"


# By what a module has that starts interpreters or servers, each of which takes a good part of a second.
_STARTS_PROGRAMS = ("subprocess", "fresh", "printed", "launched", "Ran", "multiprocessing")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of modules that start programs are slow: `make quick` leaves them out."""
    for item in items:
        module = getattr(item, "module", None)
        if any(hasattr(module, name) for name in _STARTS_PROGRAMS):
            item.add_marker(pytest.mark.slow)


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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test wrote, in text that can be written: xdist sends it to another process, and ends at a lone
    surrogate."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode("utf-8")) for name, text in report.sections
    ]
    return report
