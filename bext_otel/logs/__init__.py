"""Log records: one chain, several sinks."""

from bext_otel.logs.install import BextLoggerProvider, Installed, build_provider, install

__all__ = ["BextLoggerProvider", "Installed", "build_provider", "install"]
