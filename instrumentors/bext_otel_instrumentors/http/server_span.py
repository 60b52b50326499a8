"""What is shown on the span of a request when it is answered: on ours, or on the one that another
instrumentation has made for it."""

from __future__ import annotations

from opentelemetry.trace import Span
from opentelemetry.util.types import AttributeValue

from bext_otel.operation import show_failure

__all__ = ["annotate", "is_upstreams", "show_error", "show_result"]


def is_upstreams(span: Span) -> bool:
    """Whether a span is of upstream's instrumentation."""
    scope = getattr(span, "instrumentation_scope", None)
    return str(getattr(scope, "name", "")).startswith("opentelemetry.instrumentation.")


def annotate(span: Span, app: str, method: str, path: str, route: str | None) -> None:
    """Show what only we know on a span that is not ours, while that is still open."""
    if span.is_recording():
        span.set_attribute("bext.app", app)
        if route:
            span.set_attribute("http.route", route)
            if _is_path(getattr(span, "name", ""), method, path):
                span.update_name(f"{method} {route}")


def _is_path(name: str, method: str, whole: str) -> bool:
    """Whether a span is named by the path, as upstream's middlewares do that know no route. Another name is
    somebody's choice."""
    path = name.removeprefix(f"{method} ")
    if not path.startswith("/"):
        return False
    # A WSGI environ has it without what the application is mounted under, and as Latin-1.
    return whole.endswith((path, path.encode("latin-1", "replace").decode("utf-8", "replace")))


def show_result(span: Span, method: str, route: str | None, status: int, name: str = "") -> None:
    """Give our span its final name (`name`, else by its route), and what is known since the answer; status 0:
    none was sent."""
    if route and status:
        attributes: dict[str, AttributeValue] = {"http.response.status_code": status, "http.route": route}
    else:
        attributes = {"http.response.status_code": status} if status else {}
        if route:
            attributes["http.route"] = route
    if not name and route:
        name = f"{'HTTP' if method == '_OTHER' else method} {route}"
    if (conclude := getattr(span, "conclude", None)) is not None:  # our provider's
        conclude(name, attributes)
        return
    if name:
        span.update_name(name)
    span.set_attributes(attributes)


def show_error(span: Span, error_type: str, error: BaseException | None, *, failed: bool) -> None:
    """Show on our span what ended the request: as a failure of the application's if it `failed`, with the
    exception if there was one."""
    if failed:
        show_failure(span, error_type, error)
    else:
        span.set_attribute("error.type", error_type)
