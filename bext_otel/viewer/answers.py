"""What the viewer answers with."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from bext_otel.viewer.intake.receiver import JSON

__all__ = ["Answer", "error", "not_allowed"]


@dataclass(frozen=True)
class Answer:
    """Status, content type, body and further headers of an answer."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


def error(status: int, reason: str, *headers: tuple[str, str]) -> Answer:
    """A refusal, as JSON."""
    return Answer(status, JSON, msgspec.json.encode({"error": reason}), headers)


def not_allowed(allowed: str) -> Answer:
    """Which methods an address takes instead."""
    return error(405, f"this address takes {allowed}", ("Allow", allowed))
