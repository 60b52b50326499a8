"""Of which requests an entry tells: slow ones and those that failed in any case, others by their path and by
a share of them; and from where a request is slow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

__all__ = ["SlowLimits", "quiet_requests"]

_BITS = 56
_MASK = (1 << _BITS) - 1


def quiet_requests(excluded: Iterable[str], share: float) -> Callable[[str, int, int], bool] | None:
    """Whether nothing is told of a request, by its path, its status and the id of its trace, if it was
    neither slow nor did it fail; None: of each something is told.

    `excluded` are paths, and beginnings of paths where they end in `*`. Of requests that succeeded (a status
    below 400) the `share` is told, those of whole traces: services that have the same share tell of the same
    ones.
    """
    whole = frozenset(path for path in excluded if not path.endswith("*"))
    begins = tuple(path[:-1] for path in excluded if path.endswith("*"))
    limit = int(share * (1 << _BITS))
    if not (whole or begins) and share >= 1:
        return None

    def is_quiet(path: str, status: int, trace_id: int) -> bool:
        if path in whole or path.startswith(begins):
            return True
        return share < 1 and 0 < status < 400 and (trace_id & _MASK) >= limit

    return is_quiet


class SlowLimits:
    """How many milliseconds a request may take before it is slow: by its route, else by its app, else the
    general one."""

    def __init__(self, general: float, apps: Mapping[str, float], routes: Mapping[str, float]) -> None:
        self._general = general
        self._apps = apps
        self._routes = routes

    def __call__(self, app: str, route: str | None) -> float:
        """In milliseconds."""
        if route is not None and (found := self._routes.get(route)) is not None:
            return found
        return self._apps.get(app, self._general)
