"""What is sampled is asked of a collector, now and then."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import inf
from typing import Any

import pytest
from opentelemetry.sdk.trace.sampling import Decision

from bext_otel.export.remote_sampler import RemoteSampler
from bext_otel.export.sender import Sender
from tests.serving import serving


class Members(Sender):
    """A sender without a thread."""

    def __init__(self) -> None:
        self.joined: list[object] = []

    def join(self, member: Any) -> bool:
        self.joined.append(member)
        return True


@pytest.fixture
def answers() -> list[bytes]:
    """What the collector answers, one after the other; nothing where there is no more."""
    return []


@pytest.fixture
def endpoint(answers: list[bytes]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers.pop(0) if answers else b""
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as url:
        yield f"{url}/sampling"


def samples(sampler: RemoteSampler) -> bool:
    return sampler.should_sample(None, 1, "s").decision is Decision.RECORD_AND_SAMPLE


ALL, NONE = (b'{"probabilisticSampling": {"samplingRate": %d}}' % share for share in (1, 0))


def test_it_asks_from_the_first_span_on_and_the_last_answer_holds(
    endpoint: str, answers: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    answers += [ALL, b"nonsense", b"x" * (5 << 20), NONE]
    members = Members()
    sampler = RemoteSampler(endpoint, 1e-9, 0, through=members)
    assert [] == members.joined
    assert [False, False] == [samples(sampler) for _ in range(2)]
    assert [sampler] == members.joined
    found = []
    for _ in range(4):
        sampler.work()
        found.append(samples(sampler))
    assert [True, True, True, False] == found
    said = [record.getMessage() for record in caplog.records]
    assert ["what is to be sampled cannot be asked of", "what is to be sampled is told again by"] == [
        line[: line.index(" http")] for line in said
    ]


def test_it_asks_no_more_often_than_it_may(endpoint: str, answers: list[bytes]) -> None:
    answers += [ALL, NONE]
    sampler = RemoteSampler(endpoint, 3600, 0, through=Members())
    for _ in range(2):
        sampler.work()
    assert samples(sampler)
    assert 3500 < sampler.pause() <= 3600 < inf


def test_a_forked_child_asks_for_itself() -> None:
    members = Members()
    sampler = RemoteSampler("http://127.0.0.1:9/sampling", 60, 1, through=members)
    assert samples(sampler)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            samples(sampler)
            code = 0 if len(members.joined) == 2 else 2
        finally:
            os._exit(code)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert 1 == len(members.joined)


def test_it_says_whom_it_asks_without_secrets() -> None:
    sampler = RemoteSampler("http://user:secret@collector:5778/sampling", 60, 1, through=Members())
    assert (
        "JaegerRemoteSampler{http://REDACTED:REDACTED@collector:5778/sampling}" == sampler.get_description()
    )
