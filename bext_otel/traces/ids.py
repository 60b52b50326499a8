"""Ids of traces and spans, from the system's randomness: an application that seeds `random` does not repeat
them, and a forked child does not go on with its parent's.
"""

from __future__ import annotations

import os
import struct

from opentelemetry.sdk.trace.id_generator import IdGenerator

from bext_otel.process import on_fork

__all__ = ["RandomIds"]

# A call into the system costs as much as some ten ids; what is kept is small, for whoever forks unseen.
_WORDS = 256
_unpack = struct.Struct(f"{_WORDS}Q").unpack
_words: list[int] = []

on_fork(in_child=_words.clear)


class RandomIds(IdGenerator):
    """All 128 bits of a trace id are random (W3C Trace Context level 2, "random-trace-id flag"), as are the
    64 of a span id. Safe in threads and signal handlers: a number is taken in one step."""

    def generate_span_id(self) -> int:
        """A random number of 64 bits; never 0, which is no id."""
        while True:
            try:
                if word := _words.pop():
                    return word
            except IndexError:
                _words.extend(_unpack(os.urandom(8 * _WORDS)))

    def generate_trace_id(self) -> int:
        """A random number of 128 bits; never 0."""
        return self.generate_span_id() << 64 | self.generate_span_id()

    def is_trace_id_random(self) -> bool:
        """They are."""
        return True
