from __future__ import annotations

import pytest

from bext_otel.errors import ConfigError
from bext_otel.logs.level_orders import MAX_ORDERS, Order, decode, encode, order, seconds_of, with_order
from bext_otel.service.file_format import LONGEST_ORDERS


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", 3600.0), ("90", 90.0), ("90s", 90.0), ("10m", 600.0), ("1.5h", 5400.0), ("2 d", 172_800.0)],
)
def test_a_time_is_read(text: str, seconds: float) -> None:
    assert seconds == seconds_of(text)


@pytest.mark.parametrize("text", ["0", "8d", "-1m", "m", "1e3", "nan", "1w", "9" * 400, "1h30m"])
def test_what_is_no_time_is_refused_with_what_would_be(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a time from 1s to 7d"):
        seconds_of(text)


def test_a_level_is_known_in_any_case_and_by_python_s_names() -> None:
    assert ["warn", "error", "debug"] == [
        order(word, "api", "", 1.0).level for word in ("WARNING", "Critical", " debug ")
    ]
    with pytest.raises(ConfigError, match="expected one of trace, debug, info, warn, error"):
        order("loud", "api", "", 1.0)


@pytest.mark.parametrize("name", ["x" * 101, "a\nb", "\x1b[31m"])
def test_a_name_that_no_app_has_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="expected a name"):
        order("debug", name, "", 1.0)


def test_a_newer_order_for_the_same_takes_the_place_of_the_older_one_and_what_is_over_goes() -> None:
    orders = (order("debug", "api", "", 10.0), order("debug", "shop", "", 1.0))
    new = order("trace", "api", "", 20.0)
    assert (new,) == with_order(orders, new, now=5.0)


@pytest.mark.parametrize(("name", "fit"), [("x", MAX_ORDERS), ("\N{SNOWMAN}" * 90, 10)])
def test_there_is_a_bound_of_orders_and_what_is_within_it_fits_on_the_board(name: str, fit: int) -> None:
    orders: tuple[Order, ...] = ()
    with pytest.raises(ConfigError, match=f"^{fit} levels hold already: take one back first"):  # noqa: PT012
        for number in range(MAX_ORDERS + 1):
            orders = with_order(orders, order("debug", f"{name}{number}", "", 1e9 / 7), now=0.0)
    assert fit == len(orders)
    assert LONGEST_ORDERS >= len(encode(orders))


def test_what_is_encoded_is_decoded_and_what_is_something_else_is_no_order() -> None:
    orders = (order("debug", "api", "shop.db", 10.0), order("trace", "", "", 1.5))
    assert orders == decode(encode(orders))
    assert ((), (), ()) == (decode(b""), decode(b'[["loud",1]]'), decode(b"\xff"))
