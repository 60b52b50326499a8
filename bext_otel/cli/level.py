"""`bext-otel level`: log levels of a service that runs on this machine."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from functools import partial

from bext_otel.cli.words import command_parser
from bext_otel.errors import ConfigError
from bext_otel.logs.level_control import shown
from bext_otel.logs.level_orders import Order, decode, encode, order, seconds_of, with_order
from bext_otel.service.bell import ring
from bext_otel.service.board import change_orders
from bext_otel.service.family import called
from bext_otel.service.found import FoundService, services
from bext_otel.service.procfs import Proc

__all__ = ["main"]


def main(arguments: Sequence[str], program: str) -> None:
    """Show which log levels were raised in a running service, or raise one for a time.

      bext-otel level                              what was raised, and until when
      bext-otel level api debug --for 10m          of the app `api`, in every worker
      bext-otel level debug --logger shop.orders   of a logger and those below it
      bext-otel level api debug --logger shop.db   of that logger in that app's work
      bext-otel level debug                        of everything
      bext-otel level api --reset                  as it was before

    It falls back by itself, after an hour if nothing else is said. Whoever may look
    into the service's processes may type this: their user, or root, on the same
    machine or in the same container.
    """
    usage = "[-h] [APP] [LEVEL] [--logger NAME] [--for TIME] [--reset] [--service NAME | --pid PID]"
    parser = command_parser(program, usage, main)
    parser.add_argument("words", nargs="*", metavar="APP LEVEL", help="trace, debug, info, warn or error")
    parser.add_argument("--logger", default="", help="a logger by its name, and those below it")
    parser.add_argument("--for", dest="duration", default="", metavar="TIME", help="90s, 10m, 2h or 1d")
    parser.add_argument("--reset", action="store_true", help="take back what was raised")
    parser.add_argument("--service", help="the service, by its name, where several run")
    parser.add_argument("--pid", type=int, help="the service, by a process of its")
    given = parser.parse_intermixed_args(arguments)
    try:
        _do(given)
    except OSError as error:
        raise ConfigError(f"the service cannot be told: {error.strerror or error}") from error


def _do(given: argparse.Namespace) -> None:
    words: list[str] = given.words
    if len(words) > 2 or (given.reset and len(words) > 1):
        raise ConfigError("expected an app and a level, e.g. api debug --for 10m")
    service = _chosen(services(Proc()), given.service, given.pid)
    now = time.monotonic()
    if given.reset:
        app = words[0] if words else ""
        _change(service, partial(_without, app=app, logger=given.logger))
    elif words:
        app = words[0] if len(words) == 2 else ""
        new = order(words[-1], app, given.logger, now + seconds_of(given.duration))
        _change(service, partial(with_order, new=new, now=now))
    _show(service, now)


def _without(orders: tuple[Order, ...], *, app: str, logger: str) -> tuple[Order, ...]:
    return tuple(each for each in orders if (app or logger) and each.whose != (app, logger))


def _change(service: FoundService, change: partial[tuple[Order, ...]]) -> None:
    shared = service.shared
    if change_orders(shared, lambda content: encode(change(decode(content)))) is None:
        raise ConfigError("another process changes them just now: try again")
    ring(shared.secret(), service.pids)


def _chosen(found: list[FoundService], name: str | None, pid: int | None) -> FoundService:
    fitting = [
        each for each in found if (name is None or each.name == name) and (pid is None or pid in each.pids)
    ]
    if len(fitting) == 1:
        return fitting[0]
    proc = Proc()
    those = "\n".join(
        f"  {each.name or '(no name)'}  --pid {min(each.pids)}  {called(min(each.pids), proc)}"
        for each in fitting or found
    )
    if fitting:
        raise ConfigError(f"several services run here; say which, by --service or --pid:\n{those}")
    which = "such service" if found else "service of bext-otel that you may look into"
    raise ConfigError(f"no {which} runs here{f'; there are:{chr(10)}{those}' if found else ''}")


def _show(service: FoundService, now: float) -> None:
    orders = [each for each in decode(service.shared.orders()) if each.until > now]
    workers = f"{len(service.pids)} process{'es' if len(service.pids) > 1 else ''}"
    lines = [f"{service.name or '(no name)'}, {workers}"]
    for each in orders:
        told = shown(each, now)
        whose = " ".join([f"app {each.app}"] * bool(each.app) + [f"logger {each.logger}"] * bool(each.logger))
        until = f"until {told['until']} ({told['seconds_left']} s)"
        lines.append(f"  {whose or 'everything'}: {each.level} {until}")
    if not orders:
        lines.append("  levels are those of the settings")
    sys.stdout.write("\n".join(lines) + "\n")
