"""The command line."""

from bext_otel.cli.main import main

__all__ = ["main"]
