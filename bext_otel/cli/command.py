"""Running somebody else's command as if we were not there: its streams, its signals, its exit code."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

__all__ = ["Forwarding", "forwarding"]

_FORWARDED = frozenset(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
)

# `si_code` of a signal that the kernel sent, which for ours is the terminal: it has reached the command by
# itself. <asm-generic/siginfo.h>
_SI_KERNEL = 0x80

# macOS can't tell who sent a signal: it goes by handlers there, and Ctrl-C reaches the command twice. Windows
# blocks none, and sends Ctrl-C to all programs of a console: there it is not forwarded.
_TELLS_SENDER = hasattr(signal, "sigtimedwait") and hasattr(signal, "pthread_sigmask")
_ALONE_ON_CONSOLE = frozenset({signal.SIGINT}) if sys.platform == "win32" else frozenset()

# A signal that a thread of somebody else's got is forwarded by its handler, which runs when waiting returns.
_TURN_SECONDS = 1.0


@contextmanager
def forwarding() -> Iterator[Forwarding]:
    """Signals that ask this process for something wait from here on, for a command to forward them to; those
    left at the end are dropped.

    Threads that are started inside leave them alone as well. Outside of the main thread, which alone gets
    signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield Forwarding(frozenset())
        return
    # What is ignored from the start (nohup, a job in the background) stays so, and the command inherits that.
    made = Forwarding(
        frozenset(number for number in _FORWARDED if signal.getsignal(number) is not signal.SIG_IGN)
    )
    before = {number: signal.signal(number, made.handle) for number in made.numbers}
    unmasked = _blocked(made.heard)
    try:
        yield made
    finally:
        made.drop()
        if unmasked is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, unmasked)
        for number, handler in before.items():
            signal.signal(number, handler)


def _blocked(numbers: frozenset[int]) -> set[signal.Signals | int] | None:
    """Have signals wait for whoever asks for them; what was blocked before, or None where nothing changed."""
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, numbers)) if numbers else None


class Forwarding:
    """Runs a command, and has it get the signals in `numbers` that come meanwhile."""

    def __init__(self, numbers: frozenset[int]) -> None:
        self.numbers = numbers
        self.heard = frozenset({*numbers, signal.SIGCHLD}) if numbers and _TELLS_SENDER else frozenset()
        self._early: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, argv: Sequence[str], environ: Mapping[str, str]) -> int:
        """Run a command to its end; its exit code, which is 128+n where signal n ended it.

        Streams and inherited files are its own. What a terminal sends (Ctrl-C) reaches both of us, and is not
        forwarded. Raises OSError, as `subprocess` does, for a command that can't be started.
        """
        # A command inherits what is blocked, so for this moment nothing is.
        if self.heard:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, self.heard)
        try:
            # close_fds: what was handed to us, such as a pipe of make's job server, is meant for the command.
            process = subprocess.Popen(  # noqa: S603  # nosec B603  # the command is the caller's own
                list(argv), env=dict(environ), close_fds=False
            )
        finally:
            _blocked(self.heard)
        self._process = process
        while self._early:
            process.send_signal(self._early.pop(0))
        code = self._wait(process)
        return 128 - code if code < 0 else code

    def handle(self, number: int, _frame: FrameType | None = None) -> None:
        """A signal came by Python's handler."""
        if number in _ALONE_ON_CONSOLE:
            return
        if self._process is None:
            self._early.append(number)
        else:
            self._process.send_signal(number)

    def drop(self) -> None:
        """Forget the signals that nobody has waited for."""
        while self.heard and signal.sigtimedwait(self.heard, 0) is not None:
            pass

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        if not self.heard:
            return process.wait()
        while (code := process.poll()) is None:
            told = signal.sigtimedwait(self.heard, _TURN_SECONDS)
            if told is not None and told.si_signo != signal.SIGCHLD and told.si_code != _SI_KERNEL:
                process.send_signal(told.si_signo)
        return code
