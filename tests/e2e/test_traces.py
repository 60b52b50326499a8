"""Which trace a request is in, and that it ends, by real servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.launching import SOON, launched
from tests.e2e.otlp import Receiver, receiving
from tests.waiting import until

pytestmark = pytest.mark.e2e


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def sent_to(receiver: Receiver) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, **SOON}


def servers(receiver: Receiver, count: int) -> list[tuple[str, str]]:
    """Trace and parent of each server span, once there are that many."""
    until(lambda: len([span for span in receiver.spans() if span.kind == "server"]) >= count, seconds=20)
    return [(span.trace_id, span.parent_id) for span in receiver.spans() if span.kind == "server"]


def test_requests_of_a_command_that_is_traced_are_traces_of_their_own(
    tmp_path: Path, receiver: Receiver
) -> None:
    with launched(
        tmp_path, "python -m within_command {port}", env=sent_to(receiver), path="/items/0"
    ) as program:
        for _ in range(3):
            assert 200 == program.get("/items/0").status_code
        found = servers(receiver, 4)
    assert 4 == len({trace_id for trace_id, _ in found}) == len(found)
    assert {""} == {parent for _, parent in found}
