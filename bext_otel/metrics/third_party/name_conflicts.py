"""Metrics that cannot stand on one page, since they have one name: the first is shown, and the other told of
in the log, once."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Protocol, TypeVar

from bext_otel.once import Once

__all__ = ["OUR_PAGE", "beside", "log_left_out"]

_log = logging.getLogger(__name__)

OUR_PAGE = "/metrics"
"""Where most metrics are left out of."""


class Named(Protocol):
    """A family, as it is shown or as it is published."""

    @property
    def name(self) -> str:
        """The exported one."""


N = TypeVar("N", bound=Named)

_once = Once(1000)


def log_left_out(name: str, *, of: str, holder: str) -> None:
    """One line for each name and page; `holder` is who has the name there."""
    if _once.is_first((name, of)):
        _log.warning(
            "metric %s is left out of %s, since %s has its name there: rename one of the two",
            name,
            of,
            holder,
        )


def beside(first: Iterable[Named], others: Iterable[N], holder: str) -> list[N]:
    """The others whose names are free beside the first; `holder` is whose the first are."""
    taken = {family.name for family in first}
    free = []
    for family in others:
        if family.name in taken:
            log_left_out(family.name, of=OUR_PAGE, holder=holder)
        else:
            free.append(family)
    return free
