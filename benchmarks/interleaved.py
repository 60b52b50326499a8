"""Contestants in processes of their own, run in turn, so that a machine whose speed drifts is unfair to
nobody."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

__all__ = ["Contestant", "asked", "compare", "contestant_loop", "ratio"]


class Contestant:
    """A child process that runs a piece of work when told, and answers with the CPU seconds it took."""

    def __init__(self, module: str, name: str) -> None:
        self.name = name
        command = [sys.executable, "-m", module, "--contestant", name]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._ask("ready")

    def run(self, times: int) -> float:
        """CPU seconds for doing the work `times` times."""
        return float(self._ask(str(times)))

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def _ask(self, word: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        while line := self._process.stdout.readline():
            if line.startswith("cpu "):
                return line.removeprefix("cpu ").strip()
        raise RuntimeError(f"{self.name} ended with {self._process.wait()}; its last words are above")


def contestant_loop(work: Callable[[int], object]) -> None:
    """The child's side: do what standard input asks for, and tell the process's CPU time, threads
    included."""
    for line in sys.stdin:
        if line.strip() == "ready":
            spent = 0.0
        else:
            before = time.process_time()
            work(int(line))
            spent = time.process_time() - before
        print(f"cpu {spent!r}", flush=True)


def asked(
    description: str | None, times: str, default: int, work: Callable[[str], Callable[[int], object]]
) -> argparse.Namespace:
    """What the command line asks for: `rounds`, and how many `times` the work is done in each. A contestant,
    whose `work` goes by its name, works and ends here."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(f"--{times}", type=int, default=default, help=f"{times} a round")
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contestant:
        contestant_loop(work(arguments.contestant))
        sys.exit()
    return arguments


def compare(module: str, names: Sequence[str], *, rounds: int, times: int) -> dict[str, list[float]]:
    """CPU microseconds for one piece of work, a figure for each round, of every contestant."""
    contestants = [Contestant(module, name) for name in names]
    figures: dict[str, list[float]] = {name: [] for name in names}
    try:
        for contestant in contestants:
            contestant.run(max(times // 4, 1))  # warm
        for _ in range(rounds):
            for contestant in contestants:
                figures[contestant.name].append(contestant.run(times) / times * 1e6)
    finally:
        for contestant in contestants:
            contestant.close()
    return figures


def ratio(figures: dict[str, list[float]], ours: str, theirs: str, bare: str) -> tuple[float, float, float]:
    """Minimum, median and maximum over the rounds of what ours costs above bare, as a share of what theirs
    does."""
    shares = sorted(
        (mine - base) / (other - base)
        for mine, other, base in zip(figures[ours], figures[theirs], figures[bare], strict=True)
    )
    return shares[0], statistics.median(shares), shares[-1]
