"""Who speaks: the resource of every signal."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opentelemetry.sdk.resources import (
    OTELResourceDetector,
    ProcessResourceDetector,
    Resource,
    get_aggregated_resources,
)

from bext_otel.export.instance_id import random_id
from bext_otel.redaction import redact_attributes
from bext_otel.scope import VERSION

__all__ = ["DISTRO_NAME", "architecture", "build_resource", "container_id"]

DISTRO_NAME = "bext-otel"
_ID = "service.instance.id"

# A container's id is 64 hexadecimal digits, in cgroup v1's path or in the mounts of cgroup v2.
_CONTAINER_ID = re.compile(r"(?<![0-9a-f])([0-9a-f]{64})(?![0-9a-f])")


def build_resource(
    *, service_name: str = "", attributes: Mapping[str, Any] | None = None, schema_url: str = ""
) -> Resource:
    """`service.*`, `telemetry.*`, `process.*`, `host.*`, and `container.id` when inside one.

    What `OTEL_RESOURCE_ATTRIBUTES` says comes before what is detected; `service_name`, which the settings
    have weighed against the standard variables already, and `attributes` come before everything; `schema_url`
    is theirs. Secrets are redacted.
    """
    ours: dict[str, str] = {
        "telemetry.distro.name": DISTRO_NAME,
        "telemetry.distro.version": VERSION,
        "host.name": os.uname().nodename if hasattr(os, "uname") else "",
        "host.arch": architecture(platform.machine()),
    }
    if found := container_id():
        ours["container.id"] = found
    base = Resource.create({name: value for name, value in ours.items() if value})
    # SDKs before 1.43 tell neither which process a nameless service is, nor which of its instances this is.
    missing = {} if _ID in base.attributes else {_ID: random_id()}
    if base.attributes.get("service.name") == "unknown_service":
        missing["service.name"] = f"unknown_service:{Path(sys.executable or 'python').name}"
    base = base.merge(Resource(missing))
    environment = OTELResourceDetector().detect()
    detected = get_aggregated_resources([_Process()], base)
    named = {"service.name": service_name} if service_name else {}
    merged = detected.merge(environment).merge(Resource({**named, **(attributes or {})}, schema_url))
    return Resource(redact_attributes(merged.attributes), merged.schema_url)


class _Process(ProcessResourceDetector):
    """The process, without its arguments: they may hold a secret."""

    def detect(self) -> Resource:
        try:
            found = super().detect()
        except Exception:  # whose process it is, psutil asks of /proc, which is not everywhere
            found = Resource(_known_by_python())
        return Resource({name: value for name, value in found.attributes.items() if name not in _ARGUMENTS})


def _known_by_python() -> dict[str, str | int]:
    return {
        "process.pid": os.getpid(),
        "process.parent_pid": os.getppid(),
        "process.executable.name": Path(sys.executable or "").name,
        "process.executable.path": sys.executable or "",
        "process.runtime.name": sys.implementation.name,
        "process.runtime.version": platform.python_version(),
        "process.runtime.description": sys.version,
    }


_ARGUMENTS = frozenset({"process.command", "process.command_line", "process.command_args"})


# What systems call the architectures that the semantic conventions name (`host.arch`).
_ARCHITECTURES: Mapping[str, str] = {
    "x86_64": "amd64",
    "x64": "amd64",
    "aarch64": "arm64",
    "aarch64_be": "arm64",
    "arm64e": "arm64",
    "i386": "x86",
    "i486": "x86",
    "i586": "x86",
    "i686": "x86",
    "ppc": "ppc32",
    "powerpc": "ppc32",
    "powerpc64": "ppc64",
    "ppc64le": "ppc64",
}
_ARM32 = re.compile(r"arm(?!64)|armv\d")


def architecture(machine: str) -> str:
    """What the semantic conventions call the machine that the system calls `machine`; one that they do not
    know keeps its name."""
    name = machine.lower()
    return _ARCHITECTURES.get(name) or ("arm32" if _ARM32.match(name) else name)


def container_id(proc: Path = Path("/proc/self")) -> str | None:
    """The id of the container that this process runs in; None outside of one, or where the system hides
    it."""
    for name in ("cgroup", "mountinfo"):
        try:
            text = (proc / name).read_text(encoding="ascii", errors="replace")
        except OSError:
            continue
        for line in text.splitlines():
            if (
                name == "mountinfo" and "/hostname" not in line
            ):  # other mounts may carry layers' digests of the same length
                continue
            if found := _CONTAINER_ID.search(line):
                return found[1]
    return None
