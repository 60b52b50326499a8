from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from bext_otel.cli.child import Child
from tests.waiting import until


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Child]:
    def begin(code: str, **more: object) -> Child:
        return Child(
            [sys.executable, "-u", "-c", code], env=os.environ, cwd=tmp_path, log=tmp_path / "log", **more
        )  # type: ignore[arg-type]

    return begin


def test_what_it_prints_is_kept(start: Callable[..., Child]) -> None:
    with start(
        "import sys\nfor i in range(100): print('line', i)\nprint('oops', file=sys.stderr)\nsys.exit(3)"
    ) as child:
        assert child.wait(30)
        assert "line 98\nline 99\noops" == child.tail(3)
        assert 3 == child.returncode


def test_bytes_that_are_no_text_are_kept_too(start: Callable[..., Child]) -> None:
    with start(r"import sys; sys.stdout.buffer.write(b'\xff\n')") as child:
        assert child.wait(30)
        assert "\N{REPLACEMENT CHARACTER}" == child.tail()


def test_each_line_is_shown_as_it_comes(start: Callable[..., Child]) -> None:
    heard: list[str] = []
    with start("print('one'); print('two'); import time; time.sleep(60)", echo=heard.append) as child:
        until(lambda: heard == ["one", "two"])
        assert child.returncode is None


def test_it_is_gone_at_the_end(start: Callable[..., Child]) -> None:
    with start("print('up'); import time; time.sleep(60)") as child:
        until(child.tail)
    assert -signal.SIGTERM == child.returncode
    assert not psutil.pid_exists(child.pid)


def test_one_that_does_not_listen_is_killed(start: Callable[..., Child]) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); time.sleep(60)"
    with start(deaf, seconds=0.2) as child:
        until(child.tail)
    assert -signal.SIGKILL == child.returncode


def test_it_is_gone_when_the_body_fails(start: Callable[..., Child]) -> None:
    with pytest.raises(RuntimeError), start("import time; time.sleep(60)") as child:
        raise RuntimeError
    assert child.returncode is not None
