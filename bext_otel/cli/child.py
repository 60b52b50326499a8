"""A process of ours, with its output in a file."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from bext_otel.cli.signals import uninterrupted

__all__ = ["Child"]

_TAIL_BYTES = 64 * 1024


class Child:
    """A running process. `log` receives what it prints; `echo`, if given, is called with each line as it
    comes.

    As a context manager it is gone at the end, however the body ends: asked first, killed `seconds` later.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        log: Path,
        echo: Callable[[str], None] | None = None,
        seconds: float = 10.0,
    ) -> None:
        self.log = log
        self._seconds = seconds
        self._gone = threading.Event()
        # A file, not a pipe: a reader that falls behind would stop the process at its next line.
        with log.open("xb") as output:
            # Its own session: Ctrl-C in the terminal would reach it too, and it would stop before we have
            # read what it still sends.
            self._process = subprocess.Popen(  # noqa: S603 - what to start comes from our own code
                list(argv),
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._follower = threading.Thread(target=self._follow, args=(echo,), daemon=True) if echo else None
        if self._follower:
            self._follower.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended (negative: by that signal), or None while it runs."""
        return self._process.poll()

    def wait(self, seconds: float) -> bool:
        """Wait for its end for at most `seconds`; whether it has ended."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def tail(self, lines: int = 30) -> str:
        """The last lines that it printed."""
        with self.log.open("rb") as output:
            size = output.seek(0, 2)
            output.seek(max(0, size - _TAIL_BYTES))
            return "\n".join(output.read().decode("utf-8", "replace").splitlines()[-lines:])

    def stop(self) -> None:
        """End it, and wait until it is gone."""
        with uninterrupted():
            if self.returncode is None:
                self._process.terminate()
                if not self.wait(self._seconds):
                    self._process.kill()
                    self._process.wait()
            self._gone.set()
            if self._follower:
                self._follower.join()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _follow(self, echo: Callable[[str], None]) -> None:
        with self.log.open(encoding="utf-8", errors="replace") as output:
            rest = ""
            while True:
                last = self._gone.is_set()
                rest += output.read()
                *whole, rest = rest.split("\n")
                for line in whole:
                    echo(line)
                if last:
                    return
                self._gone.wait(0.2)
