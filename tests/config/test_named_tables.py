"""Tables of settings by names of the user's."""

from __future__ import annotations

from pathlib import Path

import pytest

from bext_otel.config import CheckSettings, GroupSettings, Loaded, load
from bext_otel.errors import ConfigError


def read(tmp_path: Path, text: str, **environ: str) -> Loaded:
    (tmp_path / "bext.config.toml").write_text(text, encoding="utf-8")
    return load(environ=environ, cwd=tmp_path)


def test_checks_and_groups_are_read_beside_the_other_settings(tmp_path: Path) -> None:
    loaded = read(
        tmp_path,
        """
        [health]
        timeout_seconds = 1
        [health.checks.payments]
        url = "https://payments.example/healthz"
        status = [200, 204]
        critical = true
        [health.checks.disk]
        [health.groups.balancer]
        checks = ["payments"]
        show = "always"
        status = { degraded = 503 }
        """,
    )
    assert () == loaded.warnings
    payments = CheckSettings(url="https://payments.example/healthz", status=(200, 204), critical=True)
    balancer = GroupSettings(checks=("payments",), show="always", status={"degraded": 503})
    health = loaded.config.health
    assert (1.0, {"payments": payments, "disk": CheckSettings()}) == (health.timeout_seconds, health.checks)
    assert {"balancer": balancer} == health.groups


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            '[health.checks.a]\nurl = "ftp://x"',
            (
                "[health.checks.a] url = 'ftp://x': expected an http:// or https:// URL, e.g. "
                '"https://payments.example/healthz"; treated as not set'
            ),
        ),
        (
            '[health.checks.a]\nuri = "http://x"',
            "[health.checks.a] uri: no such setting; did you mean url?",
        ),
        (
            '[health.checks.a]\nurl = "http://x"\ntcp = "x:1"',
            "[health.checks.a] tcp = 'x:1': expected one of url, tcp and command; url is set; ignored",
        ),
        (
            "[health.checks]\na = 1",
            "[health.checks.a]: expected a table, not int; ignored",
        ),
        (
            '[health.groups."a/b"]\nchecks = ["x"]',
            (
                '[health.groups."a/b"]: expected a name of letters, digits, `-`, `_`, `.` and `~`, which stands in '
                "a path; ignored"
            ),
        ),
        (
            "[health.groups.a.status]\nill = 503",
            "[health.groups.a.status] ill: no such setting; known are degraded, healthy, starting, unhealthy",
        ),
    ],
)
def test_what_is_wrong_is_one_line_that_names_it(tmp_path: Path, text: str, line: str) -> None:
    loaded = read(tmp_path, text)
    assert (line,) == loaded.warnings
    assert not any(group.checks or group.status for group in loaded.config.health.groups.values())


def test_variables_cannot_set_them(tmp_path: Path) -> None:
    line = (
        "BEXT_HEALTH_CHECKS_A_URL: checks cannot be set by variables; write [health.checks.NAME] in "
        "bext.config.toml"
    )
    assert (line,) == read(tmp_path, "", BEXT_HEALTH_CHECKS_A_URL="http://x").warnings


def test_code_says_the_same_and_is_told_by_an_exception() -> None:
    checks = {"a": CheckSettings(tcp="x:1")}
    assert checks == load({"health": {"checks": {"a": {"tcp": "x:1"}}}}, environ={}).config.health.checks
    assert checks == load({"health": {"checks": checks}}, environ={}).config.health.checks
    with pytest.raises(
        ConfigError, match=r"\[health.checks.a\] critical = 'perhaps': expected true or false"
    ):
        load({"health": {"checks": {"a": {"critical": "perhaps"}}}}, environ={})
