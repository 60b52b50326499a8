"""Builds what the index is given, in dist/, and checks it as the index and its readers would.

Twice, from two copies of what git has, at two times: wheel and sdist must be equal bit for bit. Then
`validate-pyproject` (fields, classifiers that exist), `twine check --strict` (the page that the README
makes), `check-wheel-contents` and `check-sdist` (the sdist has all that git has). Ends with 1 where one of
them finds something.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
PROGRAMS = Path(sys.executable).parent
# So that no file's own time counts; any will do, after 1980, where a wheel's times begin.
EPOCH = "1700000000"


def copy(folder: Path) -> Path:
    """What git has of this checkout, changes that are not committed included, with other times than here."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    for name in filter(None, os.fsdecode(listed).split("\0")):
        source, target = ROOT / name, folder / name
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            shutil.copymode(source, target)
    return folder


def build(source: Path, into: Path) -> dict[str, str]:
    """The hash of each file that is built, by its name: the sdist, and the wheel that is made of it."""
    command = [PROGRAMS / "uv", "--quiet", "build", "--python", sys.executable, "--out-dir", into, source]
    subprocess.run(command, check=True, env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH})
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(into.iterdir())
        if path.suffix in (".whl", ".gz")
    }


def checks(built: list[Path]) -> dict[str, list[Path | str]]:
    """The commands that look at what was built, by what they are called."""
    wheels = [path for path in built if path.suffix == ".whl"]
    return {
        "validate-pyproject": [PROGRAMS / "validate-pyproject", ROOT / "pyproject.toml"],
        "twine check --strict": [PROGRAMS / "twine", "check", "--strict", *built],
        "check-wheel-contents": [PROGRAMS / "check-wheel-contents", *wheels],
        "check-sdist": [PROGRAMS / "check-sdist", "--installer", "uv"],
    }


def main() -> int:
    """0, or 1 with what each check said."""
    with tempfile.TemporaryDirectory(prefix="bext-package-") as folder:
        first, second = Path(folder) / "first", Path(folder) / "second"
        hashes = [build(copy(place / "source"), place / "dist") for place in (first, second)]
        if hashes[0] != hashes[1] or len(hashes[0]) != 2:
            print(f"package: two builds of the same source differ: {hashes}")
            return 1
        DIST.mkdir(exist_ok=True)
        built = [Path(shutil.copy2(first / "dist" / name, DIST / name)) for name in hashes[0]]
    failed = False
    for name, command in checks(built).items():
        answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if answer.returncode:
            failed = True
            print(f"package: {name}:\n{answer.stdout}{answer.stderr}")
    for name, digest in hashes[0].items():
        print(f"dist/{name}  sha256:{digest}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
