"""Where the shared file comes from, and what happens where there is none."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bext_otel.service import memfd as memory
from bext_otel.service.procfs import Proc
from tests.service.people import ROOT, environment

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no memory files here")

BEGINNING = b"begins so"


def made(directories: tuple[str, ...] = memory.DIRECTORIES) -> str:
    """What the file is, or why there is none."""
    descriptor, reason = memory.create(BEGINNING, directories)
    if descriptor is None:
        return reason
    try:
        assert BEGINNING == os.pread(descriptor, 100, 0)
        assert not os.get_inheritable(descriptor)
        return os.readlink(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def test_it_is_a_memory_file() -> None:
    assert "/memfd:bext-otel (deleted)" == made()


def test_kernels_that_do_not_know_the_seal_get_none(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.memfd_create

    def older(name: str, flags: int) -> int:
        if flags & 0x8:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(name, flags)

    monkeypatch.setattr(os, "memfd_create", older)
    assert "/memfd:bext-otel (deleted)" == made()


def test_without_memory_files_it_is_one_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    link = made()
    assert link.startswith(memory.DIRECTORIES[0])
    assert memory._LINK.fullmatch(link)


def test_the_next_directory_is_tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(os, "memfd_create")
    assert made((str(tmp_path / "missing"), str(tmp_path))).startswith(f"{tmp_path}/#")
    assert [] == list(tmp_path.iterdir())


def test_with_nothing_it_says_what_was_tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(os, "memfd_create")
    missing = str(tmp_path / "missing")
    expected = (
        "no memory to share with other workers (memfd_create: this system has none, O_TMPFILE in "
        f"{missing}: No such file or directory)"
    )
    assert expected == made((missing,))


def in_child(code: str) -> str:
    """What a Python program prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout.strip()


LIMITED = """
import resource, signal
from bext_otel.service.shared_file import SharedFile
from bext_otel.service.board import Board
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # as in servers that embed Python
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))
arena, reason = SharedFile.create("limited")
if arena is None:
    print(reason)
else:
    ledger = Board(arena)
    print([ledger.publish(b"x" * size) for size in (1000, 100_000, 1000)], ledger.read(0) == b"x" * 1000)
"""


def test_a_limit_on_files_kills_nobody() -> None:
    """What is below the limit is shared, what is above is refused."""
    assert "[True, False, True] True" == in_child(LIMITED.format(limit=1024 * 1024))
    assert in_child(LIMITED.format(limit=1)).startswith(
        "no memory to share with other workers (memfd_create: File too large"
    )


FULL = """
import os
from bext_otel.service import memfd as memory
from bext_otel.service.shared_file import SharedFile
from bext_otel.service.board import Board
del os.memfd_create
mount = {mount!r}
ledger = Board(SharedFile.create("full", (mount,))[0])
print(ledger.publish(b"s" * 1000), ledger.publish(b"l" * 1_000_000), ledger.read(0) == b"s" * 1000, ledger.reason, ledger.alone)
print(ledger.publish(b"again"), ledger.read(0) == b"again", ledger.reason == "")
with open(mount + "/fill", "wb", buffering=0) as fill:
    try:
        while fill.write(b"f" * 4096): pass
    except OSError: pass
print(SharedFile.create("none", (mount,))[1])
"""


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0 or not shutil.which("unshare"), reason="mounting wants root"
)
def test_a_full_file_system_kills_nobody(tmp_path: Path) -> None:
    """Not even as a mapping would, with SIGBUS: the former payload stands, and small ones still fit."""
    script = tmp_path / "full.py"
    mount = tmp_path / "small"
    mount.mkdir()
    script.write_text(FULL.format(mount=str(mount)))
    command = f"mount -t tmpfs -o size=160k tmpfs {mount} && exec {sys.executable} {script}"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", command],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    assert [
        "True False True No space left on device False",
        "True True True",
        (
            f"no memory to share with other workers (memfd_create: this system has none, O_TMPFILE in {mount}: "
            "No space left on device)"
        ),
    ] == done.stdout.splitlines()


def test_a_file_is_found_in_the_process_that_has_it() -> None:
    descriptor, _ = memory.create(BEGINNING)
    assert descriptor is not None
    try:
        identity = os.fstat(descriptor).st_ino

        def wanted(candidate: int) -> bool:
            return os.fstat(candidate).st_ino == identity

        found = memory.held_by(os.getpid(), Proc(), wanted)
        assert found is not None
        os.close(found)
        assert memory.held_by(os.getpid(), Proc(), lambda candidate: False) is None
    finally:
        os.close(descriptor)


def test_looking_leaves_no_descriptor_open() -> None:
    before = os.listdir("/proc/self/fd")
    memory.held_by(os.getpid(), Proc(), lambda candidate: False)
    memory.held_by(2**22 + 1, Proc(), lambda candidate: True)
    assert before == os.listdir("/proc/self/fd")
