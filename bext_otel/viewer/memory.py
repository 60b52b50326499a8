"""How the C library holds memory in a process that is the viewer's own."""

from __future__ import annotations

import ctypes
from contextlib import suppress

__all__ = ["give_back_freed_memory"]

# mallopt(3) of glibc.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_KIB = 1024


def give_back_freed_memory() -> None:
    """Have freed memory go back to the system soon, where the C library can do that (glibc); for a process
    that does nothing else.

    By itself, glibc learns from each large body that large pieces are usual, takes the next one from where
    the small ones are, of which each thread has its own, and gives hardly any of that back.
    """
    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_ARENA_MAX, 1)
        mallopt(_MMAP_THRESHOLD, 64 * _KIB)
        mallopt(_TRIM_THRESHOLD, 256 * _KIB)
