"""The rules of Werkzeug, by which Flask and Quart route."""

from __future__ import annotations

from typing import Any

__all__ = ["rule_of"]


def rule_of(app: Any, request: Any) -> str | None:
    """The rule that matched a request of this application, or that would have for another method; None: none
    does."""
    if (rule := request.url_rule) is not None:
        return str(rule.rule)
    methods = getattr(request.routing_exception, "valid_methods", None)
    if not methods:
        return None
    adapter = app.create_url_adapter(request)
    return str(adapter.match(method=methods[0], return_rule=True)[0].rule)
