"""`[alerts.rules.NAME]`."""

from __future__ import annotations

from pathlib import Path

import pytest

from bext_otel.config import load
from bext_otel.errors import ConfigError


def test_rules_are_kept_by_name_with_what_is_said_of_them(tmp_path: Path) -> None:
    (tmp_path / "bext.config.toml").write_text(
        "[alerts]\ninterval_seconds = 5\n"
        '[alerts.rules.slow]\nmetric = "x"\nlimit = 3\nby = ["app"]\nmatch = { app = "shop.*" }\n'
        "[alerts.rules.error_ratio]\n"
    )
    loaded = load(environ={}, cwd=tmp_path)
    assert () == loaded.warnings
    assert 5 == loaded.config.alerts.interval_seconds
    expected = {"metric": "x", "limit": 3, "by": ("app",), "match": {"app": "shop.*"}}
    assert {"slow": expected, "error_ratio": {}} == loaded.config.alert_rules


def test_what_is_wrong_is_a_line_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "bext.config.toml").write_text(
        '[alerts.rules]\nno = 3\n[alerts.rules.slow]\nkind = "rat"\nlimt = 3\nmatch = { app = "(" }\n'
    )
    loaded = load(environ={}, cwd=tmp_path)
    for line in (
        "[alerts.rules.slow] kind = 'rat': expected one of",
        "[alerts.rules.slow] limt: no such setting; did you mean limit?",
        "[alerts.rules.slow.match] app = '(': expected a regular expression",
        "[alerts.rules.no]: expected a table",
    ):
        assert [told for told in loaded.warnings if told.startswith(line)] != [], loaded.warnings
    assert {"slow": {}} == loaded.config.alert_rules


def test_in_code_it_raises() -> None:
    with pytest.raises(ConfigError, match=r"\[alerts.rules.slow\] severity"):
        load({"alerts": {"rules": {"slow": {"severity": "loud"}}}}, environ={})
    given = {"alerts": {"enabled": True, "rules": {"slow": {"metric": "x"}}}}
    assert {"slow": {"metric": "x"}} == load(given, environ={}).config.alert_rules
