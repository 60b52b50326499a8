"""Real applications, bare and with us, side by side: the same requests, and nothing that differs but what we tell."""

from __future__ import annotations

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from bext_otel.access_policy import quiet_requests
from bext_otel.catalogue import METHODS
from bext_otel.config import AccessSettings
from tests.applications import running
from tests.applications.application import Application
from tests.applications.catalogue import APPLICATIONS
from tests.applications.installed import checkout_for, environment_of
from tests.applications.normalising import as_text
from tests.applications.running import Run
from tests.applications.seeded import everything
from tests.applications.terminals import Terminal, compared, terminal
from tests.applications.wire import Answer, Conversation, Request
from tests.e2e.launching import free_port
from tests.e2e.otlp import Receiver, Span, receiving

_IS_QUIET = quiet_requests(AccessSettings().excluded_paths, 1.0) or (lambda *_: False)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

pytestmark = [pytest.mark.e2e, pytest.mark.applications]


@dataclass(frozen=True)
class Sent:
    """A request or a websocket, and what came of it in both runs. `was_read`: the client waited for all of the answer."""

    what: Request | Conversation
    bare: Answer
    ours: Answer
    was_read: bool

    @property
    def may_be_unseen(self) -> bool:
        """A server that closes the connection may have read the pipelined request behind, or not."""
        return self.was_read and self.bare.status == 0


@dataclass(frozen=True)
class Comparison:
    """An application's two runs."""

    application: Application
    bare: Run
    ours: Run
    sent: list[Sent]
    received: Receiver

    def http_spans(self) -> list[Span]:
        """Server spans of requests, not of what an application makes of its own."""
        return [
            span for span in self.received.spans(kind="server") if "http.request.method" in span.attributes
        ]

    def seen(self) -> set[str]:
        """The requests that the application has seen, by their User-Agent."""
        return {one.what.agent for one in self.sent if not one.may_be_unseen}

    def terminals(self) -> tuple[Terminal, Terminal]:
        """What the bare one and ours show."""
        application = self.application
        bare, ours = (terminal(each, application.rules, application.noise) for each in (self.bare, self.ours))
        return bare, ours

    def perhaps_seen(self) -> set[str]:
        return {one.what.agent for one in self.sent if one.may_be_unseen}


@pytest.fixture(scope="module", params=APPLICATIONS.values(), ids=APPLICATIONS)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    application: Application = request.param
    environment = environment_of(application.environment or application.name)
    folder = tmp_path_factory.mktemp(application.name)
    visits, conversations = everything(application)
    checkout = checkout_for(environment, folder / "checkout")
    with receiving() as received, ThreadPoolExecutor(2) as pool:
        port = free_port()
        bare = running.bare(application, environment, folder / "bare")
        ours = running.launched(
            application,
            environment,
            folder / "ours",
            checkout=checkout,
            endpoint=received.endpoint,
            metrics_port=port,
        )
        # At once: a machine of two cores has both done sooner.
        first = pool.submit(running.run, application, visits, conversations, bare)
        second = pool.submit(running.run, application, visits, conversations, ours, metrics_port=port)
        runs = first.result(), second.result()
    sent: list[tuple[Request | Conversation, bool]] = [(each, True) for each in conversations]
    sent += [(each, visit.reads == "all") for visit in visits for each in visit.requests]
    return Comparison(
        application,
        *runs,
        [
            Sent(what, *answers, was_read)
            for (what, was_read), *answers in zip(sent, runs[0].answers, runs[1].answers, strict=True)
        ],
        received,
    )


def test_answers_are_those_of_the_bare_application(both: Comparison) -> None:
    assert 145 <= len(both.sent)
    rules = both.application.rules
    for one in both.sent:
        assert as_text(one.bare, (*both.bare.places, *rules)) == as_text(
            one.ours, (*both.ours.places, *rules)
        ), one.what


def test_each_request_is_one_server_span(both: Comparison) -> None:
    told = Counter(span.attributes["user_agent.original"] for span in both.http_spans())
    assert Counter(both.seen()) == Counter(
        {agent: number for agent, number in told.items() if agent in both.seen()}
    )
    assert {1} >= {told[agent] for agent in both.perhaps_seen() & told.keys()}
    assert told.keys() <= both.seen() | both.perhaps_seen()


def test_each_request_is_a_trace_of_its_own(both: Comparison) -> None:
    spans = both.http_spans()
    assert {""} >= {span.parent_id for span in spans}
    assert len(spans) == len({span.trace_id for span in spans})
    assert len(both.received.spans()) == len(
        {(span.trace_id, span.span_id) for span in both.received.spans()}
    )


def test_other_work_is_told_once(both: Comparison) -> None:
    """What an application does besides answering: tasks that it sends, and works off."""
    expected = both.application.work
    found = Counter(span.name.partition(" ")[0] for span in both.received.spans())
    assert expected == {name: found[name] for name in expected}


def test_no_span_is_an_orphan(both: Comparison) -> None:
    """Whose parent was never sent: all were ended, and nothing was lost when the application ended."""
    spans = both.received.spans()
    known = {(span.trace_id, span.span_id) for span in spans}
    orphans = [span for span in spans if span.parent_id and (span.trace_id, span.parent_id) not in known]
    if both.application.commanded:
        # Not of a request: of the command that serves, which is killed.
        assert 1 >= len({span.parent_id for span in orphans})
        requests = {span.trace_id for span in both.http_spans()}
        orphans = [span for span in orphans if span.trace_id in requests]
    assert [] == orphans


def test_each_request_is_counted_once(both: Comparison) -> None:
    shown: Counter[tuple[str, str]] = Counter()
    for series, value in both.ours.metrics.items():
        if series.startswith("bext_requests_total{"):
            labels = dict(_LABEL.findall(series))
            shown[labels["method"], labels["status"]] += int(value)
    assert sum(shown.values()) == len(both.http_spans())
    answered = Counter(
        (_method(one.what), str(one.bare.status)) for one in both.sent if one.was_read and one.bare.status
    )
    assert Counter() == answered - shown
    assert (shown - answered).total() == sum(
        not one.was_read or one.may_be_unseen for one in both.sent
    ) - _unseen(both)


def test_routes_are_templates_and_never_paths(both: Comparison) -> None:
    expected = both.application.routes
    assert expected == {
        span.attributes["http.route"] for span in both.http_spans() if "http.route" in span.attributes
    }
    labels = [dict(_LABEL.findall(series)) for series in both.ours.metrics]
    shown = {found["route"].replace("\\\\", "\\").replace('\\"', '"') for found in labels if "route" in found}
    assert shown <= expected | {"unmatched"}


def test_the_terminal_shows_once_what_the_bare_one_shows(both: Comparison) -> None:
    application = both.application
    bare, ours = both.terminals()
    lost, besides = compared(bare, ours)
    assert [] == lost, "\n".join(lost)
    assert application.besides == set(besides)
    # Whether a crash of a request that was left is told is the server's chance; doubled ones would be more.
    left = sum(not one.was_read for one in both.sent)
    assert abs(bare.tracebacks - ours.tracebacks) <= left
    assert bare.tracebacks == 0 or ours.tracebacks < 2 * bare.tracebacks


def test_a_request_leaves_one_line(both: Comparison) -> None:
    application = both.application
    _bare, ours = (
        terminal(both.bare, application.rules, application.noise),
        terminal(both.ours, application.rules, application.noise),
    )
    websockets = sum(isinstance(one.what, Conversation) for one in both.sent)
    # Of the paths that health checks ask for, nothing is told unless they are slow or fail.
    probes = sum(_IS_QUIET(str(span.attributes.get("url.path")), 200, 0) for span in both.http_spans())
    assert len(both.http_spans()) - websockets - probes == len(ours.completions)
    assert [] == ours.access


def test_it_ends_as_the_bare_application(both: Comparison) -> None:
    assert both.bare.exit_codes == both.ours.exit_codes


def _method(what: Request | Conversation) -> str:
    method = what.method if isinstance(what, Request) else "GET"
    return method if method in METHODS else "_OTHER"


def _unseen(both: Comparison) -> int:
    """Pipelined requests that the server did not read, since it closed the connection."""
    return len(both.perhaps_seen() - {span.attributes["user_agent.original"] for span in both.http_spans()})
