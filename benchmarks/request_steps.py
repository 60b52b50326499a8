"""How many steps the interpreter takes for a request (bytecodes), ours by function: what noise of a machine
does not touch, so that a change of a few steps is seen at once.

`python -m benchmarks.request_steps`. Steps of one version of Python compare with each other only; what a
step of C takes, a call into the system for one, is not in them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from types import FrameType
from typing import Any

from benchmarks import requests

_WARM, _COUNTED, _SHOWN = 300, 50, 40
_OURS = ("bext_otel", "opentelemetry")


def steps(work: requests.Work) -> Counter[tuple[str, str]]:
    """Steps of so many requests, by module and function."""
    found: Counter[tuple[str, str]] = Counter()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        if event == "opcode":
            found[str(frame.f_globals.get("__name__", "")), frame.f_code.co_name] += 1
        return trace

    work(_WARM)
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work(_COUNTED)
    finally:
        sys.settrace(before)
    return found


def main() -> None:
    """Count and print, and leave without waiting for what the side has started."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contestant", nargs="?", default="asgi bext", help="as of `benchmarks.requests`")
    found = steps(requests.contestant(parser.parse_args().contestant))
    ours = {where: count for where, count in found.items() if where[0].startswith(_OURS)}
    print(f"{sum(found.values()) / _COUNTED:8.1f} steps a request, {sum(ours.values()) / _COUNTED:.1f} ours")
    for (module, function), count in Counter(ours).most_common(_SHOWN):
        print(f"{count / _COUNTED:8.1f} {module} {function}")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
