"""`bext-otel catalogue`: the metric reference, written or compared."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import click

from bext_otel.alerts.prometheus import rule_file
from bext_otel.alerts.rules import SHIPPED
from bext_otel.cli.reference import reference

__all__ = ["catalogue"]


@click.command()
@click.option(
    "--write",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the page to FILE instead of printing it.",
    metavar="FILE",
)
@click.option(
    "--check",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Compare with FILE: exit code 1 and the difference if it is out of date.",
    metavar="FILE",
)
@click.option(
    "--module",
    "modules",
    multiple=True,
    help="Import MODULE first, such as shop.metrics, and list what it declares; once for each.",
    metavar="MODULE",
)
@click.option(
    "--prometheus-rules",
    "as_rules",
    is_flag=True,
    help="Instead of the reference, the shipped alert rules for Prometheus.",
)
def catalogue(write: Path | None, check: Path | None, modules: tuple[str, ...], as_rules: bool) -> None:
    """Print the metric reference as Markdown, derived from the catalogue.

    Metrics of the application's own stand in it too: those of --module, and of modules that installed
    packages name by an entry point of the group bext_otel_catalogue.
    """
    _import_all(modules)
    page = rule_file(SHIPPED) if as_rules else reference()
    if check is not None:
        _compare(page, check, "catalogue --prometheus-rules" if as_rules else "catalogue")
    if write is not None:
        write.write_text(page, encoding="utf-8")
    elif check is None:
        click.echo(page, nl=False)


def _import_all(modules: Sequence[str]) -> None:
    installed = [point.value.partition(":")[0] for point in entry_points(group="bext_otel_catalogue")]
    if "" not in sys.path:
        sys.path.insert(0, "")  # what stands in the working directory, as `python -m` has it
    for name in dict.fromkeys([*installed, *modules]):
        try:
            import_module(name)
        except Exception as error:  # the application's code, which may raise anything
            raise click.ClickException(
                f"{name} cannot be imported: {type(error).__name__}: {error}"
            ) from error


def _compare(page: str, file: Path, command: str) -> None:
    held = file.read_text(encoding="utf-8")
    if held == page:
        return
    lines = difflib.unified_diff(
        held.splitlines(), page.splitlines(), str(file), "the catalogue", lineterm="", n=1
    )
    click.echo("\n".join(lines))
    raise click.ClickException(f"{file} is out of date: run bext-otel {command} --write {file}")
