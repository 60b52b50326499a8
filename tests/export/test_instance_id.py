"""Every process of a service has an id of its own, the same in all signals, that begins with the user's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from multiprocessing import get_context
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource

from bext_otel.export.instance_id import InstanceIds
from bext_otel.export.resource import build_resource

# What a process says of itself in its three signals, a line of JSON for each process; it forks twice, one of
# them once more.
PROGRAM = """
import json, os
from opentelemetry import _logs, metrics, trace
from bext_otel import configure

runtime = configure(logging={"output": "none"}, metrics={"include_process": False})

def say(who):
    provider = metrics.get_meter_provider()
    ids = [trace.get_tracer_provider().resource, provider._sdk_config.resource, _logs.get_logger_provider().resource]
    ids = [(one.attributes["service.instance.id"], one.attributes["process.pid"]) for one in ids]
    span = trace.get_tracer("t").start_span("s")
    ids.append((span.resource.attributes["service.instance.id"], span.resource.attributes["process.pid"]))
    shown = runtime.endpoints.reply("GET", "/metrics", "", {}, trusted=True).body.decode()
    ids.append((shown.partition('service_instance_id="')[2].partition('"')[0], os.getpid()))
    print(json.dumps([who, os.getpid(), ids]), flush=True)

def fork(who, then=lambda: None):
    pid = os.fork()
    if pid == 0:
        say(who)
        then()
        os._exit(0)
    os.waitpid(pid, 0)

say("parent")
fork("child", lambda: fork("grandchild"))
fork("sibling")
say("parent")
"""


def said(environment: dict[str, str]) -> list[tuple[str, int, list[Any]]]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "BEXT_"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]


@pytest.mark.parametrize("users", ["shop-1", ""])
def test_all_signals_of_a_process_agree_and_no_two_processes_do(users: str) -> None:
    ids: dict[int, set[str]] = {}
    whole = said({"OTEL_RESOURCE_ATTRIBUTES": f"service.instance.id={users}"} if users else {})
    for _, pid, signals in whole:
        assert [pid] == sorted({shown for _, shown in signals})
        ids.setdefault(pid, set()).update(one for one, _ in signals)
    assert ["parent", "child", "grandchild", "sibling", "parent"] == [who for who, *_ in whole]
    assert [1, 1, 1, 1] == [len(held) for held in ids.values()]
    each = [held.pop() for held in ids.values()]
    assert 4 == len(set(each))
    if users:
        assert "shop-1" == each[0]
        assert all(one.startswith("shop-1-") and len("shop-1-") + 8 == len(one) for one in each[1:])


def test_who_is_alone_has_the_users_id_as_it_is() -> None:
    assert (
        "mine"
        == InstanceIds(Resource({"service.instance.id": "mine"}), worker=False).resource.attributes[
            "service.instance.id"
        ]
    )


def test_a_worker_that_was_executed_adds_to_the_users_id() -> None:
    (first, _, suffix) = str(
        InstanceIds(Resource({"service.instance.id": "mine"}), worker=True).resource.attributes[
            "service.instance.id"
        ]
    ).partition("-")
    assert ("mine", 8) == (first, len(suffix))


def test_a_random_id_is_as_good_for_a_worker() -> None:
    resource = build_resource()
    assert resource == InstanceIds(resource, worker=True).resource


def _id_of_a_worker() -> object:
    return InstanceIds(Resource({"service.instance.id": "mine"})).resource.attributes["service.instance.id"]


def test_workers_that_multiprocessing_spawns_are_told_from_each_other() -> None:
    with get_context("spawn").Pool(2) as pool:
        first = pool.apply(_id_of_a_worker)
    with get_context("spawn").Pool(1) as pool:
        second = pool.apply(_id_of_a_worker)
    assert str(first).startswith("mine-")
    assert str(second).startswith("mine-")
    assert first != second
