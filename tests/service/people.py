"""Processes that do with a ledger what a test tells them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bext_otel.service.board import Board
from bext_otel.service.shared_file import SharedFile

FAMILY = Path(__file__).parent / "family"
ROOT = Path(__file__).parents[2]


class Worker:
    """A fork of this process."""

    def __init__(self, ledger: Board) -> None:
        self._here, there = multiprocessing.Pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                while True:
                    do, args = there.recv()
                    there.send(do(ledger, *args))
            finally:
                os._exit(0)
        there.close()

    def do(self, what: Callable[..., Any], *args: Any) -> Any:
        """The answer of a module's function, called there with the ledger."""
        self._here.send((what, args))
        assert self._here.poll(20), "no answer"
        return self._here.recv()

    def take(self) -> bytes | None:
        return self.do(Board.take)

    def publish(self, payload: bytes) -> bool:
        return self.do(Board.publish, payload)

    def peers(self, known: dict[int, int] | None = None) -> list[Any]:
        return self.do(Board.peers, known or {})

    def state(self) -> tuple[bool, str]:
        """Whether it is alone, and the reason."""
        return self.do(_state)

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)

    def kill(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0


def _state(ledger: Board) -> tuple[bool, str]:
    return ledger.alone, ledger.reason


@contextmanager
def crew() -> Iterator[Callable[[], Worker]]:
    """Makes workers of one service; they are killed in the end."""
    arena, reason = SharedFile.create("crew")
    assert arena is not None, reason
    ledger, workers = Board(arena), []

    def hire() -> Worker:
        workers.append(Worker(ledger))
        return workers[-1]

    try:
        yield hire
    finally:
        for worker in workers:
            worker.kill()
        ledger.close()


def environment(*, launched: bool = False) -> dict[str, str]:
    """For programs that count with the family's counter; `launched` joins in each process as it starts."""
    path = [*([str(FAMILY / "launched")] if launched else []), str(FAMILY), str(ROOT)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYTHONWARNINGS": "ignore"}


def run(script: Path, code: str, *, launched: bool = False) -> list[str]:
    """The lines that a program writes."""
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, str(script)],
        env=environment(launched=launched),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout.splitlines()
