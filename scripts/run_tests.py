"""Runs the test suite on all cores: `scripts/run_tests.py [PYTEST...]`.

The tests that wait for programs wait side by side, a module of them at a time in each of some processes
(pytest-xdist); those that are marked `quiet`, since they measure time or processors, come last and alone.
What failed side by side is run once more by itself, which tells a test that is wrong from one that a busy
machine kept from its deadline; both runs are shown.
With arguments of pytest's there is one run, in one process, of what they name.

`--quick` leaves out what starts programs, backends, applications or installers, and what takes long: what a
contributor runs at each change, in a minute and a half. Ends with pytest's code, the worst of the runs.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# More than these only fill the memory: most of a test's time is spent in programs that it has started.
SIDE_BY_SIDE = ["--numprocesses=auto", "--maxprocesses=4", "--dist=loadscope"]
FAILED = 1
QUICK = "not (e2e or backends or applications or installs or quiet or slow)"
# Where most of what is left starts programs of its own, or imports many libraries.
LONG = ["e2e", "applications", "faults", "service", "examples", "instrumentors"]


def run(*arguments: str) -> int:
    """One run of pytest; its exit code."""
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=ROOT, check=False).returncode


def quick() -> list[str]:
    """The arguments of the quick part."""
    return [
        *SIDE_BY_SIDE,
        "--hypothesis-profile=quick",
        "-m",
        QUICK,
        *(f"--ignore=tests/{folder}" for folder in LONG),
    ]


def main(arguments: list[str]) -> int:
    """The exit code."""
    if arguments[:1] == ["--quick"]:
        return run(*quick(), *arguments[1:])
    if arguments:
        return run(*arguments)
    together = run(*SIDE_BY_SIDE, "-m", "not quiet")
    if together == FAILED:
        print("run_tests.py: what failed side by side is run once more, by itself; that decides")
        together = run("--last-failed", "--last-failed-no-failures=none", "-m", "not quiet")
    alone = run("-m", "quiet")
    if together:
        print(f"run_tests.py: the tests that ran side by side, above, ended with {together}")
    return together or alone


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
