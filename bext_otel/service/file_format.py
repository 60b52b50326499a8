"""Where things stand in the file that the processes of a service share.

    0      magic, version, name of the service
    2048   a secret, which proves that one has the file
    2304   a notice to all, after its length and CRC-32; the lock of whoever replaces it is on its first byte
    3584   which process holds SIGTERM for the service; which one was told to end, and how long it holds
    4096   a mark for each slot that was ever used; the locks are on these bytes
    8192   directory: two headers for each slot, one for each half
    128 K  payloads

A slot holds two payloads, the valid one and the one being written. Where a payload goes is fixed by slot,
half and length: its first 16 KiB into the first region, the next 32 KiB into the second, and so on. So
nothing is ever allocated, and no lock is needed for it that a stopped process could hold. The file is sparse:
what isn't written takes no memory. It takes at most twice the largest payload of each slot used.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

__all__ = [
    "BEGINNING",
    "DIRECTORY",
    "DRAINED",
    "DRAINED_PID",
    "ENTRY",
    "HOLDER",
    "HOLDER_PID",
    "LARGEST",
    "LONGEST_NOTICE",
    "LONGEST_ORDERS",
    "MARKS",
    "NOTICE",
    "NOTICE_HEADER",
    "ORDERS",
    "SECRET",
    "SECRET_BYTES",
    "SLOTS",
    "Header",
    "beginning",
    "extents",
    "newest",
    "notice_in",
    "place",
    "service_of",
]

SECRET = 2048
SECRET_BYTES = 32
NOTICE = 2304
LONGEST_NOTICE = 1024
"""In bytes."""
NOTICE_HEADER = struct.Struct("<HI")

HOLDER = 3584
HOLDER_PID = struct.Struct("<Q")
DRAINED = HOLDER + HOLDER_PID.size
DRAINED_PID = struct.Struct("<Qd")

SLOTS = 1024
"""How many processes of one service can take part at a time."""
MARKS = 4096
ORDERS = MARKS + SLOTS
DIRECTORY = 8192
LONGEST_ORDERS = DIRECTORY - ORDERS - NOTICE_HEADER.size
"""In bytes. They stand within one page, so that whoever is killed leaves the former ones or the new ones."""
_PAYLOADS = 128 * 1024
_FIRST = 16 * 1024
_REGIONS = 13
LARGEST = _FIRST * ((1 << _REGIONS) - 1)
"""The largest payload in bytes, 128 MiB."""

# control characters as PNG has them: no text file begins so; the last byte is the version
_MAGIC = b"\x89bext-otel\r\n\x1a\n\0\x01"
_SERVICE_BYTES = 1024
BEGINNING = len(_MAGIC) + 2 + _SERVICE_BYTES
"""How much of the file says whose it is, in bytes."""
_HEADER = struct.Struct("<QQI")
_CHECK = struct.Struct("<I")
_SIZE = 32
ENTRY = 2 * _SIZE


class Header(NamedTuple):
    """What is said of one payload: the slot's how manieth it is, its length in bytes, its CRC-32."""

    sequence: int
    length: int
    crc: int

    def pack(self) -> bytes:
        """As bytes, with a checksum of its own."""
        packed = _HEADER.pack(*self)
        return (packed + _CHECK.pack(crc32(packed))).ljust(_SIZE, b"\0")


def newest(entry: bytes) -> Header | None:
    """The later one of a slot's headers that are whole; None if neither is."""
    found: Header | None = None
    for half in (0, 1):
        packed = entry[half * _SIZE : half * _SIZE + _HEADER.size]
        (check,) = _CHECK.unpack_from(entry, half * _SIZE + _HEADER.size)
        if check != crc32(packed):
            continue
        header = Header(*_HEADER.unpack(packed))
        if (
            header.sequence % 2 == half
            and header.length <= LARGEST
            and (found is None or header.sequence > found.sequence)
        ):
            found = header
    return found


def place(slot: int, sequence: int) -> int:
    """Where the header stands of this slot's payload with this number."""
    return DIRECTORY + slot * ENTRY + sequence % 2 * _SIZE


def extents(slot: int, sequence: int, length: int) -> Iterator[tuple[int, int]]:
    """Where this slot's payload with this number stands: offset in the file and length, piece by piece."""
    region = _PAYLOADS
    for number in range(_REGIONS):
        if length <= 0:
            return
        size = _FIRST << number
        yield region + (2 * slot + sequence % 2) * size, min(length, size)
        region += 2 * SLOTS * size
        length -= size


def beginning(service: str) -> bytes:
    """What the file begins with."""
    name = service.encode("utf-8", "replace")[:_SERVICE_BYTES]
    return _MAGIC + struct.pack("<H", len(name)) + name


def service_of(start: bytes) -> bytes | None:
    """The name of the service, of a file that begins with this; None if it is no file of ours."""
    if not start.startswith(_MAGIC) or len(start) < len(_MAGIC) + 2:
        return None
    (length,) = struct.unpack_from("<H", start, len(_MAGIC))
    return start[len(_MAGIC) + 2 : len(_MAGIC) + 2 + length]


def notice_in(found: bytes) -> bytes:
    """The notice, of what stands at `NOTICE`, or the orders at `ORDERS`; empty if there is none, or it is
    just being replaced."""
    if len(found) < NOTICE_HEADER.size:
        return b""
    length, check = NOTICE_HEADER.unpack_from(found)
    notice = found[NOTICE_HEADER.size : NOTICE_HEADER.size + length]
    return notice if len(notice) == length and crc32(notice) == check else b""
