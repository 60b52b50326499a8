"""Items that wait for long, as one piece of memory, which goes back to the system as a whole.

Small pieces lie where Python keeps all small objects, in blocks of a megabyte that go back only when nothing
is left in them; and after an outage something is left in each.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol, TypeVar

from bext_otel.export.origins import Encoded

__all__ = ["EncodedPack", "Pack", "give_freed_memory_back"]

T_co = TypeVar("T_co", covariant=True)


class Pack(Protocol[T_co]):
    """Some items; how many, and how many bytes they have."""

    @property
    def count(self) -> int: ...
    @property
    def weight(self) -> int: ...
    def items(self) -> Sequence[T_co]:
        """Each for itself again, in their order."""


class EncodedPack:
    """Items that are bytes, with the numbers of their origins."""

    __slots__ = ("_content", "_lengths", "_origins")

    def __init__(self, items: Sequence[Encoded]) -> None:
        self._origins = array("Q", [origin for origin, _ in items])
        self._lengths = array("Q", [len(content) for _, content in items])
        self._content = b"".join([content for _, content in items])

    @property
    def count(self) -> int:
        """How many they are."""
        return len(self._lengths)

    @property
    def weight(self) -> int:
        """Their bytes."""
        return len(self._content)

    def items(self) -> list[Encoded]:
        """Each for itself again, in their order."""
        found: list[Encoded] = []
        at = 0
        for origin, length in zip(self._origins, self._lengths, strict=True):
            found.append((origin, self._content[at : at + length]))
            at += length
        return found


def give_freed_memory_back() -> None:
    """Have the C library give back what it keeps of packs that were sent, which takes it some milliseconds;
    where it can do that (glibc)."""
    with suppress(ImportError, OSError, AttributeError, TypeError):
        import ctypes  # needed after an outage, and by nobody else

        ctypes.CDLL(None).malloc_trim(0)
