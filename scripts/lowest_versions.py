"""Part of the test suite with the lowest versions that pyproject.toml and the instrumentors say they support.

`scripts/lowest_versions.py [PYTEST...]` makes an environment in a temporary folder, runs in it the tests that
say most about other people's versions (or those that PYTEST... names), and removes it. Ends with what pytest
ended with.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import tomli
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
UV = Path(sys.executable).with_name("uv")
# What imports, reads settings, declares metrics and meets the web frameworks' insides, in about two minutes;
# servers and backends are for the whole suite.
TESTS = [
    "tests/test_distro.py",
    "tests/test_compat.py",
    "tests/test_catalogue.py",
    "tests/config",
    "tests/instrumentors/http",
    "tests/instrumentors/compression",
    "tests/instrumentors/_kit",
]


def lowest(requirement: Requirement) -> Version | None:
    """The version that `>=` of a requirement names; None where it has none."""
    bounds = [Version(each.version) for each in requirement.specifier if each.operator in (">=", "==")]
    return max(bounds, default=None)


def installed_by_extras() -> dict[str, Version]:
    """The lowest version of each library that an extra installs."""
    extras = tomli.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    found = {}
    for requirement in (Requirement(each) for group in extras.values() for each in group):
        if (version := lowest(requirement)) is not None:
            found[canonicalize_name(requirement.name)] = version
    return found


def instrumented() -> list[Requirement]:
    """What the instrumentors say that they work with."""
    texts = (path.read_text() for path in sorted((ROOT / "instrumentors").rglob("*.py")))
    return [
        Requirement(each)
        for text in texts
        for line in re.findall(r"^    requires = \((.*)\)$", text, re.MULTILINE)
        for each in re.findall(r'"([^"]+)"', line)
    ]


def overrides() -> list[str]:
    """Where an extra asks for more than its instrumentor, as it does past an advisory: applications have what
    they have, and are to be measured too."""
    extras = installed_by_extras()
    found = []
    for requirement in instrumented():
        version, extra = lowest(requirement), extras.get(canonicalize_name(requirement.name))
        if version is not None and extra is not None and version < extra:
            found.append(f"{requirement.name}=={version}")
    return sorted(set(found))


def make(folder: Path) -> Path:
    """The interpreter of an environment with the lowest versions."""
    override, pins, venv = folder / "overrides.txt", folder / "lowest.txt", folder / "venv"
    override.write_text("\n".join(overrides()))
    python = venv / "bin" / "python"
    resolution = [
        "--resolution",
        "lowest-direct",
        "--extra",
        "test",
        "--override",
        override,
        "--output-file",
        pins,
    ]
    for arguments in (
        ["venv", "--python", sys.executable, venv],
        ["pip", "compile", "--python", sys.executable, *resolution, ROOT / "pyproject.toml"],
        ["pip", "install", "--python", python, "--requirement", pins],
        ["pip", "install", "--python", python, "--no-deps", "--editable", ROOT],
    ):
        subprocess.run([UV, "--quiet", *arguments], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return python


def main(arguments: list[str]) -> int:
    """Makes the environment and runs the tests in it; their exit code."""
    with tempfile.TemporaryDirectory(prefix="bext-lowest-") as folder:
        python = make(Path(folder))
        selection = arguments or ["-m", "not e2e and not backends", *TESTS]
        return subprocess.run([python, "-m", "pytest", "-q", *selection], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
