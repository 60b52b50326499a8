"""Programs in processes of their own, with our logging installed first, as `sitecustomize` would."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from typing import Any

__all__ = ["Ran"]

SETUP = """
import logging, logging.config, sys
from bext_otel import serving
from bext_otel.config import AppSettings, LoggingSettings
from bext_otel.logs.install import build_provider, install
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
from opentelemetry.sdk.resources import Resource
if {serves}:
    serving.begin()
exporter = InMemoryLogRecordExporter()
config = LoggingSettings(**{settings!r})
provider = build_provider(config, Resource({resource!r}), exporter if {export!r} else None)
installed = install(
    config, provider, apps={{name: AppSettings(log_level=level) for name, level in {apps!r}.items()}}
)
log = logging.getLogger("shop")
"""
TEARDOWN = """
provider.force_flush()
sys.stderr.write("exported: %s\\n" % [record.log_record.body for record in exporter.get_finished_logs()])
"""


class Ran:
    """A program that ran with these `[logging]` settings, at info unless they say otherwise, and serves unless it
    is said not to: what it printed, and what was exported."""

    def __init__(
        self,
        script: str,
        *,
        export: bool = True,
        service: str = "",
        serves: bool = True,
        apps: dict[str, str] | None = None,
        **settings: Any,
    ) -> None:
        whole = (
            SETUP.format(
                settings={"level": "info", **settings},
                export=export,
                serves=serves,
                apps=apps or {},
                resource={"service.name": service} if service else {},
            )
            + script
            + TEARDOWN
        )
        done = subprocess.run(
            [sys.executable, "-c", whole], capture_output=True, text=True, timeout=60, check=False
        )
        assert 0 == done.returncode, done.stderr
        assert "Logging error" not in done.stderr
        *self.err, exported = done.stderr.splitlines()
        self.exported: list[str] = ast.literal_eval(exported.removeprefix("exported: "))
        self.out = done.stdout.splitlines()

    @property
    def messages(self) -> list[str]:
        return [json.loads(line)["message"] for line in self.out]
