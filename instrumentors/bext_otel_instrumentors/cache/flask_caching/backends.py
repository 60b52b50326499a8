"""The backends of Flask-Caching: whose each is, and how much it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bext_otel.catalogue import UNKNOWN
from bext_otel_instrumentors.cache.file_holdings import directories
from bext_otel_instrumentors.cache.holdings import Size, holdings, size_of_store
from bext_otel_instrumentors.cache.layers import Layers, names_of
from bext_otel_instrumentors.cache.lookups import app_here
from bext_otel_instrumentors.cache.redis.holdings import RedisHoldings

__all__ = ["BackendRecord", "adopt", "entries", "forget", "kind_of", "layer_of"]

_RECORD = "_bext_otel_record"
_GROUP = "flask"


class BackendRecord:
    """What is known about a backend."""

    layers = Layers()
    redis: RedisHoldings | None = None

    def __init__(self, backend: Any) -> None:
        self.kind = type(backend).__name__
        self.layer = BackendRecord.layers.named(*names_of(*type(backend).__mro__))
        self.from_layers = BackendRecord.layers
        self.app = UNKNOWN
        self.used = False
        prefix = getattr(backend, "key_prefix", None)
        # Keys that begin with nothing may be anybody's; and of keys that `[cache.layers]` names, redis-py's
        # instrumentation tells.
        named = isinstance(prefix, str) and prefix and BackendRecord.layers.keyed(prefix) is None
        self._in_redis = Layers({f"{prefix}*": self.layer}) if named else None
        self._client = getattr(backend, "_write_client", None)

    @classmethod
    def of(cls, backend: Any) -> BackendRecord:
        """The record of a backend, which is new if it is the first time."""
        record = vars(backend).get(_RECORD)
        if not isinstance(record, cls) or record.from_layers is not cls.layers:
            record = cls(backend)
            setattr(backend, _RECORD, record)
        if record.app is UNKNOWN:
            record.app = app_here()
        return record

    def use(self) -> None:
        """It is asked for something."""
        self.used = True
        if self._in_redis is not None and self.redis is not None and self._client is not None:
            self.redis.used(self._client, self._in_redis)


def adopt(backend: Any) -> None:
    """Report what a new backend holds, if it is known where."""
    if isinstance(getattr(backend, "_cache", None), dict):
        holdings.add(backend, BackendRecord.of(backend), _size_of, group=_GROUP)
    elif hasattr(backend, "_is_mgmt"):  # files
        count = Path(backend._get_filename(backend._fs_count_file)).name
        unfinished = backend._fs_transaction_suffix
        directories.add(
            str(Path(backend._path).resolve()),
            BackendRecord.of(backend),
            lambda name: name != count and not name.endswith(unfinished),
            group=_GROUP,
        )


def forget() -> None:
    """Report nothing any longer."""
    holdings.forget(_GROUP)
    directories.forget(_GROUP)
    if BackendRecord.redis is not None:
        BackendRecord.redis.stop()
        BackendRecord.redis = None


def _size_of(backend: Any) -> Size:
    """Of a backend that keeps serialised values in a dictionary, together with when they expire."""
    return size_of_store(backend._cache, lambda kept: kept[1])


def layer_of(cache: Any, key: object, function: str | None = None) -> str:
    """The layer of a key, which is looked up or stored now: as its beginning says, or the function that is
    cached, or the backend."""
    try:
        record = BackendRecord.of(cache.cache)
        record.use()
        return BackendRecord.layers.keyed(key) or function or record.layer
    except Exception:  # no application, or a backend that takes no attribute
        return BackendRecord.layers.keyed(key) or function or UNKNOWN


def kind_of(cache: Any) -> str:
    """What the backend of a `Cache` is called."""
    try:
        return BackendRecord.of(cache.cache).kind
    except Exception:  # as above
        return UNKNOWN


def entries(cache: Any) -> int | None:
    """How many entries a backend of this process, or of files, holds; None for one that does not know."""
    try:
        backend = cache.cache
        store = getattr(backend, "_cache", None)
        if isinstance(store, dict):
            return len(store)
        if type(backend).__name__ == "NullCache":
            return 0
        # Files are counted as they come and go, in a file of their own, unless there may be any number of
        # them.
        return (
            int(backend._file_count)
            if getattr(backend, "_threshold", 0) and hasattr(backend, "_file_count")
            else None
        )
    except Exception:  # no application, or a backend of any kind
        return None
