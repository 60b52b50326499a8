"""What receivers are told, and what becomes of one that does not take it."""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from bext_otel.alerts.evaluation import Alert
from bext_otel.alerts.notifying import Receiver, Silences, receivers_of
from bext_otel.alerts.receivers import deliverer
from bext_otel.config.model import AlertReceiver, AlertSilence
from bext_otel.errors import ConfigError
from tests.serving import serving
from tests.waiting import until

NOW = 1_700_438_400.0


def alert(rule: str = "error_ratio", state: Any = "firing", **labels: str) -> Alert:
    severity = labels.pop("severity", "warning")
    return Alert(
        rule,
        state,
        {**labels, "alertname": rule, "severity": severity},
        0.12,
        NOW - 60,
        NOW,
        "bext_requests_total is 0.12 of all, above 0.05",
        "Too many errors.",
        "https://runbooks.example/errors",
    )


class Server(ThreadingHTTPServer):
    """Keeps what it is sent; answers these statuses in turn, the last one for ever."""

    daemon_threads = True

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses) or [200]
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers["content-length"]))
        server.got.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        status = server.statuses.pop(0) if len(server.statuses) > 1 else server.statuses[0]
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


class Told:
    """A receiver whose deliveries are kept."""

    def __init__(self, settings: AlertReceiver | None = None, *silences: AlertSilence) -> None:
        self.batches: list[list[tuple[str, str]]] = []
        self.failures: list[str] = []
        self.receiver = Receiver(
            settings or AlertReceiver(), self._keep, Silences(silences), on_failure=self.failures.append
        )

    def _keep(self, alerts: Any) -> None:
        self.batches.append([(each.rule, each.state) for each in alerts])


@contextmanager
def told(*args: Any) -> Iterator[Told]:
    made = Told(*args)
    yield made
    made.receiver.close()


def wait_for(made: Told, batches: int) -> list[list[tuple[str, str]]]:
    until(lambda: len(made.batches) >= batches, why=f"{batches} notifications, not {made.batches}")
    return made.batches


def test_what_fires_and_is_resolved_is_told_once_each_in_one_notification() -> None:
    both = [alert("a"), alert("b")]
    with told() as made:
        for seconds in (0, 15, 30):
            made.receiver.tell(both, NOW + seconds)
        made.receiver.tell(both[:1], NOW + 45)
        made.receiver.tell([], NOW + 60)
        assert [
            [("a", "firing"), ("b", "firing")],
            [("b", "resolved")],
            [("a", "resolved")],
        ] == wait_for(made, 3)


def test_one_that_flaps_is_told_again_after_the_cooldown_only() -> None:
    with told(AlertReceiver(cooldown_seconds=300)) as made:
        for seconds in range(0, 300, 30):
            made.receiver.tell([alert()] if seconds % 60 == 0 else [], NOW + seconds)
        made.receiver.tell([alert()], NOW + 400)
        assert [[("error_ratio", state)] for state in ("firing", "resolved", "firing")] == wait_for(made, 3)


def test_alertmanager_is_told_again_and_again_or_it_would_take_it_to_be_over() -> None:
    with told(AlertReceiver(kind="alertmanager")) as made:
        for seconds in range(0, 181, 15):
            made.receiver.tell([alert()], NOW + seconds)
        assert 4 == len(wait_for(made, 4))


def test_a_silence_ends() -> None:
    """Whoever is silenced is told as soon as it ends, if it still fires."""
    silence = AlertSilence(match={"app": "shop"}, until="2023-11-20T00:10:00Z")
    with told(AlertReceiver(), silence) as made:
        made.receiver.tell([alert(app="shop"), alert("other", app="cart")], NOW)
        assert [[("other", "firing")]] == wait_for(made, 1)
        made.receiver.tell([alert(app="shop"), alert("other", app="cart")], NOW + 599)
        made.receiver.tell([alert(app="shop"), alert("other", app="cart")], NOW + 601)
        assert [[("other", "firing")], [("error_ratio", "firing")]] == wait_for(made, 2)


def test_a_receiver_has_the_severity_that_it_wants() -> None:
    with told(AlertReceiver(severity="critical")) as made:
        made.receiver.tell([alert("low", severity="warning"), alert("high", severity="critical")], NOW)
        assert [[("high", "firing")]] == wait_for(made, 1)


def test_one_that_hangs_keeps_nobody_waiting_and_what_is_too_much_is_counted() -> None:
    never = threading.Event()
    receiver = Receiver(AlertReceiver(), lambda _: never.wait(60), Silences([]), on_failure=lambda _: None)
    began = time.monotonic()
    for number in range(300):
        receiver.tell([alert(f"rule{number}")], NOW + number)
    assert time.monotonic() - began < 30, "it never waits for the receiver"
    assert len(receiver._waiting) <= 100
    assert receiver.dropped >= 199
    receiver.close()
    never.set()


def test_one_that_fails_is_tried_again_and_then_counted() -> None:
    tries: list[int] = []

    def broken(alerts: Any) -> None:
        tries.append(len(alerts))
        raise ConnectionError("answered 500")

    failures: list[str] = []
    receiver = Receiver(
        AlertReceiver(), broken, Silences([]), on_failure=failures.append, back_off_seconds=0.001
    )
    receiver.tell([alert()], NOW)
    until(lambda: receiver.failed == 1, why="it to give up")
    assert ([1] * 5, ["ConnectionError: answered 500"]) == (tries, failures)
    receiver.close()


def test_a_webhook_is_signed_with_its_time() -> None:
    server = Server(500, 200)
    with serving(server):
        url = f"http://127.0.0.1:{server.server_port}/hook"
        deliver = deliverer("pager", AlertReceiver(url=url, secret="s3cret"))
        with pytest.raises(ConnectionError, match="answered 500"):
            deliver([alert(app="shop")])
        deliver([alert(app="shop")])
    path, headers, body = server.got[-1]
    expected = hmac.new(b"s3cret", headers["x-bext-timestamp"].encode() + b"." + body, hashlib.sha256)
    assert ("/hook", f"v1={expected.hexdigest()}") == (path, headers["x-bext-signature"])
    assert abs(int(headers["x-bext-timestamp"]) - time.time()) < 600
    document = json.loads(body)
    assert (1, "pager") == (document["version"], document["receiver"])
    (told,) = document["alerts"]
    assert ("firing", "shop", 0.12) == (told["state"], told["labels"]["app"], told["value"])
    assert "2023-11-20T00:00:00.000Z" == told["time"]


def test_alertmanager_gets_its_api_and_slack_a_text_without_markup() -> None:
    server = Server()
    with serving(server):
        url = f"http://127.0.0.1:{server.server_port}"
        deliverer("am", AlertReceiver(kind="alertmanager", url=url))(
            [alert(app="shop"), alert(state="resolved")]
        )
        deliverer("chat", AlertReceiver(kind="slack", url=f"{url}/x"))([alert(app="<!channel>")])
    (path, _, body), (_, _, text) = server.got
    assert "/api/v2/alerts" == path
    firing, resolved = json.loads(body)
    assert {"alertname": "error_ratio", "severity": "warning", "app": "shop"} == firing["labels"]
    assert ("2023-11-19T23:59:00.000Z", "2023-11-20T00:05:00.000Z") == (firing["startsAt"], firing["endsAt"])
    assert "2023-11-20T00:00:00.000Z" == resolved["endsAt"]
    assert "https://runbooks.example/errors" == firing["annotations"]["runbook_url"]
    said = json.loads(text)["text"]
    assert said.startswith("*FIRING* warning error_ratio app=&lt;!channel&gt;: ")


def test_a_command_reads_the_alerts_and_is_killed_with_its_children(tmp_path: Path) -> None:
    file = tmp_path / "got"
    write = f"import sys; open({str(file)!r}, 'w').write(sys.stdin.read())"
    deliverer("page", AlertReceiver(kind="command", command=(sys.executable, "-c", write)))([alert()])
    assert "error_ratio" == json.loads(file.read_text())["alerts"][0]["rule"]
    hang = (
        "import subprocess, sys, time; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)']);"
        f"open({str(file)!r}, 'w').write(str(child.pid)); time.sleep(300)"
    )
    hanging = AlertReceiver(kind="command", command=(sys.executable, "-c", hang), timeout_seconds=5)
    file.unlink()
    with pytest.raises(Exception, match="timed out"):
        deliverer("page", hanging)([alert()])
    child = int(file.read_text())
    until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)
    with pytest.raises(ChildProcessError, match="ended with 3"):
        deliverer(
            "page", AlertReceiver(kind="command", command=(sys.executable, "-c", "raise SystemExit(3)"))
        )([alert()])


def test_a_function_of_the_application_gets_plain_data(monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[Any] = []
    monkeypatch.setattr(sys.modules[__name__], "page", got.append, raising=False)
    deliverer("fn", AlertReceiver(kind="python", function=f"{__name__}:page"))([alert()])
    assert [["error_ratio"]] == [[each["rule"] for each in batch] for batch in got]
    with pytest.raises(ModuleNotFoundError):
        deliverer("fn", AlertReceiver(kind="python", function="nowhere:page"))([alert()])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (AlertReceiver(), "url: expected an http:// or https:// URL"),
        (AlertReceiver(url="ftp://x/hush"), "url: expected an http:// or https:// URL"),
        (AlertReceiver(kind="command"), "has no command"),
        (AlertReceiver(kind="python", function="nowhere"), 'expected "module:function"'),
    ],
)
def test_one_that_cannot_be_told_is_one_line_and_left_out(settings: AlertReceiver, expected: str) -> None:
    lines: list[str] = []
    assert {} == receivers_of({"x": settings}, {}, tell=lines.append)
    assert 1 == len(lines)
    assert expected in lines[0]
    assert "hush" not in lines[0]
    with pytest.raises(ConfigError):
        deliverer("x", settings)


def test_what_is_secret_of_a_receiver_is_not_shown() -> None:
    shown = repr(AlertReceiver(url="https://hooks.example/T0/s3cret", secret="s3cret"))
    assert "s3cret" not in shown
    assert "kind='webhook'" in shown
