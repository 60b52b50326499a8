"""Which layer a cache belongs to, as `[cache.layers]` says it."""

from __future__ import annotations

from collections.abc import Mapping

from bext_otel.catalogue import LAYER, UNKNOWN
from bext_otel.errors import ConfigError

__all__ = ["Layers", "names_of"]


class Layers:
    """Layers by what caches are called: a name, or the beginning of names (or of keys) where it ends in `*`.

    A whole name is found before a beginning of it, a longer beginning before a shorter one. Raises
    ConfigError for a layer that does not exist.
    """

    def __init__(self, mapping: Mapping[str, str] | None = None) -> None:
        named = dict(mapping or {})
        for name, layer in named.items():
            if layer not in (LAYER.values or ()):
                known = ", ".join(LAYER.values or ())
                raise ConfigError(f"[cache.layers] {name!r} = {layer!r}: expected one of {known}")
        self._names = {name: layer for name, layer in named.items() if not name.endswith("*")}
        beginnings = sorted((name[:-1] for name in named if name.endswith("*")), key=len, reverse=True)
        self._beginnings = tuple(
            (text, text.encode("utf-8", "replace"), named[f"{text}*"]) for text in beginnings
        )

    @property
    def beginnings(self) -> bool:
        """Whether there is any beginning of names, or keys."""
        return bool(self._beginnings)

    @property
    def texts(self) -> tuple[str, ...]:
        """The beginnings of names, or keys; the longest first."""
        return tuple(text for text, _, _ in self._beginnings)

    def named(self, *names: str) -> str:
        """The layer of a cache that is known by all of `names`, the most telling one first; `unknown` if
        nothing was said."""
        for name in names:
            if (layer := self._names.get(name) or self.keyed(name)) is not None:
                return layer
        return UNKNOWN

    def keyed(self, key: object) -> str | None:
        """The layer of a key by its beginning; None if nothing was said about it."""
        if isinstance(key, str):
            for text, _, layer in self._beginnings:
                if key.startswith(text):
                    return layer
        elif isinstance(key, (bytes, bytearray)):
            for _, raw, layer in self._beginnings:
                if key.startswith(raw):
                    return layer
        return None


def names_of(*kinds: type) -> tuple[str, ...]:
    """What classes may be called in `[cache.layers]`: their complete names, then their short ones."""
    told = [kind for kind in kinds if kind.__module__ not in {"builtins", "abc", "collections.abc", "typing"}]
    return (*(f"{kind.__module__}.{kind.__qualname__}" for kind in told), *(kind.__name__ for kind in told))
