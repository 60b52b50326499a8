"""A real Redis on loopback, for one module's tests."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from tests.e2e.backends import free_port, program
from tests.waiting import until


@contextmanager
def redis_server() -> Iterator[int]:
    """The port of a Redis that keeps nothing on disk."""
    path, port = program("redis-server"), free_port()
    command = [path, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", "/"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            until(lambda: _answers(port), why="the Redis to answer")
            yield port
        finally:
            server.terminate()


def _answers(port: int) -> bool:
    try:
        with redis.Redis(port=port) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False
