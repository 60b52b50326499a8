"""A wall clock that a test turns, for whole programs."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

from tests.e2e.backends import unavailable

_SOURCE = Path(__file__).parents[1] / "faults" / "programs" / "clock.c"


class WallClock:
    """The wall clock of every program that runs with `env`; its other clocks are the system's."""

    def __init__(self, folder: Path) -> None:
        if not shutil.which("gcc"):
            unavailable("what turns the clock is written in C, and there is no gcc")
        library, self._offset = folder / "clock.so", folder / "clock.offset"
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, _SOURCE], check=True)
        self._offset.write_bytes(struct.pack("q", 0))
        self.env = {"LD_PRELOAD": str(library), "CLOCK_OFFSET_FILE": str(self._offset)}

    def turn(self, seconds: int) -> None:
        """Set it `seconds` off the system's."""
        with self._offset.open("r+b") as file:
            file.write(struct.pack("q", seconds))
