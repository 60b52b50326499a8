"""How a process came to be, read off a /proc that the test writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bext_otel.service.process_tree import Origin, origin_of, relatives
from bext_otel.service.procfs import FORKED, Proc

SPAWN = (
    "python",
    "-c",
    "from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=5, pipe_handle=7)",
    "--multiprocessing-fork",
)
FORKSERVER = ("python", "-c", "from multiprocessing.forkserver import main; main(4, 5, ['__main__'], **{})")
NEWER_FORKSERVER = (  # Python 3.14.10 and 3.15.2, with the arguments of its parent
    "python",
    "-c",
    (
        "import sys; from multiprocessing.forkserver import main; main(4, 5, ['__main__'], "
        "sys_argv=sys.argv[1:], **{'authkey_r': 7})"
    ),
    "--port=80",
)
TRACKER = ("python", "-c", "from multiprocessing.resource_tracker import main;main(4)")
GUNICORN = ("python", "gunicorn", "app:app")
SERVER, PARENT, ME = 100, 200, 300


class Written:
    """A /proc with these processes."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.proc = Proc(str(root))
        self._images: dict[int, int] = {}

    def process(
        self,
        pid: int,
        parent: int,
        argv: tuple[str, ...] = GUNICORN,
        *,
        image: int,
        forked: bool = False,
        session: int = 1,
        **environ: str,
    ):
        """`image` stands for the addresses that an exec draws; 0 where they are hidden."""
        directory = self._root / str(pid)
        (directory / "task" / str(pid)).mkdir(parents=True, exist_ok=True)
        fields = ["0"] * 52
        fields[2], fields[3], fields[5], fields[8], fields[21] = (
            "S",
            str(parent),
            str(session),
            str(FORKED * forked),
            str(pid),
        )
        fields[27], fields[47] = str(image * 1000), str(image * 1001)
        (directory / "stat").write_text(f"{pid} (a) name (x) " + " ".join(fields[2:]))
        (directory / "cmdline").write_text("".join(part + "\0" for part in argv))
        (directory / "environ").write_text("".join(f"{name}={value}\0" for name, value in environ.items()))
        (directory / "task" / str(pid) / "children").touch()
        children = self._root / str(parent) / "task" / str(parent) / "children"
        if children.exists():
            children.write_text(children.read_text() + f"{pid} ")
        return self

    def born(self, argv: tuple[str, ...] = GUNICORN, *, starting: bool = False, **environ: str) -> Origin:
        return origin_of(argv, environ, self.proc, pid=ME, starting=starting)


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path)


def test_the_resource_tracker_is_inert(written: Written) -> None:
    assert (
        "inert"
        == written.process(PARENT, 1, image=1).process(ME, PARENT, TRACKER, image=2).born(TRACKER).kind
    )


@pytest.mark.parametrize("argv", [SPAWN, FORKSERVER, NEWER_FORKSERVER])
@pytest.mark.parametrize("starting", [True, False])
def test_what_multiprocessing_executes_joins_its_parent(
    written: Written, argv: tuple[str, ...], starting: bool
) -> None:
    written.process(SERVER, 1, ("sh",), image=9).process(PARENT, SERVER, image=1).process(
        ME, PARENT, argv, image=2
    )
    assert Origin("joins", (PARENT,)) == written.born(argv, starting=starting)


def test_a_forks_line_goes_up_to_the_first_that_was_executed(written: Written) -> None:
    written.process(SERVER, 1, ("sh",), image=9).process(150, SERVER, image=1)
    written.process(PARENT, 150, image=1, forked=True).process(ME, PARENT, image=1, forked=True)
    assert Origin("forked", (PARENT, 150)) == written.born()


@pytest.mark.parametrize("argv", [FORKSERVER, NEWER_FORKSERVER])
def test_a_child_of_the_forkserver_looks_beyond_it(written: Written, argv: tuple[str, ...]) -> None:
    written.process(SERVER, 1, image=1).process(PARENT, SERVER, argv, image=2).process(
        ME, PARENT, argv, image=2, forked=True
    )
    assert Origin("joins", (PARENT, SERVER)) == written.born(argv)


def test_another_program_begins_a_service(written: Written) -> None:
    """Also one that a worker runs, with all of the worker's environment and the very same command."""
    written.process(PARENT, 1, image=1).process(ME, PARENT, image=2)
    assert Origin("new") == written.born()


def test_a_word_in_somebodys_arguments_is_not_a_lineage(written: Written) -> None:
    written.process(PARENT, 1, image=1).process(ME, PARENT, image=2)
    assert Origin("new") == written.born(
        (
            "python",
            "script.py",
            "multiprocessing.forkserver",
            "from multiprocessing.resource_tracker import main",
        )
    )
    assert Origin("new") == written.born(
        ("python", "-c", "import app; app.main(); from multiprocessing.forkserver import main")
    )


def test_a_new_master_joins_the_one_that_it_replaces(written: Written) -> None:
    written.process(PARENT, 1, image=1).process(ME, PARENT, image=2)
    assert Origin("joins", (PARENT,)) == written.born(GUNICORN_PID=str(PARENT), starting=True)


def test_what_a_new_masters_worker_runs_is_apart(written: Written) -> None:
    """The variable is still in its environment."""
    written.process(SERVER, 1, image=1).process(PARENT, SERVER, image=2).process(ME, PARENT, image=3)
    assert Origin("new") == written.born(GUNICORN_PID=str(SERVER))


def test_a_new_masters_workers_come_from_the_old_one(written: Written) -> None:
    written.process(SERVER, 1, image=1).process(PARENT, SERVER, image=2, GUNICORN_PID=str(SERVER)).process(
        ME, PARENT, image=2, forked=True
    )
    assert Origin("forked", (PARENT, SERVER)) == written.born(GUNICORN_PID=str(SERVER))


def test_a_daemon_begins_a_service(written: Written) -> None:
    """It is a fork, but its parent now is a stranger."""
    written.process(1, 0, ("init",), image=9, session=1).process(ME, 1, image=2, forked=True, session=299)
    assert Origin("new") == written.born()


def test_a_daemon_begins_a_service_also_where_init_is_hidden(written: Written) -> None:
    written.process(1, 0, ("init",), image=0, session=1).process(ME, 1, image=2, forked=True, session=299)
    assert Origin("new") == written.born()


def test_a_worker_that_gave_up_root_is_still_a_fork(written: Written) -> None:
    """Its parent's addresses are hidden from it; the session is theirs."""
    written.process(PARENT, 1, image=0, session=77).process(ME, PARENT, image=2, forked=True, session=77)
    assert "forked" == written.born().kind


def test_nothing_is_a_fork_while_the_interpreter_starts(written: Written) -> None:
    written.process(PARENT, 1, image=1).process(ME, PARENT, image=1, forked=True)
    assert Origin("new") == written.born(starting=True)


def test_a_parent_outside_the_container_is_nobody(written: Written) -> None:
    assert Origin("joins", ()) == written.process(ME, 0, SPAWN, image=2).born(SPAWN)


def test_without_proc_it_says_so(written: Written) -> None:
    assert f"{written.proc.root} does not tell how this process was started" == written.born().reason
    assert "unknown" == written.born(SPAWN).kind


def test_where_proc_hides_everything_it_says_so(written: Written) -> None:
    written.process(PARENT, 1, image=0).process(ME, PARENT, image=0)
    assert "unknown" == written.born().kind
    assert "does not tell whether this process is a fork" in written.born().reason


def test_relatives_are_forks_and_spawned_ones_not_what_they_run(written: Written) -> None:
    written.process(SERVER, 1, image=1)
    written.process(101, SERVER, image=1, forked=True).process(102, SERVER, SPAWN, image=2).process(
        103, SERVER, ("python", "script"), image=3
    )
    written.process(104, 101, image=1, forked=True).process(105, 103, image=3, forked=True).process(
        106, 102, ("ls",), image=4
    )
    assert [101, 102, 104] == list(relatives(SERVER, written.proc))


def test_lines_and_families_are_bounded(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bext_otel.service.process_tree.RELATIVES", 3)
    for pid in range(1, 31):
        written.process(pid, pid - 1, image=1, forked=pid > 1)
    written.process(ME, 30, image=1, forked=True)
    assert 16 == len(written.born().line)
    assert [2, 3, 4] == list(relatives(1, written.proc))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc here")
def test_of_this_very_process() -> None:
    """The kernel's own numbers: a fork of this one is a fork, and this one is not."""
    proc = Proc()
    me = proc.stat(os.getpid())
    assert me is not None
    assert os.getppid() == me.parent
    assert os.getsid(0) == me.session
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        birth = origin_of(("python",), {}, Proc(), pid=os.getpid())
        os.write(write, f"{birth.kind} {birth.line[0]}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as told:
        assert f"forked {os.getpid()}" == told.read()
