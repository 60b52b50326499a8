"""Parts of pages, kept for a few seconds in a Redis where there is one."""

from __future__ import annotations

import logging
import secrets
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from redis import Redis

__all__ = ["Fragments"]

log = logging.getLogger(__name__)

_KEPT_SECONDS = 5
# A Redis that takes longer than making the fragment is of no use.
_TIMEOUT_SECONDS = 0.2
_PREFIX = "bext-demo:fragment"


class Fragments:
    """HTML by name in the Redis at `url`; made each time where that is None, or does not answer, or redis-py
    is missing.

    Safe from every thread. A Redis that fails later is asked no more.
    """

    def __init__(self, url: str | None) -> None:
        self._url = url
        self._client: Redis | None = None
        # The Redis may be somebody else's too, the database is not.
        self._prefix = f"{_PREFIX}:{secrets.token_hex(4)}"

    @property
    def kept(self) -> bool:
        """Whether there is a Redis."""
        return self._client is not None

    def start(self) -> None:
        """Find the Redis; takes at most 0.4 seconds, and next to nothing where nobody listens."""
        if self._url is None or not _listened(self._url):
            return
        try:
            from redis import Redis, RedisError  # slow to import, so only for somebody who answers
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError:
            return
        client = Redis.from_url(
            self._url,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            client.ping()
        except RedisError:  # it wants a password, or is something else
            client.close()
            return
        self._client = client

    def close(self) -> None:
        """Leave the Redis; what is kept there is gone within seconds."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def get(self, name: str, make: Callable[[], str]) -> str:
        """The fragment as it is kept, or as it is made now."""
        key = f"{self._prefix}:{name}"
        kept = self._ask(lambda client: client.get(key))
        if isinstance(kept, bytes):
            return kept.decode()
        made = make()
        self._ask(lambda client: client.set(key, made, ex=_KEPT_SECONDS))
        return made

    def drop(self, name: str) -> None:
        """Have the fragment made again."""
        self._ask(lambda client: client.delete(f"{self._prefix}:{name}"))

    def _ask(self, question: Callable[[Redis], object]) -> object:
        client = self._client
        if client is None:
            return None
        from redis import RedisError

        try:
            return question(client)
        except RedisError as error:
            log.warning("fragments are made each time from now on: %s", type(error).__name__)
            self.close()
            return None


def _listened(url: str) -> bool:
    address = urlsplit(url)
    try:
        with socket.create_connection(
            (address.hostname or "127.0.0.1", address.port or 6379), timeout=_TIMEOUT_SECONDS
        ):
            return True
    except OSError:
        return False
