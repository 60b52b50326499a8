"""`bext-otel`: the commands, gathered.

What starts or measures other programs stands on the standard library alone; the others are for people who
look, and come with the extra `tools`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

from bext_otel.cli.examples import examples_folder
from bext_otel.distribution import VERSION
from bext_otel.errors import BextOtelError

__all__ = ["main"]

_PROGRAM = "bext-otel"


@dataclass(frozen=True)
class _Command:
    """Each is a module of its name, with `main(arguments, program)` in it, or with a command of click's by
    its name; it is imported when it is asked for: what `run` starts must not wait for the viewer."""

    told: str
    needs: tuple[str, ...] = ()

    def run(self, name: str, arguments: Sequence[str]) -> None:
        program = f"{_PROGRAM} {name}"
        try:
            module = import_module(f"bext_otel.cli.{name}")
        except ModuleNotFoundError as error:
            if error.name not in self.needs:
                raise
            raise SystemExit(
                f"{program} needs {error.name}, which is not installed: pip install 'bext-otel[tools]'"
            ) from None
        if not self.needs:
            module.main(arguments, program)
        else:
            getattr(module, name).main(list(arguments), prog_name=program, help_option_names=["-h", "--help"])


_COMMANDS: Mapping[str, _Command] = {
    "run": _Command("Run a command with telemetry, as opentelemetry-instrument does."),
    "health": _Command("Ask a running service how it is, for probes: the exit code says it."),
    "level": _Command("Show a running service's log levels, or raise one for a time."),
    "alerts": _Command("List the alert rules, or try one on recorded pages of /metrics."),
    "deploy": _Command("Run a command, and tell how the deploy went."),
    "view": _Command("Receive OTLP on this machine, and show it on a page.", ("click",)),
    "demo": _Command(
        "See everything at once: a small platform, its traffic, its telemetry.", ("click", "rich")
    ),
    "catalogue": _Command("Print the metric reference as Markdown.", ("click",)),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that `arguments` name, by default those of this process.

    Raises SystemExit, but for what went wrong by our own fault.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and (command := _COMMANDS.get(given[0])) is not None:
        try:
            command.run(given[0], given[1:])
        except BextOtelError as error:  # what went wrong on purpose is one line, without a traceback
            print(f"Error: {error}", file=sys.stderr)  # noqa: T201
            raise SystemExit(1) from error
        return
    parser = _parser()
    parser.parse_args(given)
    parser.print_help()
    raise SystemExit(0 if not given else 2)


def _parser() -> argparse.ArgumentParser:
    """Says what there is; the commands read their own words."""
    # The demo comes with the source: an installed package has none to offer.
    offered = {name: command for name, command in _COMMANDS.items() if name != "demo" or examples_folder()}
    width = max(map(len, offered))
    commands = "\n".join(f"  {name:{width}}  {command.told}" for name, command in offered.items())
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        usage="%(prog)s [-h] [--version] COMMAND ...",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="OpenTelemetry for the bext platform.\n\n"
        "`bext-otel run COMMAND` starts an application with telemetry. The others are for people who look.",
        epilog=f"commands:\n{commands}\n\n`bext-otel COMMAND --help` says more.",
    )
    parser.add_argument("--version", action="version", version=f"{_PROGRAM} {VERSION}")
    parser.add_argument("command", nargs="?", choices=_COMMANDS, help=argparse.SUPPRESS)
    return parser
