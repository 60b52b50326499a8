"""Where a connection comes from, as far as a server tells it and no header does.

Servers and middlewares that are set to believe a proxy (uvicorn believes one on loopback) put what its header
says in the place of the socket's address, and some of them what anybody's says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

__all__ = ["socket_address"]

_FORWARDING = re.compile("forwarded|.*forwarded-for|.*(?:real|client|connecting)-ip")


def socket_address(address: str, headers: Mapping[str, Sequence[str]]) -> str:
    """`address`, which a server tells, unless one of `headers` (lower-case names) names it too: then it may
    be that one's word, and "" says that nothing is known."""
    if not address:
        return ""
    whole = re.compile(rf"(?<![\w.:]){re.escape(address)}(?![\w.])", re.IGNORECASE)
    named = any(
        whole.search(value)
        for name, values in headers.items()
        if _FORWARDING.fullmatch(name)
        for value in values
    )
    return "" if named else address
