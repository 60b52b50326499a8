"""Servers of the tests' own, each with a thread, for as long as a block lasts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import HTTPServer

import grpc

__all__ = ["serving", "serving_rpc"]


@contextmanager
def serving(server: HTTPServer) -> Iterator[str]:
    """Has `server`, bound to a port of 127.0.0.1, answer at the address that this yields; then closes it."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def serving_rpc(register: Callable[[grpc.Server], object]) -> Iterator[str]:
    """A gRPC server of what `register` adds to it, at the address that this yields."""
    server = grpc.server(ThreadPoolExecutor(4))
    register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop(0).wait()
