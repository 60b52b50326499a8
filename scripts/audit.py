"""Known vulnerabilities of what the image of the Dockerfile holds, by pip-audit.

Ends with 1 where it finds some. Where its database does not answer, or knows none of the packages, one line
says that nothing was looked up, and it ends with 0: a change does not wait for somebody else's server.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements-image.txt"


def report(output: str) -> list[dict[str, Any]] | None:
    """The packages of pip-audit's answer; None where it gave none."""
    try:
        return list(json.loads(output)["dependencies"])
    except (ValueError, KeyError):
        return None


def finding(package: dict[str, Any], found: dict[str, Any]) -> str:
    """What is wrong with a package, and where it is not."""
    fixed = ", ".join(found["fix_versions"]) or "no version"
    return f"{package['name']} {package['version']}: {found['id']}, fixed in {fixed}"


def main(program: str) -> int:
    """Asks `program` about the lock file; the exit code."""
    command = [
        program,
        "--requirement",
        str(LOCK),
        "--require-hashes",
        "--disable-pip",
        "--format",
        "json",
        "--progress-spinner",
        "off",
    ]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    packages = report(answer.stdout)
    if packages is None:
        why = (answer.stderr.strip().splitlines() or ["no answer"])[-1]
        print(f"audit: skipped, nothing was looked up: {why}")
        return 0
    # pip-audit calls it no finding when it is told of no package at all.
    audited = [each for each in packages if "skip_reason" not in each]
    if not audited:
        print(f"audit: skipped, nothing was looked up: the database knows none of {len(packages)} packages")
        return 0
    findings = [finding(package, found) for package in audited for found in package["vulns"]]
    print(
        "\n".join(
            [
                *findings,
                f"audit: {len(findings)} known vulnerabilities in {len(audited)} of {len(packages)} packages",
            ]
        )
    )
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else str(Path(sys.executable).with_name("pip-audit"))))
