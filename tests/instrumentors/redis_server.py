"""A real Redis on loopback, for one module's tests."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.e2e.backends import free_port, program
from tests.waiting import until


@contextmanager
def redis_server() -> Iterator[int]:
    """The port of a Redis that keeps nothing on disk."""
    path, port = program("redis-server"), free_port()
    with _running(path, port, "--dir", "/"):
        yield port


def port_of_redis() -> Any:
    """A fixture: the port of a Redis of a module's own."""

    @pytest.fixture(scope="module")
    def port() -> Iterator[int]:
        with redis_server() as made:
            yield made

    return port


@contextmanager
def redis_cluster(directory: Path) -> Iterator[int]:
    """The port of a cluster of one node, which keeps what it knows of itself in `directory`."""
    path, port = program("redis-server"), free_port()
    with _running(
        path, port, "--dir", str(directory), "--cluster-enabled", "yes", "--cluster-port", str(free_port())
    ):
        with redis.Redis(port=port, decode_responses=True) as node:
            node.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            until(
                lambda: node.execute_command("CLUSTER INFO")["cluster_state"] == "ok",
                why="the cluster to be complete",
            )
        yield port


@contextmanager
def _running(path: str, port: int, *more: str) -> Iterator[None]:
    command = [path, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", *more]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            until(lambda: _answers(port), why="the Redis to answer")
            yield
            until(lambda: not lookers(), why="who asks what it holds to end")
        finally:
            server.terminate()


def lookers() -> list[threading.Thread]:
    """Threads that ask servers what they hold; they end soon after the instrumentation is undone."""
    return [thread for thread in threading.enumerate() if thread.name == "bext-otel-redis-holdings"]


def _answers(port: int) -> bool:
    try:
        with redis.Redis(port=port) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False
