"""Whoever tells of a process, tells the same."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bext_otel.metrics.process_figures import (
    OwnFigures,
    ProcessFigures,
    ProcFigures,
    PsutilFigures,
    figures_of,
)

psutil = pytest.importorskip("psutil")
linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux has /proc")

THIS: list[object] = [
    pytest.param(lambda: ProcFigures(os.getpid()), marks=linux, id="proc"),
    pytest.param(lambda: PsutilFigures(os.getpid()), id="psutil"),
    pytest.param(OwnFigures, id="python"),
]


@pytest.mark.parametrize("make", THIS)
def test_processor_time_and_descriptors_are_what_psutil_says(make: Callable[[], ProcessFigures]) -> None:
    figures, process = make(), psutil.Process()
    times = process.cpu_times()
    assert times.user + times.system == pytest.approx(figures.cpu_seconds(), abs=0.1)
    assert process.num_fds() == figures.open_fds()
    assert figures.runs()


@pytest.mark.parametrize("make", THIS[:2])
def test_memory_and_age_are_what_psutil_says(make: Callable[[], ProcessFigures]) -> None:
    figures, process = make(), psutil.Process()
    assert process.memory_info().rss == pytest.approx(figures.memory_bytes(), rel=0.05)
    assert time.time() - process.create_time() == pytest.approx(figures.age_seconds(), abs=2)


@pytest.mark.parametrize("kind", [pytest.param(ProcFigures, marks=linux), PsutilFigures])
def test_of_another_process_they_tell_until_it_is_gone(kind: Callable[[int], ProcessFigures]) -> None:
    other = subprocess.Popen([sys.executable, "-c", "print(flush=True); input()"], stdin=-1, stdout=-1)
    try:
        assert other.stdout is not None
        other.stdout.readline()
        figures = kind(other.pid)
        assert figures.runs()
        assert figures.memory_bytes() > 2**20
        assert 3 == figures.open_fds()
        assert 0 <= figures.age_seconds() < 120
    finally:
        other.communicate(b"\n", timeout=30)
    assert not figures.runs()
    for ask in (figures.cpu_seconds, figures.memory_bytes, figures.open_fds):
        with pytest.raises(OSError):  # noqa: PT011  the system's own words
            ask()
    with pytest.raises(OSError):  # noqa: PT011  the system's own words
        kind(other.pid)


def test_where_there_is_neither_proc_nor_psutil_a_process_tells_of_itself_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert isinstance(figures_of(), OwnFigures)
    with pytest.raises(OSError, match="without psutil"):
        figures_of(os.getppid())


@linux
def test_an_id_that_was_given_to_another_process_is_not_the_same_process(tmp_path: Path) -> None:
    from bext_otel.service.procfs import Proc

    folder = tmp_path / str(os.getpid())
    folder.mkdir()
    words = Path("/proc/self/stat").read_text()
    (folder / "stat").write_text(words)
    figures = ProcFigures(os.getpid(), Proc(str(tmp_path)))
    assert figures.runs()
    before, mark, after = words.rpartition(")")
    fields = after.split()
    fields[19] = str(int(fields[19]) + 1)
    (folder / "stat").write_text(f"{before}{mark} {' '.join(fields)}")
    assert not figures.runs()
