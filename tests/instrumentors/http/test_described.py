"""What spans of requests begin with: what is remembered of one is no other's."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bext_otel.described import merged
from bext_otel_instrumentors.http import described

hosts = st.sampled_from(["", "shop.example", "shop.example:8000", "[::1]:80", "no host", "u:p@shop.example"])
ports = st.sampled_from([None, 0, 1, 80, 51234, "80", "51234", "x"])
clients = st.one_of(st.none(), st.tuples(st.sampled_from(["127.0.0.1", "::1", "", "x" * 600]), ports))
lines = st.tuples(
    st.sampled_from(["GET", "POST", "PURGE"]),
    st.sampled_from(["http", "https", "ws"]),
    st.sampled_from(["/", "/chair"]),
    st.sampled_from(["", "a=1", "token=secret"]),
    st.sampled_from(["", "1.1", "2"]),
    hosts,
    clients,
    clients,
    st.sampled_from(["", "Firefox", "y" * 600]),
)


def shown(line: Any) -> dict[str, Any]:
    known = line[0] if line[0] != "PURGE" else "_OTHER"
    return merged(described.describe(line, known, line[1], line[2], "shop", None))


@given(st.lists(lines, max_size=8))
def test_a_request_is_described_as_if_it_were_the_only_one(requests: list[Any]) -> None:
    together = [shown(line) for line in requests]
    alone = []
    for line in requests:
        described._shared.clear()
        alone.append(shown(line))
    assert alone == together
    assert [list(map(type, each.values())) for each in alone] == [
        list(map(type, each.values())) for each in together
    ]


def test_a_client_may_be_a_list() -> None:
    """As ASGI allows, and servers have it."""
    line = ("GET", "http", "/", "", "1.1", "shop.example", None, ["127.0.0.1", 51234], "")
    assert ("127.0.0.1", 51234) == (shown(line)["client.address"], shown(line)["client.port"])


def test_clients_that_name_anything_do_not_fill_the_memory() -> None:
    for number in range(3000):
        shown(("GET", "http", "/", "", "1.1", f"h{number}.example", None, None, f"agent {number}"))
    assert len(described._shared) <= 1000
    assert (
        "h1.example" == shown(("GET", "http", "/", "", "1.1", "h1.example", None, None, ""))["server.address"]
    )
