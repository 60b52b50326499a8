"""What a sink of log records could not take: counted, by reason, told once, and told again when it is
over."""

from __future__ import annotations

import errno
import logging
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from bext_otel.logs.outputs import write_stderr
from bext_otel.process import on_fork

__all__ = ["Losses", "reason_of"]

_QUIET_SECONDS = 300.0
# A sink that takes a line now and then is not back.
_BACK_SECONDS = 1.0
_log = logging.getLogger("bext_otel")

_REASONS: Mapping[int | None, str] = {
    errno.ENOSPC: "disk_full",
    getattr(errno, "EDQUOT", errno.ENOSPC): "disk_full",
    errno.EPIPE: "closed",
    errno.EIO: "closed",
    errno.EBADF: "closed",
    errno.ENXIO: "closed",
    errno.ENOENT: "missing",
    errno.ENOTDIR: "missing",
    errno.EACCES: "denied",
    errno.EPERM: "denied",
    errno.EROFS: "denied",
    errno.ELOOP: "denied",
}


def reason_of(error: BaseException) -> str:
    """Why a line is lost, in a word; one of the catalogue's."""
    if isinstance(error, BlockingIOError):
        return "stuck"
    if isinstance(error, OSError):
        return _REASONS.get(error.errno, "error")
    # What Python raises for a stream that was closed, or detached, has no number.
    return "closed" if isinstance(error, ValueError) and "closed" in str(error) else "error"


class Losses:
    """Counts what a sink couldn't take, and says so once: a full disk makes one line, not one for each lost
    line. When it takes lines again, that is one line with their number.

    `sink` is what it is called for people, `kind` for the catalogue. `pending` says that something was lost
    of which the end was not told: who writes something then calls `end`.
    """

    def __init__(self, sink: str, kind: str = "", *, clock: Callable[[], float] = time.monotonic) -> None:
        self.kind = kind or sink
        self._sink = sink
        self._clock = clock
        self.reset()
        _all.add(self)

    def reset(self) -> None:
        """Start over, as a forked child does: the parent tells what it lost."""
        self.count = self._ended = 0
        self.pending = False
        self._reasons: Counter[str] = Counter()
        self._said: float | None = None
        self._last: float | None = None

    def lost_within(self, seconds: float) -> bool:
        """Whether something was lost in the last `seconds`."""
        return self._last is not None and self._clock() - self._last < seconds

    def by_reason(self) -> Iterator[tuple[int, dict[str, str]]]:
        """How much was lost, with the labels of the catalogue's row."""
        return (
            (count, {"sink": self.kind, "reason": reason}) for reason, count in list(self._reasons.items())
        )

    def add(self, error: BaseException, count: int = 1) -> None:
        """`count` more are lost because of `error`."""
        self.count += count
        self._reasons[reason_of(error)] += count
        self.pending = True
        now = self._last = self._clock()
        if self._said is None or now - self._said >= _QUIET_SECONDS:
            self._said = now
            write_stderr(
                f"log lines can't be written to {self._sink} ({type(error).__name__}: {error}); dropped and "
                f"counted: {self.count} so far"
            )

    def end(self) -> None:
        """Something was written: it is over, unless it was lost a moment ago."""
        if self._last is None or self._clock() - self._last < _BACK_SECONDS:
            return
        # First, because the line itself is written, or lost.
        lost, self._ended, self.pending, self._said = self.count - self._ended, self.count, False, None
        _log.warning(
            "log lines are written to %s again; dropped meanwhile: %d",
            self._sink,
            lost,
            extra={"sink": self.kind, "dropped": lost},
        )


_all: weakref.WeakSet[Losses] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for each in list(_all):
        each.reset()


on_fork(in_child=_after_fork_in_child)
