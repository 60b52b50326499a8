"""What the specification has for views and readers, and the SDK's Python has not, or not yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.metrics.view import View

from bext_otel._compat import limit_series
from bext_otel.errors import ConfigError

__all__ = ["StreamView", "limited"]

R = TypeVar("R", bound=MetricReader)


class StreamView(View):
    """A `View` of the SDK's, with all its arguments by name, that may leave attributes out by their keys
    (`excluded_attribute_keys`; all others stay, or those of `attribute_keys`) and say how many attribute sets
    its stream shows before further ones are one point (`aggregation_cardinality_limit`, 1 or more; None: as
    many as the reader does).

    Raises ConfigError for a limit that is none.
    """

    def __init__(
        self,
        *,
        excluded_attribute_keys: Iterable[str] = (),
        aggregation_cardinality_limit: int | None = None,
        **of_the_sdk: Any,
    ) -> None:
        super().__init__(**of_the_sdk)
        self.excluded_attribute_keys = frozenset(excluded_attribute_keys)
        self.aggregation_cardinality_limit = (
            None
            if aggregation_cardinality_limit is None
            else _limit("aggregation_cardinality_limit", aggregation_cardinality_limit)
        )


def limited(reader: R, limits: Mapping[type, int]) -> R:
    """The reader, which shows no more attribute sets of an instrument than `limits` says for its kind, by the
    SDK's classes (`{Counter: 100}`), where no view says otherwise; further ones are one point. Before it is
    added to a provider.

    Raises ConfigError for a limit that is none, and for what is no kind of instrument.
    """
    found = {kind: _limit(getattr(kind, "__name__", str(kind)), limit) for kind, limit in limits.items()}
    if (unknown := limit_series(reader, found)) is not None:
        raise ConfigError(f"{unknown!r} is no class of an instrument of opentelemetry.sdk.metrics")
    return reader


def _limit(name: str, limit: Any) -> int:
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise ConfigError(f"{name}={limit!r}: expected a whole number of attribute sets, 1 or more")
    return limit
