from __future__ import annotations

from pathlib import Path

import pytest

from bext_otel.config import load
from bext_otel.errors import ConfigError


def from_file(tmp_path: Path, text: str):
    (tmp_path / "bext.config.toml").write_text(text, encoding="utf-8")
    return load(environ={}, cwd=tmp_path)


def test_layers_are_read_by_name(tmp_path: Path) -> None:
    loaded = from_file(tmp_path, '[cache.layers]\n"shop.pages.*" = "isr"\nTTLCache = "fragment"\n')
    assert {"shop.pages.*": "isr", "TTLCache": "fragment"} == loaded.config.cache.layers
    assert () == loaded.warnings


def test_the_servers_own_settings_of_the_section_are_left_alone(tmp_path: Path) -> None:
    loaded = from_file(tmp_path, '[cache]\nmax_bytes = 1000\n[cache.redis]\nurl = "redis://cache"\n')
    assert ((), {}) == (loaded.warnings, loaded.config.cache.layers)
    assert () == load(environ={"BEXT_CACHE_MAX_BYTES": "1000"}, cwd=tmp_path).warnings


def test_a_layer_that_does_not_exist_is_one_line(tmp_path: Path) -> None:
    loaded = from_file(tmp_path, '[cache.layers]\n"shop:*" = "pages"\n"page:*" = "isr"\n')
    assert {"page:*": "isr"} == loaded.config.cache.layers
    (line,) = loaded.warnings
    assert '[cache.layers] "shop:*"' in line
    assert '"isr", "fragment", "layout", "tenant"' in line


def test_code_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match="expected one of"):
        load({"cache": {"layers": {"a": "pages"}}}, environ={})
    with pytest.raises(ConfigError, match="did you mean layers"):
        load({"cache": {"layer": {}}}, environ={})


def test_a_variable_holds_pairs(tmp_path: Path) -> None:
    assert {"page:*": "isr"} == load(
        environ={"BEXT_CACHE_LAYERS": "page:*=isr"}, cwd=tmp_path
    ).config.cache.layers
