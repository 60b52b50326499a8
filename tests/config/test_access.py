"""Settings of the access log that are those of other files where nobody says otherwise."""

from __future__ import annotations

from pathlib import Path

from bext_otel.config import AccessSettings
from bext_otel.config.loading import load


def access(folder: Path, text: str, **environ: str) -> AccessSettings:
    (folder / "bext.config.toml").write_text(text, encoding="utf-8")
    loaded = load(environ=environ, cwd=folder)
    assert () == tuple(loaded.warnings)
    return loaded.config.access


def test_an_access_log_is_rotated_as_other_files_are_or_in_its_own_way(tmp_path: Path) -> None:
    text = '[logging]\nrotate_when = "hourly"\nrotate_max_files = 7\n'
    found = access(tmp_path, text)
    assert ("hourly", 7, False) == (found.rotate_when, found.rotate_max_files, found.rotate_compress)
    own = '[logging.access]\nrotate_when = "midnight"\nrotate_compress = true\n'
    found = access(tmp_path, text + own, BEXT_LOGGING_ACCESS_ROTATE_MAX_DAYS="14")
    assert ("midnight", 7, True, 14) == (
        found.rotate_when,
        found.rotate_max_files,
        found.rotate_compress,
        found.rotate_max_days,
    )
