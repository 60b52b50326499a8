"""Where the demo platform is: with the source. The package has none of it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["examples_folder", "places"]


def places(given: Path | None = None) -> list[Path]:
    """Where it is looked for: `given`, or the working directory's `examples` and that of the source."""
    return [given] if given else [Path.cwd() / "examples", Path(__file__).resolve().parents[2] / "examples"]


def examples_folder(given: Path | None = None) -> Path | None:
    """The folder that holds the demo; None where there is none."""
    return next(
        (place.resolve() for place in places(given) if (place / "bext_demo" / "asgi.py").is_file()), None
    )
