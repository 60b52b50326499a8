"""Which processes count together: programs that fork, spawn and run others, for real."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.service.people import environment, run

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no memory files here")

FAMILIES = """
import multiprocessing, os, sys

def work(number, turn, end):
    from counter import counter, ledger, say
    assert counter.add(number), ledger.reason
    turn.release()
    end.wait(30)
    say(counter.total(), ledger.alone, ledger.reason)

if __name__ == "__main__":
    if {first}:
        from counter import counter
        counter.add(1000)
    context = multiprocessing.get_context({method!r})
    turn, end = context.Semaphore(0), context.Event()
    children = [context.Process(target=work, args=(number, turn, end)) for number in (1, 20, 300)]
    for child in children: child.start()
    for child in children: assert turn.acquire(timeout=30)
    end.set()
    for child in children: child.join()
    if {first}:
        print(counter.total())
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize(
    ("launched", "first", "expected"), [(True, True, 1321), (False, True, 1321), (True, False, 321), (False, False, 321)],
    ids=["launched", "in-code", "launched-children-only", "in-code-children-only"],
)  # fmt: skip
def test_children_of_multiprocessing_count_together(
    tmp_path: Path, method: str, launched: bool, first: bool, expected: int
) -> None:
    """With their parent, if that counts; among themselves, if it knows nothing of it."""
    lines = run(tmp_path / "main.py", FAMILIES.format(method=method, first=first), launched=launched)
    assert [f"{expected} False "] * 3 == lines[:3]
    assert [str(expected)] * first == lines[3:]


NESTED = """
import subprocess, sys
from counter import counter
counter.add(1)
if len(sys.argv) == 1:
    for _ in range(2):
        subprocess.run([sys.executable, __file__, "nested"], check=True)
print(counter.total(), flush=True)
"""


@pytest.mark.parametrize("launched", [True, False])
def test_a_script_that_a_service_runs_is_apart(tmp_path: Path, launched: bool) -> None:
    assert ["1", "1", "1"] == run(tmp_path / "main.py", NESTED, launched=launched)


TWO_SERVICES = """
import subprocess, sys
FORKS = '''
import os
from counter import counter, say
for by in (1, 10):
    if os.fork() == 0:
        os._exit(not counter.add({times} * by))
for _ in range(2): assert os.wait()[1] == 0
say(counter.total())
'''
services = [subprocess.Popen([sys.executable, "-c", FORKS.format(times=times)]) for times in (1, 2)]
for service in services: assert service.wait() == 0
"""


@pytest.mark.parametrize("launched", [True, False])
def test_two_services_that_one_script_starts_are_apart(tmp_path: Path, launched: bool) -> None:
    assert {"11", "22"} == set(run(tmp_path / "main.py", TWO_SERVICES, launched=launched))


NAMED = """
import os
from bext_otel.service.joining import join_service
told, tell = os.pipe()
gone, go = os.pipe()
for number, service in enumerate(("shop", "shop", "blog", "blog")):
    if os.fork() == 0:
        ledger = join_service(service)
        assert ledger.publish(str(number).encode()), ledger.reason
        os.write(tell, b"x")
        os.read(gone, 1)
        os.write(1, f"{service} {[peer.payload for peer in ledger.peers()]}\\n".encode())
        os._exit(0)
    os.read(told, 1)  # one after another, so that each could find any before it
os.write(go, b"xxxx")
for _ in range(4): os.wait()
"""


def test_services_of_two_names_that_one_server_forks_are_apart(tmp_path: Path) -> None:
    lines = run(tmp_path / "main.py", NAMED)
    assert ["blog [b'2']", "blog [b'3']", "shop [b'0']", "shop [b'1']"] == sorted(lines)


CLOSED = """
import os, signal
from counter import counter, ledger
os.closerange(3, 4096)  # as daemons do; what they share with others is among it
told, tell = os.pipe()
children = []
for by in (1, 20, 300):
    child = os.fork()
    if child == 0:
        assert counter.add(by), ledger.reason
        os.write(tell, b"x")
        signal.pause()
    children.append(child)
for _ in children: os.read(told, 1)
print(counter.total(), ledger.alone, ledger.reason)
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
print(counter.total())
"""


def test_a_daemon_that_closed_everything_meets_its_workers_again(tmp_path: Path) -> None:
    """The workers find each other as if it had never known them; it finds them when it takes part itself."""
    assert ["321 False ", "321"] == run(tmp_path / "main.py", CLOSED)


CHANGED_USER = """
import multiprocessing, os, sys

def work():
    from counter import counter, ledger
    print(counter.add(), ledger.alone, ledger.reason.partition(" process ")[0], ledger.reason.rpartition(": ")[2], flush=True)

if __name__ == "__main__":
    from counter import counter, ledger
    counter.add()
    if os.fork() == 0:
        os.setuid(65534)
        print(counter.add(), ledger.alone, counter.total(), flush=True)
        child = multiprocessing.get_context("spawn").Process(target=work)
        child.start()
        child.join()
        os._exit(child.exitcode)
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0 or not shutil.which("unshare"),
    reason="changing the user wants root",
)
def test_a_worker_that_changed_its_user_goes_on_and_what_it_spawns_is_alone() -> None:
    """The kernel hides from everybody what a process has open that changed its user; the one spawned says so
    instead of splitting off."""
    with tempfile.TemporaryDirectory() as name:
        # The interpreter may stand where only root can go, so it is shown in a directory for all.
        directory = Path(name)
        directory.chmod(0o755)
        (directory / "python").mkdir()
        (directory / "main.py").write_text(CHANGED_USER)
        python = Path(os.path.realpath(sys.executable)).relative_to(sys.base_prefix)
        command = (
            f"mount --bind {sys.base_prefix} {directory}/python && exec {directory}/python/{python} "
            f"{directory}/main.py"
        )
        path = os.pathsep.join([environment()["PYTHONPATH"], *site.getsitepackages()])
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", command],
            env={
                **environment(),
                "PYTHONPATH": path,
                "LD_LIBRARY_PATH": f"{directory}/python/lib",
            },  # where libpython is
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert 0 == done.returncode, done.stderr
    assert ["True False 2", "False True what has one of them changed its user?"] == done.stdout.splitlines()


STARTS = """
import os, sys, time
from bext_otel.service.joining import join_service
lying = lambda: {os.path.join(path, name) for path in ("/dev/shm", "/tmp") for name in os.listdir(path) if "bext-otel" in name}
there = lying()
ledger = join_service()
try:
    before = len(os.listdir("/proc/self/fd"))
    again = join_service()
    print(ledger.alone, again.alone, again.reason)
    ledger.publish(b"first")
    ledger.close()
    third = join_service()
    print(third.alone, third.peers(), len(os.listdir("/proc/self/fd")) - before)
finally:
    print(sorted(lying() - there))
"""


@pytest.mark.quiet  # what others leave meanwhile is not ours
def test_a_process_takes_part_once_at_a_time(tmp_path: Path) -> None:
    assert [
        "False True this process takes part already: close the ledger it has first",
        "False [] 0",
        "[]",
    ] == run(tmp_path / "main.py", STARTS)


NO_PROC = """
import os
from bext_otel.service.joining import join_service
from bext_otel.service.procfs import Proc
ledger = join_service(proc=Proc("/nowhere"))
print(ledger.alone, ledger.publish(b""), ledger.reason)
"""


def test_without_proc_it_is_alone_and_says_so(tmp_path: Path) -> None:
    assert ["True False /nowhere does not tell how this process was started"] == run(
        tmp_path / "main.py", NO_PROC
    )


NO_MEMORY = """
import os
from bext_otel.service import memfd as memory
del os.memfd_create, os.O_TMPFILE
from bext_otel.service.joining import join_service
ledger = join_service()
print(ledger.alone, ledger.publish(b""), ledger.reason.partition(",")[0])
"""


def test_without_memory_files_it_is_alone_and_says_so(tmp_path: Path) -> None:
    expected = "True False no memory to share with other workers (memfd_create: this system has none"
    assert [expected] == run(tmp_path / "main.py", NO_MEMORY)


STOPPED = """
import os, signal
from bext_otel.service import rendezvous as meeting
from bext_otel.service.joining import join_service
told, tell = os.pipe()
stopped = os.fork()
if stopped == 0:
    def create(*args):
        os.write(tell, b"x")
        signal.pause()
    meeting.SharedFile.create = create
    join_service()
os.read(told, 1)
other = os.fork()
if other == 0:
    ledger = join_service()
    print(ledger.alone, ledger.reason.partition(" of process ")[0], flush=True)
    os._exit(0)
assert os.waitpid(other, 0)[1] == 0
os.kill(stopped, signal.SIGKILL)
os.wait()
"""


def test_a_sibling_that_stopped_while_making_the_file_is_not_waited_for(tmp_path: Path) -> None:
    assert ["True another worker"] == run(tmp_path / "main.py", STOPPED)
