"""What proxies that are trusted say of a request: `Forwarded` (RFC 7239), else `X-Forwarded-*`.

A proxy adds to the end what it knows of whom it was asked by, so whatever stands right of the first address
that is not trusted was written by somebody who is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import TypeAlias

__all__ = ["Told", "told_by_proxies"]

Told: TypeAlias = "tuple[str, str, tuple[str, int | None] | None]"
"""Scheme and host that the client used, and its own address; "" and None where nobody says so."""

_NOTHING: Told = ("", "", None)
_SCHEMES = frozenset({"http", "https"})
_MAX_TEXT, _MAX_HOPS = 4096, 32

_PAIR = re.compile(r"""\s*([\w!#$%&'*+.^`|~-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s",;=]*))\s*""", re.ASCII)
_NODE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::([0-9]{1,5}))?", re.ASCII)


def told_by_proxies(
    headers: Mapping[str, Sequence[str]], address: str, trusts: Callable[[str], bool]
) -> Told:
    """What `headers` (by lower-case names) say of a request whose connection comes from `address` ("": not
    known), as far as `trusts` says by an address that it is a proxy's whose word counts. Never raises."""
    if not trusts(address):
        return _NOTHING
    if "forwarded" in headers:
        said = list(_elements(_joined(headers, "forwarded")))[-_MAX_HOPS:]
        position, client = _first_stranger([each.get("for", "") for each in said], trusts)
        # Of the one who saw the client, or of the next towards us that knows.
        scheme, host = (
            next((each[name] for each in said[max(position, 0) :] if each.get(name)), "")
            for name in ("proto", "host")
        )
    else:
        nodes = [each.strip() for each in _joined(headers, "x-forwarded-for").split(",")][-_MAX_HOPS:]
        _, client = _first_stranger(nodes, trusts)
        # These say not whose they are; the last is the word of the proxy next to us.
        scheme, host = (
            _joined(headers, name).rpartition(",")[2].strip()
            for name in ("x-forwarded-proto", "x-forwarded-host")
        )
    scheme = scheme.lower()
    return scheme if scheme in _SCHEMES else "", host, client


def _joined(headers: Mapping[str, Sequence[str]], name: str) -> str:
    """What was added last, if it is too long."""
    return ",".join(headers.get(name, ()))[-_MAX_TEXT:]


def _first_stranger(
    nodes: Sequence[str], trusts: Callable[[str], bool]
) -> tuple[int, tuple[str, int | None] | None]:
    """The last address that is no trusted proxy's, and where it stands; if all are, the first. What is no
    address (`unknown`, `_hidden`) ends the search, since nobody can say who it trusts."""
    position, client = len(nodes), None
    for number in range(len(nodes) - 1, -1, -1):
        node = _address(nodes[number])
        if node is None:
            break
        position, client = number, node
        if not trusts(node[0]):
            break
    return position, client


def _address(node: str) -> tuple[str, int | None] | None:
    """Address and port (None: it has none); some proxies write an address of IPv6 without its brackets."""
    match = _NODE.fullmatch(node)
    name, port = (match[1] or match[2], match[3]) if match else (node, None)
    try:
        found = str(ip_address(name))
    except ValueError:
        return None
    return found, int(port) if port and 0 < int(port) < 65536 else None


def _elements(text: str) -> Iterator[dict[str, str]]:
    """Those of a `Forwarded` header. What is malformed makes an element that says nothing, and nothing left
    of it counts: it could have been written to be read as another one."""
    found: list[dict[str, str]] = [{}]
    at = 0
    while at < len(text):
        if text[at] in ",;":
            if text[at] == ",":
                found.append({})
            at += 1
            continue
        pair = _PAIR.match(text, at)
        if pair is None or (pair.end() < len(text) and text[pair.end()] not in ",;"):
            found.append({})
            at = next((place for place in range(at, len(text)) if text[place] == ","), len(text))
            continue
        value = pair[3] if pair[2] is None else re.sub(r"\\(.)", r"\1", pair[2])
        found[-1].setdefault(pair[1].lower(), value)
        at = pair.end()
    yield from found
