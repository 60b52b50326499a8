"""A mapping whose values are computed when somebody looks, since most scrapers don't."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TypeVar

__all__ = ["Lazy"]

K = TypeVar("K")


class Lazy(Mapping[K, float]):
    """What `compute` answers, which is asked once, at the first look."""

    def __init__(self, compute: Callable[[], Mapping[K, float]]) -> None:
        self._compute = compute

    @cached_property
    def _made(self) -> Mapping[K, float]:
        return self._compute()

    def __getitem__(self, key: K) -> float:
        return self._made[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)

    def __repr__(self) -> str:
        return repr(self._made)
