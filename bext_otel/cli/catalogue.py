"""`bext-otel catalogue`: the metric reference, written or compared."""

from __future__ import annotations

import difflib
from pathlib import Path

import click

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
def catalogue(write: Path | None, check: Path | None) -> None:
    """Print the metric reference as Markdown, derived from the catalogue."""
    page = reference()
    if check is not None:
        _compare(page, check)
    if write is not None:
        write.write_text(page, encoding="utf-8")
    elif check is None:
        click.echo(page, nl=False)


def _compare(page: str, file: Path) -> None:
    held = file.read_text(encoding="utf-8")
    if held == page:
        return
    lines = difflib.unified_diff(
        held.splitlines(), page.splitlines(), str(file), "the catalogue", lineterm="", n=1
    )
    click.echo("\n".join(lines))
    raise click.ClickException(f"{file} is out of date: run bext-otel catalogue --write {file}")
