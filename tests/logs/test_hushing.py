"""What one piece of code prints is left out, what others print at the same time is not."""

from __future__ import annotations

import io
import os
import sys
import threading

import pytest

from bext_otel.logs.hushing import hushed


def test_what_the_body_prints_goes_nowhere_and_the_streams_are_as_before(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = sys.stdout, sys.stderr
    with hushed():
        print("no")
        sys.stderr.writelines(["no\n"])
        assert 3 == sys.stdout.write("no\n")
        assert before[0].encoding == sys.stdout.encoding
    print("yes")
    assert before == (sys.stdout, sys.stderr)
    assert ("yes\n", "") == tuple(capsys.readouterr())


def test_others_print_meanwhile_and_two_bodies_at_once_leave_nothing_behind(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = sys.stdout
    inside, leave = threading.Barrier(3), threading.Event()

    def body() -> None:
        with hushed():
            inside.wait(10)
            leave.wait(10)
            print("no")

    threads = [threading.Thread(target=body) for _ in range(2)]
    for thread in threads:
        thread.start()
    inside.wait(10)
    print("yes")
    leave.set()
    for thread in threads:
        thread.join()
    assert before is sys.stdout
    assert "yes\n" == capsys.readouterr().out


def test_who_replaces_a_stream_in_the_body_keeps_theirs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    theirs = io.StringIO()
    with hushed():
        sys.stdout = theirs
    assert theirs is sys.stdout


def test_what_the_body_raises_gets_out_and_nothing_stays() -> None:
    before = sys.stdout
    with pytest.raises(KeyError), hushed():
        raise KeyError
    assert before is sys.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_that_is_forked_meanwhile_prints() -> None:
    before = sys.stdout
    inside, leave = threading.Event(), threading.Event()

    def body() -> None:
        with hushed():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=body)
    thread.start()
    inside.wait(10)
    child = os.fork()
    if not child:
        os._exit(0 if before is sys.stdout else 1)
    leave.set()
    thread.join()
    assert 0 == os.waitpid(child, 0)[1]
