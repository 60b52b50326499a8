"""The WASM plugin and its fuel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bext_demo.plugins import OutOfFuelError, Plugin, PluginError


def fnv1a(data: bytes) -> int:
    """The reference: offset basis 2166136261, prime 16777619, modulo 2**32."""
    value = 2166136261
    for byte in data:
        value = (value ^ byte) * 16777619 % 2**32
    return value


@pytest.fixture(scope="module")
def plugin() -> Iterator[Plugin]:
    made = Plugin(fuel={"on_request": 20_000, "on_response": 3_000_000})
    made.start()
    yield made
    made.close()


@given(st.binary(max_size=2000))
def test_on_response_is_fnv1a_of_the_page(plugin: Plugin, data: bytes) -> None:
    assert fnv1a(data) == plugin.call("on_response", data)


@given(st.binary(max_size=1000))
def test_on_request_is_a_variant_that_stays_the_same(plugin: Plugin, data: bytes) -> None:
    assert fnv1a(data) % 2 == plugin.call("on_request", data)


def test_a_call_that_burns_all_its_fuel_is_stopped_and_the_next_one_works(plugin: Plugin) -> None:
    with pytest.raises(OutOfFuelError, match="20000 units"):
        plugin.call("on_request", b"x" * 10_000)
    assert fnv1a(b"x") % 2 == plugin.call("on_request", b"x")


def test_the_whole_memory_may_be_used_and_not_a_byte_more(plugin: Plugin) -> None:
    data = bytes(range(256)) * 512
    assert fnv1a(data) == plugin.call("on_response", data)
    with pytest.raises(PluginError, match="131073 bytes"):
        plugin.call("on_response", data + b"x")
