"""Writes dist/bext-otel.cdx.json, a CycloneDX bill of materials of what the Dockerfile adds to its base.

Fails where it does not list every package of requirements-image.txt.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK, SBOM = ROOT / "requirements-image.txt", ROOT / "dist" / "bext-otel.cdx.json"


def locked() -> set[tuple[str, str]]:
    """(name, version) of every package of the lock file; one may stand there twice, for older Pythons."""
    return set(re.findall(r"^([a-z0-9-]+)==([^ ]+)", LOCK.read_text(), re.MULTILINE))


def listed(sbom: Path) -> set[tuple[str, str]]:
    """(name, version) of every component of a bill."""
    return {(each["name"].lower(), each["version"]) for each in json.loads(sbom.read_text())["components"]}


def main() -> int:
    """0, or 1 with what is missing."""
    SBOM.parent.mkdir(exist_ok=True)
    program = Path(sys.executable).with_name("cyclonedx-py")
    # It warns that a lock file does not tell who asked for what.
    command = [
        sys.executable,
        "-W",
        "ignore",
        program,
        "requirements",
        "--pyproject",
        ROOT / "pyproject.toml",
    ]
    # The same bytes whenever it is made, and checked against CycloneDX's own schema.
    command += ["--output-reproducible", "--validate", "--output-format", "JSON", "--output-file", SBOM, LOCK]
    subprocess.run(command, check=True)
    missing = sorted(locked() - listed(SBOM))
    if missing or not locked():
        print(f"{SBOM.relative_to(ROOT)} lacks {missing or 'everything'}")
        return 1
    print(f"{SBOM.relative_to(ROOT)}: {len(listed(SBOM))} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
