"""The file that the processes of a service share: a slot for each, two halves in each slot, locks that die
with their owner.

Read and written with `pread` and `pwrite`, never mapped: where memory is short they fail with an error, and a
mapping kills with SIGBUS.

Locks are the process's own (F_SETLK), not those of an open file description: a fork shares the description,
so a dead worker's lock would live on in its children. The price: they are all dropped when this process
closes any descriptor of the file, as an application may that closes what it does not know. So they are asked
for again at each publication, which costs a microsecond and finds out who was faster.
"""

from __future__ import annotations

import errno
import os
import struct
from contextlib import suppress
from typing import NamedTuple
from zlib import crc32

from bext_otel.service import file_format as layout
from bext_otel.service import memfd as memory
from bext_otel.service.file_format import Header

with suppress(ImportError):  # Windows has no such locks, and no file of this kind is ever made there
    import fcntl

__all__ = ["Copy", "GoneError", "SharedFile", "TornError"]

TRIES = 16
"""How often a payload is read again that was overwritten while it was read; each time takes two publications
in as long as one reading."""
_COMPANY = 4095
"""Where a byte says whether more than one process ever had the file."""
# struct flock; native alignment, and padded to the size that the kernel writes.
_FLOCK = struct.Struct("@hhqqi0q")


class Copy(NamedTuple):
    """What a slot said."""

    sequence: int
    payload: bytes


class TornError(Exception):
    """A slot holds nothing whole."""


class GoneError(OSError):
    """The descriptor is no longer ours."""


class SharedFile:
    """An open file of a service. Methods that touch the file raise OSError if that fails. Call `check` before
    any of them.

    Attributes:
        identity: device and inode of the file.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.identity = _identity(descriptor)

    @classmethod
    def create(
        cls, service: str, directories: tuple[str, ...] = memory.DIRECTORIES
    ) -> tuple[SharedFile | None, str]:
        """A new one; or None, and why there is none."""
        beginning = layout.beginning(service).ljust(layout.SECRET, b"\0") + os.urandom(layout.SECRET_BYTES)
        descriptor, reason = memory.create(beginning, directories)
        return (cls(descriptor) if descriptor is not None else None), reason

    def check(self) -> None:
        """Whether the descriptor still is ours. An application that closes all it does not know, and opens
        files of its own, would have us write into those.

        Raises:
            GoneError: it is not.
        """
        try:
            identity = _identity(self._descriptor)
        except OSError:
            identity = None
        if identity != self.identity:
            raise GoneError(
                errno.EBADF,
                f"the application closed or replaced descriptor {self._descriptor}, which the workers share",
            )

    def lock(self, slot: int) -> bool:
        """Have this slot for this process, also if it has it already; False if another process has it. Does
        not wait."""
        return self._lock(layout.MARKS + slot)

    def _lock(self, byte: int) -> bool:
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except OSError as exc:
            if exc.errno in (errno.EACCES, errno.EAGAIN):
                return False
            raise
        return True

    def unlock(self, slot: int) -> None:
        """Give it up."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, layout.MARKS + slot)

    def owned(self, slot: int) -> bool:
        """Whether another process has this slot. Asks, and takes nothing, so it is in nobody's way."""
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, layout.MARKS + slot, 1, 0)
        return bool(_FLOCK.unpack(fcntl.fcntl(self._descriptor, fcntl.F_GETLK, asked))[0] != fcntl.F_UNLCK)

    def used(self) -> int:
        """How many slots were ever used; no later one was."""
        return len(os.pread(self._descriptor, layout.SLOTS, layout.MARKS).rstrip(b"\0"))

    def mark(self, slot: int) -> None:
        """Have readers look as far as this slot. Marks only ever appear, so writers need not agree on a
        count."""
        memory.write(self._descriptor, b"\1" * (slot + 1), layout.MARKS)

    def has_peers(self) -> bool:
        """Whether more than one process ever had this file."""
        return os.pread(self._descriptor, 1, _COMPANY) == b"\1"

    def join(self) -> None:
        """Say that this process has it too."""
        memory.write(self._descriptor, b"\1", _COMPANY)

    def hold(self, pid: int) -> None:
        """This process holds SIGTERM for the service."""
        memory.write(self._descriptor, layout.HOLDER_PID.pack(pid), layout.HOLDER)

    def holder(self) -> int:
        """Which one does; 0: none."""
        found = os.pread(self._descriptor, layout.HOLDER_PID.size, layout.HOLDER)
        return int(layout.HOLDER_PID.unpack(found)[0])

    def drain(self, pid: int, until: float) -> None:
        """This process has been told to end, and serves until then."""
        memory.write(self._descriptor, layout.DRAINED_PID.pack(pid, until), layout.DRAINED)

    def drained(self) -> tuple[int, float]:
        """Which one has been told to end last, and until when it serves; zeros: none."""
        found = os.pread(self._descriptor, layout.DRAINED_PID.size, layout.DRAINED)
        pid, until = layout.DRAINED_PID.unpack(found)
        return int(pid), float(until)

    def secret(self) -> bytes:
        """What only those know who have the file."""
        return os.pread(self._descriptor, layout.SECRET_BYTES, layout.SECRET)

    def notice(self) -> bytes:
        """What was posted last; empty if nothing, or if it is just being replaced."""
        return self._message(layout.NOTICE, layout.LONGEST_NOTICE)

    def post(self, notice: bytes) -> None:
        """Replace the notice. Raises OSError if it is too long (EFBIG)."""
        self._replace("a notice", notice, layout.NOTICE, layout.LONGEST_NOTICE)

    def lock_notice(self) -> bool:
        """Keep other processes from the notice; False if one of them does so. Does not wait."""
        return self._lock(layout.NOTICE)

    def unlock_notice(self) -> None:
        """Let others have it."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, layout.NOTICE)

    def orders_mark(self) -> bytes:
        """What tells whether the orders are other ones than before; the cheapest look there is."""
        return os.pread(self._descriptor, layout.NOTICE_HEADER.size, layout.ORDERS)

    def orders(self) -> bytes:
        """What somebody has asked of all processes of the service; empty if nothing, or if it is just being
        replaced."""
        return self._message(layout.ORDERS, layout.LONGEST_ORDERS)

    def order(self, orders: bytes) -> None:
        """Replace the orders. Raises OSError if they are too long (EFBIG)."""
        self._replace("orders", orders, layout.ORDERS, layout.LONGEST_ORDERS)

    def lock_orders(self) -> bool:
        """Keep other processes from replacing the orders; False if one of them does so. Does not wait."""
        return self._lock(layout.ORDERS)

    def unlock_orders(self) -> None:
        """Let others replace them."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, layout.ORDERS)

    def _message(self, place: int, longest: int) -> bytes:
        found = os.pread(self._descriptor, layout.NOTICE_HEADER.size + longest, place)
        return layout.notice_in(found)

    def _replace(self, what: str, message: bytes, place: int, longest: int) -> None:
        if len(message) > longest:
            raise OSError(errno.EFBIG, f"{what} of {len(message)} bytes, and at most {longest} fit")
        header = layout.NOTICE_HEADER.pack(len(message), crc32(message))
        memory.write(self._descriptor, header + message, place)

    def headers(self) -> list[Header | None]:
        """The newest header of each slot used; None for one that holds nothing whole at the moment."""
        size = self.used() * layout.ENTRY
        directory = os.pread(self._descriptor, size, layout.DIRECTORY).ljust(size, b"\0")
        return [layout.newest(directory[at : at + layout.ENTRY]) for at in range(0, size, layout.ENTRY)]

    def sequence(self, slot: int) -> int:
        """Which payload this slot holds; 0 for none."""
        header = layout.newest(self._entry(slot))
        return header.sequence if header is not None else 0

    def read(self, slot: int) -> Copy | None:
        """What this slot says, without waiting for anybody; None if nothing yet.

        Raises:
            TornError: what it says is damaged, or was overwritten each time while it was read.
        """
        for _ in range(TRIES):
            entry = self._entry(slot)
            header = layout.newest(entry)
            if header is None:
                if not entry.strip(b"\0"):
                    return None
                continue
            extents = layout.extents(slot, header.sequence, header.length)
            payload = b"".join([os.pread(self._descriptor, size, offset) for offset, size in extents])
            if len(payload) == header.length and crc32(payload) == header.crc:
                return Copy(header.sequence, payload)
        raise TornError(f"slot {slot}")

    def write(self, slot: int, sequence: int, payload: bytes) -> None:
        """Replace what this slot says. Killed at any moment, it says the former payload or this one, whole:
        the header is written last, within one page, which a signal can't interrupt.

        Raises:
            OSError: as always, and if the payload is too large (EFBIG); the former payload stands.
        """
        if len(payload) > layout.LARGEST:
            raise OSError(errno.EFBIG, f"{len(payload)} bytes to share, and at most {layout.LARGEST} fit")
        left = memoryview(payload)
        for offset, size in layout.extents(slot, sequence, len(payload)):
            memory.write(self._descriptor, left[:size], offset)
            left = left[size:]
        memory.write(
            self._descriptor,
            Header(sequence, len(payload), crc32(payload)).pack(),
            layout.place(slot, sequence),
        )

    def _entry(self, slot: int) -> bytes:
        entry = os.pread(self._descriptor, layout.ENTRY, layout.DIRECTORY + slot * layout.ENTRY)
        return entry.ljust(layout.ENTRY, b"\0")

    def close(self) -> None:
        """Close the descriptor, if it still is ours, and with it give up all slots of this process."""
        try:
            self.check()
        except GoneError:
            return
        os.close(self._descriptor)


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino
