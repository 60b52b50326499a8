"""What the span of a request begins with, by the HTTP semantic conventions (stable).

All but its path, its query and the client's port is what other requests of the same client begin with too:
that is made once and remembered, within bounds, for clients choose it. When there is too much all is
forgotten, so that who names anything costs the others the shortcut for no longer than he does so. The port is
of a connection, and behind many a proxy each request has its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

from bext_otel.described import Described, Shared
from bext_otel.redaction import redact_query
from bext_otel.text import encodable
from bext_otel_instrumentors.http.exchange import declared_length
from bext_otel_instrumentors.http.forwarded import Told

__all__ = ["RequestLine", "describe"]

Address: TypeAlias = "tuple[str, int | str | None]"

RequestLine: TypeAlias = "tuple[str, str, str, str, str, str, Address | None, Address | None, str]"
"""What a server says of a request: method, scheme, path, query, version, the Host header, socket addresses of
the server and of the client (None: not told), user agent; text that is missing is empty. A port may be a text
that holds its number; servers put 0 beside an address that a header says."""

_Key: TypeAlias = "tuple[str, str, str, str, str, str, bool, str]"

_DEFAULT_PORTS: Mapping[str, int] = {"http": 80, "https": 443, "ws": 80, "wss": 443}

# What a client may put into a span; servers accept more.
_MAX_PATH = 4096
_MAX_QUERY = 4096
_MAX_HEADER = 512

# A name or address, and a port; never userinfo, which may be a password.
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([\w.~%!$&'()*+,;=-]+))(?::([0-9]{1,5})?)?", re.ASCII)

# By method, scheme, version, Host header, app, the client's address, whether a header says that, user agent.
_shared: dict[_Key, Shared] = {}
_MAX_SHARED, _MAX_SHARED_LENGTH = 1000, 512


def describe(line: RequestLine, known: str, scheme: str, path: str, app: str, told: Told | None) -> Described:
    """The attributes of a request; `known` is the method as it is counted, `scheme` and `path` are what they
    are taken for, `told` what proxies that are trusted say."""
    method, _, _, query, version, host, server, client, user_agent = line
    own: dict[str, Any] = {"url.path": path if len(path) <= _MAX_PATH else path[:_MAX_PATH]}
    if query:
        own["url.query"] = redact_query(query[:_MAX_QUERY])
    if known is not method:
        own["http.request.method_original"] = encodable(method[:_MAX_HEADER])
    address, port = "", None
    if told is not None:
        host = told[1] or host
        own.update(_of_proxy(client, told))
    elif client is not None and (address := client[0]):
        port = client[1]
        if type(port) is str:
            port = declared_length(port)
        if port:
            own["client.port"] = own["network.peer.port"] = port
    key = (known, scheme, version, host, app, address, port == 0, user_agent)
    return _shared.get(key) or _share(key, server), own


def _share(key: _Key, server: Address | None) -> Shared:
    """What all requests with this key have in common; where no host is named, or something that is none,
    those to this address of the server."""
    known, scheme, version, host, app, address, is_told, user_agent = key
    attributes: dict[str, Any] = {"http.request.method": known, "url.scheme": scheme, "bext.app": app}
    if version:
        attributes["network.protocol.version"] = version
    named = _authority(host) if host else None
    if named is not None:
        attributes["server.address"], port = named
        if port is None:
            port = _DEFAULT_PORTS.get(scheme)
    elif server is not None:
        attributes["server.address"], port = server[0], _port(server[1])
    else:
        port = None
    if port is not None:
        attributes["server.port"] = port
    if address:
        attributes["client.address"] = address
        if not is_told:
            attributes["network.peer.address"] = address
    if user_agent:
        attributes["user_agent.original"] = user_agent[:_MAX_HEADER]
    shared = Shared(attributes)
    if named is not None and len(user_agent) + len(address) <= _MAX_SHARED_LENGTH:
        if len(_shared) >= _MAX_SHARED:
            _shared.clear()
        _shared[key] = shared
    return shared


def _port(given: int | str | None) -> int | None:
    return declared_length(given) if isinstance(given, str) else given


def _of_proxy(client: Address | None, told: Told) -> dict[str, Any]:
    """The client that proxies tell of, beside the peer of the socket."""
    attributes: dict[str, Any] = {}
    if client is not None and client[0]:
        attributes["client.address"], port = client[0], _port(client[1])
        if port != 0:
            attributes["network.peer.address"] = client[0]
        if port:
            attributes["client.port"] = attributes["network.peer.port"] = port
    if told[2] is not None:
        attributes["client.address"], port = told[2]
        attributes.pop("client.port", None)
        if port:
            attributes["client.port"] = port
    return attributes


def _authority(host: str) -> tuple[str, int | None] | None:
    """Name and port (None: it names none) of a Host header; None where it is none, by RFC 9110 (section 7.2)
    and RFC 3986 (section 3.2)."""
    match = _HOST.fullmatch(host) if len(host) <= _MAX_HEADER else None
    port = int(match[3]) if match and match[3] else None
    return (match[1] or match[2], port) if match and (port is None or 0 < port < 65536) else None
