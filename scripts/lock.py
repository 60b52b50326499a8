"""Writes the versions and hashes of what the image of the Dockerfile installs.

requirements-image.txt holds the demo extra and all that it needs, on every Python and system;
requirements-build.txt what builds our own wheel. What is written stays as long as pyproject.toml allows it:
`--upgrade` takes the newest. `--check` changes nothing, and fails where pyproject.toml asks for other ones.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import tomli

ROOT = Path(__file__).resolve().parents[1]
UV = Path(sys.executable).with_name("uv")
IMAGE, BUILD = ROOT / "requirements-image.txt", ROOT / "requirements-build.txt"
# Neither where this ran nor where the packages came from: hashes say what they are, wherever one gets them.
OPTIONS = [
    "--universal",
    "--python-version",
    "3.10",
    "--generate-hashes",
    "--no-emit-index-url",
    "--custom-compile-command",
    "make lock",
]


def resolve(source: Path | str, output: Path, *options: str) -> None:
    """Writes `output`, which keeps the versions that it has, from a file or from text."""
    text = None if isinstance(source, Path) else source
    argument = "-" if text is not None else str(source)
    command = [UV, "--quiet", "pip", "compile", *OPTIONS, *options, "--output-file", output, argument]
    subprocess.run(command, check=True, cwd=ROOT, input=text, text=True, stdout=subprocess.DEVNULL)


def write(image: Path, build: Path, *options: str) -> None:
    """Both files."""
    resolve(ROOT / "pyproject.toml", image, "--extra", "demo", *options)
    resolve(
        "\n".join(tomli.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]),
        build,
        *options,
    )


def check() -> int:
    """1 with the names of the files that would change, else 0."""
    with tempfile.TemporaryDirectory() as folder:
        copies = [Path(folder) / path.name for path in (IMAGE, BUILD)]
        for path, copy in zip((IMAGE, BUILD), copies, strict=True):
            copy.write_text(path.read_text())
        write(*copies)
        stale = [copy.name for copy in copies if copy.read_text() != (ROOT / copy.name).read_text()]
    if stale:
        print(f"{' and '.join(stale)}: pyproject.toml asks for something else; run `make lock`")
    return 1 if stale else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(check())
    write(IMAGE, BUILD, *sys.argv[1:])
