"""Who is trusted with a trace: words, networks of both families, and what has no address."""

from __future__ import annotations

import pytest

from bext_otel.config import AppSettings, load
from bext_otel.errors import ConfigError
from bext_otel.trust import trusted_parents

OWN = ("10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1")


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3",
        "192.0.2.7",
        "2001:db8::9",
        "::1",
        "::ffff:10.1.2.3",
        "::FFFF:192.0.2.7",
        "2001:db8::9%eth0",
    ],
)
def test_a_caller_in_one_of_the_networks_is_trusted(address: str) -> None:
    trusts = trusted_parents(OWN, {})
    assert trusts is not None
    assert trusts("shop", address)


@pytest.mark.parametrize(
    "address",
    ["11.0.0.1", "192.0.2.8", "2001:db9::1", "::2", "::ffff:11.0.0.1", "127.0.0.1", "", "/run/shop.sock",
     "unix:", "testclient", "10.1.2.3, 11.0.0.1", "10.1.2.3:80", "0x0a010203", "167838211"],
)  # fmt: skip
def test_any_other_is_not_nor_one_without_an_address(address: str) -> None:
    trusts = trusted_parents(OWN, {})
    assert trusts is not None
    assert not trusts("shop", address)


def test_all_needs_no_asking_and_none_trusts_nobody() -> None:
    assert trusted_parents(("all",), {}) is None
    assert trusted_parents(("all", "10.0.0.0/8"), {}) is None
    trusts = trusted_parents(("none",), {})
    assert trusts is not None
    assert not any(trusts("shop", address) for address in ("127.0.0.1", "::1", ""))


def test_an_app_has_its_own_or_what_holds_for_all() -> None:
    apps = {
        "web": AppSettings(trust_parent=("none",)),
        "api": AppSettings(trust_parent=("10.0.0.0/8",)),
        "back": AppSettings(),
    }
    trusts = trusted_parents(("all",), apps)
    assert trusts is not None
    said = [trusts(app, "10.0.0.1") for app in ("web", "api", "back", "unknown")]
    assert [False, True, True, True] == said
    assert not trusts("api", "192.0.2.1")
    trusts = trusted_parents(("none",), {"back": AppSettings(trust_parent=("all",))})
    assert trusts is not None
    assert [True, False] == [trusts("back", ""), trusts("web", "10.0.0.1")]


def chosen(text: str, **environ: str) -> tuple[tuple[str, ...], int]:
    """What `trust_parent` is, and how many lines tell of it."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "bext.config.toml").write_text(text)
        loaded = load(environ=environ, cwd=Path(folder))
    return loaded.config.telemetry.trust_parent, len(loaded.warnings)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('"all"', ("all",)),
        ('"none"', ("none",)),
        ('"10.0.0.0/8"', ("10.0.0.0/8",)),
        ('["10.0.0.0/8", "::1"]', ("10.0.0.0/8", "::1")),
        ("[]", ("none",)),
    ],
)
def test_it_is_a_word_or_a_list(written: str, read: tuple[str, ...]) -> None:
    assert (read, 0) == chosen(f"[telemetry]\ntrust_parent = {written}")


def test_the_variable_separates_networks_by_commas() -> None:
    assert (("none",), 0) == chosen("", BEXT_TELEMETRY_TRUST_PARENT="none")
    assert (("10.0.0.0/8", "::1"), 0) == chosen("", BEXT_TELEMETRY_TRUST_PARENT="10.0.0.0/8, ::1")


@pytest.mark.parametrize(
    "written", ["5", '"nobody"', '["10.0.0.0/33"]', '["shop.example"]', '[""]', '""', "true", "[1]"]
)
def test_what_is_wrong_trusts_nobody(written: str) -> None:
    trusted, lines = chosen(f"[telemetry]\ntrust_parent = {written}")
    assert ("none",) == trusted
    assert lines == (0 if written == '""' else 1)


def test_a_wrong_network_beside_a_right_one_is_left_out() -> None:
    assert (("10.0.0.0/8",), 1) == chosen('[telemetry]\ntrust_parent = ["10.0.0.0/8", "fe80::/200"]')
    with pytest.raises(ConfigError, match="trust_parent"):
        load({"telemetry": {"trust_parent": ["10.0.0.0/33"]}}, environ={})


def test_a_wrong_one_of_an_app_does_not_become_that_of_all() -> None:
    loaded = load({"apps": {"web": {"trust_parent": "none"}}}, environ={})
    assert ("none",) == loaded.config.apps["web"].trust_parent
    assert () == load({"apps": {"web": {}}}, environ={}).config.apps["web"].trust_parent
