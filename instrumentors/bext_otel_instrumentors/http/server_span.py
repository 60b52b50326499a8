"""What is shown on the span of a request when it is answered: on ours, or on the one that another
instrumentation has made for it."""

from __future__ import annotations

from opentelemetry.trace import Span
from opentelemetry.util.types import AttributeValue

from bext_otel.described import Shared
from bext_otel.operation import show_failure

__all__ = ["annotate", "is_upstreams", "show_error", "show_result"]

# Routes are the application's, a few hundred with some statuses each; `[metrics] route_of` may make up more.
_results: dict[tuple[str, str | None, int], tuple[str, Shared]] = {}
_MAX_RESULTS, _MAX_ROUTE = 2000, 512


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
    key = (method, route, status)
    named, shown = _results.get(key) or _result(key)
    if (conclude := getattr(span, "conclude", None)) is not None:  # our provider's
        conclude(name or named, shown)
    elif span.is_recording():
        if name or named:
            span.update_name(name or named)
        span.set_attributes(shown.attributes)


def _result(key: tuple[str, str | None, int]) -> tuple[str, Shared]:
    """The name of a span ("": no other than it has) and what is shown of the answer, by method, route and
    status."""
    method, route, status = key
    shown: dict[str, AttributeValue] = {"http.response.status_code": status} if status else {}
    if route:
        shown["http.route"] = route
    result = (f"{'HTTP' if method == '_OTHER' else method} {route}" if route else "", Shared(shown))
    if len(route or "") <= _MAX_ROUTE:
        if len(_results) >= _MAX_RESULTS:
            _results.clear()
        _results[key] = result
    return result


def show_error(span: Span, error_type: str, error: BaseException | None, *, failed: bool) -> None:
    """Show on our span what ended the request: as a failure of the application's if it `failed`, with the
    exception if there was one."""
    if failed:
        show_failure(span, error_type, error)
    else:
        span.set_attribute("error.type", error_type)
