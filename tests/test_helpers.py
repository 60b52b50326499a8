"""Helpers of Python's multiprocessing, behind whose backs a launcher stands too."""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path

import pytest

from bext_otel.helpers import is_helper
from tests.fresh import fresh

# What `opentelemetry-instrument` and `bext-otel run` leave to each Python that is started below.
_LAUNCHED = """
import os, sys
import opentelemetry.instrumentation.auto_instrumentation as launcher
os.environ["PYTHONPATH"] = os.pathsep.join(
    [os.path.dirname(launcher.__file__), *filter(None, [os.environ.get("PYTHONPATH")])]
)
launcher.initialize()
"""


@pytest.mark.parametrize(
    ("argv", "helps"),
    [
        (["python", "-c", "from multiprocessing.resource_tracker import main;main(4)"], True),
        (
            ["python", "-B", "-c", "import sys; from multiprocessing.resource_tracker import main;main(4)"],
            True,
        ),
        (["python", "-c", "from multiprocessing.spawn import spawn_main", "--multiprocessing-fork"], False),
        (["python", "-c", "from multiprocessing.forkserver import main; main(4, 5, [])"], False),
        (["python", "app.py", "from multiprocessing.resource_tracker import main"], False),
        (["python"], False),
        ([], False),
    ],
)
def test_the_resource_tracker_is_a_helper_and_nothing_else_is(argv: list[str], helps: bool) -> None:
    assert helps == is_helper(argv)


def test_a_launched_helper_imports_nothing_that_sets_telemetry_up(tmp_path: Path) -> None:
    shown, _ = fresh(
        f"""{_LAUNCHED}
import json, subprocess
line = "from multiprocessing.resource_tracker import main; import json, sys; print(json.dumps(sorted(sys.modules)))"
there = json.loads(subprocess.check_output([sys.executable, "-c", line]))
show([name for name in there if name.startswith(("bext_otel", "opentelemetry.sdk", "msgspec", "structlog"))])
""",
        tmp_path,
        OTEL_PYTHON_DISTRO="bext",
        OTEL_PYTHON_CONFIGURATOR="bext",
    )
    assert [
        "bext_otel",
        "bext_otel.api_environment",
        "bext_otel.distribution",
        "bext_otel.distro",
        "bext_otel.helpers",
    ] == shown


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks into /proc")
@pytest.mark.skipif("spawn" not in multiprocessing.get_all_start_methods(), reason="no spawn")
def test_the_tracker_that_python_starts_has_none_of_it_and_the_program_all(tmp_path: Path) -> None:
    """By the compiled modules that each has in its memory."""
    (tmp_path / "program.py").write_text(
        """
import json
from multiprocessing import resource_tracker

if __name__ == "__main__":
    resource_tracker.ensure_running()
    tracker = resource_tracker._resource_tracker
    # It has begun its work when it answers.
    resource_tracker.register("/nothing", "semaphore"); resource_tracker.unregister("/nothing", "semaphore")
    import os, time
    while b"resource_tracker" not in open(f"/proc/{tracker._pid}/cmdline", "rb").read():
        time.sleep(0.01)
    while "_multiprocessing" not in open(f"/proc/{tracker._pid}/maps").read():
        time.sleep(0.01)
    print(json.dumps(["msgspec" in open(f"/proc/{pid}/maps").read() for pid in (os.getpid(), tracker._pid)]))
""",
        encoding="utf-8",
    )
    shown, _ = fresh(
        f"""{_LAUNCHED}
import json, subprocess
show(json.loads(subprocess.check_output([sys.executable, "program.py"], timeout=50)))
""",
        tmp_path,
        OTEL_PYTHON_DISTRO="bext",
        OTEL_PYTHON_CONFIGURATOR="bext",
        BEXT_LOGGING_OUTPUT="none",
    )
    assert [True, False] == shown, sys.version
