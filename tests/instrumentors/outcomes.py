"""What came of a call, in a form that two runs can be compared by."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

__all__ = ["outcome"]


def outcome(call: Callable[[], Any]) -> tuple[str, str]:
    """The type and text of what `call` returned or raised, without addresses in memory."""
    try:
        result = call()
    except BaseException as error:
        return type(error).__qualname__, _still(f"{error} cause={error.__cause__!r}")
    return type(result).__qualname__, _still(repr(result))


def _still(text: str) -> str:
    return re.sub(r"0x[0-9a-f]+", "0x", text)
