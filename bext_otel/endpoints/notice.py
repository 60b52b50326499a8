"""What is posted on a service's board about its endpoints, and how its processes rank for their port."""

from __future__ import annotations

from enum import IntEnum

import msgspec

__all__ = ["Notice", "Rank"]


class Rank(IntEnum):
    """What a process has to show, from the least to the most: nothing yet; what it has measured; the requests
    that it serves."""

    CANDIDATE = 0
    MEASURES = 1
    SERVES = 2


class Notice(msgspec.Struct, frozen=True):
    """What a leader posts: who it is, the name of its socket, and the address that it serves or waits for."""

    pid: int
    uid: int
    name: str
    host: str
    port: int
    holds: bool

    def encode(self) -> bytes:
        """As it stands on the board."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, posted: bytes) -> Notice | None:
        """What is posted; None if that is nothing, or nothing of ours."""
        try:
            return msgspec.json.decode(posted, type=cls)
        except msgspec.DecodeError:  # ValidationError among them
            return None
