"""What a line costs that is appended to a file which several processes write and rotate; whether any is lost.

`python -m benchmarks.files`. CPU time of a line that is ready (220 bytes), by peers in turn in one run: our
file without rotation, by size, by time, with compression; one `write` into a file that is open, which is the
least that there can be; the standard library's `RotatingFileHandler`, which loses lines where several
processes write; and concurrent-log-handler, if it is installed. Then `--processes` of each write through
rotations, and what is there in the end is counted.

`--rate` writes 20,000 lines a second for `--seconds` to a file, to a pipe that somebody reads, and to OTLP,
at once, through the whole chain, and tells what was lost.
"""

from __future__ import annotations

import argparse
import gzip
import logging
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.interleaved import compare, contestant_loop

Write = Callable[[bytes], object]

_LINE = b'{"timestamp":"2026-03-28T15:30:42.123Z","level":"info","target":"shop","message":"%s"}\n' % (
    b"x" * 138
)
_OURS = ("ours", "ours-size", "ours-time", "ours-gzip")
_NAMES = ("write", *_OURS, "stdlib-size", "clh-size")
_MB = 1024 * 1024
_RATE = 20_000
# Whoever writes to a pipe opens it once more, so that it does not end with the stream.
_COUNTING = "import sys\nprint(sum(1 for _ in iter(sys.stdin.buffer.readline, b'end\\n')))"
_SMALL = 200_000


def _handler(kind: Any, path: Path, max_bytes: int) -> Write:
    handler: logging.Handler = kind(str(path), maxBytes=max_bytes, backupCount=1000)
    handler.setFormatter(logging.Formatter("%(message)s"))

    def write(line: bytes) -> None:
        # Who writes a line has a record.
        handler.handle(logging.LogRecord("shop", 20, "", 0, line[:-1].decode(), (), None))

    return write


def _writer(name: str, path: Path, max_bytes: int = _MB) -> Write:
    from bext_otel.logs.files import RotatingFile

    if name == "write":
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        return lambda line: os.write(fd, line)
    if name in _OURS:
        sized = name in {"ours-size", "ours-gzip"}
        return RotatingFile(
            path,
            max_bytes=max_bytes if sized else 0,
            when="hourly" if name == "ours-time" else "",
            keep=1000,
            compress=name == "ours-gzip",
        ).write
    if name == "stdlib-size":
        from logging.handlers import RotatingFileHandler

        return _handler(RotatingFileHandler, path, max_bytes)
    from concurrent_log_handler import ConcurrentRotatingFileHandler

    return _handler(ConcurrentRotatingFileHandler, path, max_bytes)


def _work(name: str) -> Callable[[int], object]:
    folder = Path(tempfile.mkdtemp(prefix="files-"))
    write = _writer(name, folder / "app.log", 64 * _MB)

    def work(times: int) -> None:
        for _ in range(times):
            write(_LINE)

    return work


def _lines_in(folder: Path) -> list[bytes]:
    found: list[bytes] = []
    for path in folder.glob("app.log*"):
        if path.suffix not in {".lock", ".tmp"}:
            found += (
                gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            ).splitlines()
    return found


def _shared(name: str, processes: int, lines: int) -> str:
    """What becomes of the lines of several processes that write one file through rotations."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "app.log"
        children = []
        for process in range(processes):
            if not (pid := os.fork()):
                try:
                    write = _writer(name, path, _SMALL)
                    for number in range(lines):
                        write(b"%d %06d %s\n" % (process, number, b"x" * 100))
                finally:
                    os._exit(0)
            children.append(pid)
        for pid in children:
            os.waitpid(pid, 0)
        found = _lines_in(Path(folder))
        whole = {line for line in found if re.fullmatch(rb"\d \d{6} x{100}", line)}
        files = len(list(Path(folder).glob("app.log*[0-9z]")))
        return (
            f"{processes * lines} lines through {files} rotations, {processes * lines - len(whole)} lost, "
            f"{sum(not re.fullmatch(rb'[0-9] [0-9]{6} x{100}', line) for line in found if line.strip())} torn"
        )


def _rated(seconds: float) -> str:
    """Lines at a rate, through the whole chain, to three sinks at once."""
    from benchmarks.lines import _Counted, _ours

    folder = Path(tempfile.mkdtemp(prefix="files-"))
    path = folder / "app.log"
    counted, there = _Counted(), sys.stdout
    reader = subprocess.Popen(
        [sys.executable, "-c", _COUNTING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert reader.stdin is not None
    sys.stdout = reader.stdin  # type: ignore[assignment]  # a text stream
    provider = _ours(
        counted=counted, output="stdout,file", file_path=str(path), rotate=True, rotate_max_files=10_000
    )
    logger, fields = logging.getLogger("shop.orders"), {"user": "u-48151623", "cart": 4711, "total": 129.95}
    begun, made, late = time.perf_counter(), 0, 0.0
    while (passed := time.perf_counter() - begun) < seconds:
        due = int(passed * _RATE) - made
        if due <= 0:
            time.sleep(0.0005)
            continue
        late = max(late, due / _RATE)
        for _ in range(min(due, 50)):
            logger.info("order placed", extra=fields)
        made += min(due, 50)
    spent = time.process_time()
    provider.force_flush()
    provider.shutdown()
    sys.stdout = there
    told = reader.communicate("end\n", timeout=60)[0]
    written = len(_lines_in(folder))
    lost = {"the file": made - written, "the pipe": made - int(told), "OTLP": made - counted.items}
    return (
        f"{made} lines in {seconds:g} s ({made / seconds:.0f} a second, at most {late * 1e3:.0f} ms behind, "
        f"{spent / made * 1e6:.1f} us of CPU each): lost of "
        + ", of ".join(f"{where} {count}" for where, count in lost.items())
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--times", type=int, default=20_000, help="lines a round")
    parser.add_argument("--only", nargs="*", choices=_NAMES, default=list(_NAMES), help="these alone")
    parser.add_argument("--processes", type=int, default=4, help="that write one file")
    parser.add_argument("--lines", type=int, default=5_000, help="of each of them; 0: none")
    parser.add_argument("--rate", action="store_true", help="20,000 lines a second, and nothing else")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--contestant", choices=_NAMES, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.contestant:
        contestant_loop(_work(given.contestant))
        return
    if given.rate:
        print(_rated(given.seconds))
        return
    names = [name for name in given.only if name != "clh-size" or _has_clh()]
    figures = compare("benchmarks.files", names, rounds=given.rounds, times=given.times)
    for name in names:
        print(
            f"{name:12} {statistics.median(figures[name]):8.2f} us of CPU (median of {given.rounds} rounds)"
        )
    if given.lines:
        for name in names:
            if name.endswith(("size", "gzip")):
                print(f"{name:12} {_shared(name, given.processes, given.lines)}")


def _has_clh() -> bool:
    try:
        import concurrent_log_handler  # noqa: F401  # whether it is there
    except ImportError:
        print("concurrent-log-handler is not installed")
        return False
    return True


if __name__ == "__main__":
    main()
