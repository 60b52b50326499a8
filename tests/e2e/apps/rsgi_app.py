"""An application of RSGI, granian's own interface."""

from __future__ import annotations

from typing import Any


class Application:
    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        protocol.response_str(200, [("content-type", "text/plain")], "tea")


app = Application()
