"""A file without a name, which is gone when the last process that has it open is gone, however it ends."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

from bext_otel.service import file_format as layout
from bext_otel.service.procfs import Proc

with suppress(ImportError):  # Windows has no such limits, and no such files
    import resource

__all__ = ["DIRECTORIES", "create", "held_by", "is_ours", "service_of", "write"]

NAME = "bext-otel"
DIRECTORIES = ("/dev/shm", "/tmp", "/var/tmp")  # noqa: S108  nothing appears there: the file has no name
_NOEXEC_SEAL = 0x8
"""The kernel's MFD_NOEXEC_SEAL (Linux 6.3): hardened systems refuse memory files that could be executed.
Older ones refuse the flag."""
_LINK = re.compile(rf"/memfd:{NAME} \(deleted\)|(?:{'|'.join(DIRECTORIES)})/#\d+ \(deleted\)")


def create(beginning: bytes, directories: tuple[str, ...] = DIRECTORIES) -> tuple[int | None, str]:
    """A descriptor of a new file that begins so; or None, and what was tried and why it failed.

    The beginning is written as part of each try: a full file system lets a file be created, and refuses its
    first byte.
    """
    failed = []
    for what, opening in _ways(directories):
        try:
            descriptor = opening()
        except (OSError, AttributeError) as exc:  # AttributeError: this system has no such thing
            failed.append(f"{what}: {_why(exc)}")
            continue
        try:
            write(descriptor, beginning, 0)
        except OSError as exc:
            os.close(descriptor)
            failed.append(f"{what}: {_why(exc)}")
        else:
            return descriptor, ""
    return None, "no memory to share with other workers (" + ", ".join(failed) + ")"


def _why(exc: Exception) -> str:
    return exc.strerror if isinstance(exc, OSError) and exc.strerror else "this system has none"


def _ways(directories: tuple[str, ...]) -> Iterator[tuple[str, Callable[[], int]]]:
    # The attributes are looked up when it is tried.
    yield "memfd_create", lambda: _memfd(_NOEXEC_SEAL)
    for directory in directories:
        yield f"O_TMPFILE in {directory}", partial(_unnamed, directory)


def _memfd(flags: int) -> int:
    try:
        return os.memfd_create(NAME, os.MFD_CLOEXEC | flags)
    except OSError as exc:
        if not flags or exc.errno != errno.EINVAL:
            raise
        return _memfd(0)


def _unnamed(directory: str) -> int:
    return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)


def write(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of it there.

    Raises:
        OSError: no room (ENOSPC), past the process's limit (EFBIG), or the descriptor is closed.
    """
    # Past the limit the kernel sends SIGXFSZ, which Python ignores; a server that embeds Python may not, and
    # would be killed.
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if limit != resource.RLIM_INFINITY and offset + len(data) > limit:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    left = memoryview(data)
    while left:
        written = os.pwrite(descriptor, left, offset)
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left, offset = left[written:], offset + written


def service_of(descriptor: int) -> bytes | None:
    """The name of the service whose file this is; None if it is no file of ours."""
    return layout.service_of(os.pread(descriptor, layout.BEGINNING, 0))


def is_ours(target: str) -> bool:
    """Whether a link of /proc/PID/fd stands for a file that may be one of ours."""
    return _LINK.fullmatch(target) is not None


def held_by(pid: int, proc: Proc, wanted: Callable[[int], bool]) -> int | None:
    """A descriptor of our own on the file which that process has open, if it has one that is `wanted`.

    Raises:
        PermissionError: not allowed to look at what the process has open; it belongs to another user, or
            changed its user.
    """
    try:
        for directory, name, target in proc.opened(pid):
            if is_ours(target):
                descriptor = os.open(name, os.O_RDWR | os.O_CLOEXEC, dir_fd=directory)
                try:
                    ours = wanted(descriptor)
                except OSError:
                    ours = False
                if ours:
                    return descriptor
                os.close(descriptor)
    except PermissionError:
        raise
    except OSError:  # the process, or its descriptor, is gone
        return None
    return None
