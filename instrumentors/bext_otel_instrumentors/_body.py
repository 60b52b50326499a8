"""Bodies of WSGI requests and answers, counted as they pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from opentelemetry.context import attach, detach

from bext_otel_instrumentors._exchange import Exchange

__all__ = ["Body", "ListBody", "counting_input"]

Finish: TypeAlias = "Callable[[BaseException | None], None]"


class Body:
    """What an application answers, handed on chunk by chunk; the request ends when the server closes it, read to the end or not.

    The request's context is current while a chunk is made: an application that streams works for this request there.
    """

    __slots__ = ("_chunks", "_error", "_exchange", "_finish", "_iterator")

    def __init__(self, chunks: Iterable[bytes], exchange: Exchange, finish: Finish) -> None:
        self._chunks = chunks
        self._exchange = exchange
        self._finish = finish
        self._iterator: Iterator[bytes] | None = None
        self._error: BaseException | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        exchange = self._exchange
        token = attach(exchange.context)
        try:
            if self._iterator is None:
                self._iterator = iter(self._chunks)
            chunk = next(self._iterator)
        except StopIteration:
            exchange.answered()
            raise
        except BaseException as error:
            self._error = error
            raise
        finally:
            detach(token)
        exchange.response_bytes += len(chunk)
        return chunk

    def close(self) -> None:
        """The server is done with the answer."""
        exchange = self._exchange
        try:
            if (close := getattr(self._chunks, "close", None)) is not None:
                token = attach(exchange.context)
                try:
                    close()
                finally:
                    detach(token)
        except BaseException as error:
            self._error = self._error or error
            raise
        finally:
            self._finish(self._error)


class ListBody:
    """As `Body`, for an answer that is complete; it keeps its length, from which servers make a Content-Length."""

    __slots__ = ("_chunks", "_finish")

    def __init__(self, chunks: list[bytes] | tuple[bytes, ...], exchange: Exchange, finish: Finish) -> None:
        self._chunks = chunks
        self._finish = finish
        exchange.response_bytes += sum(map(len, chunks))

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks)

    def __len__(self) -> int:
        return len(self._chunks)

    def close(self) -> None:
        """The server is done with the answer."""
        self._finish(None)


def counting_input(stream: Any, exchange: Exchange) -> Any:
    """`wsgi.input` that counts what is read from it."""
    return _CountingInput(stream, exchange)


class _CountingInput:
    """The four methods that PEP 3333 asks for, and whatever else the stream has."""

    def __init__(self, stream: Any, exchange: Exchange) -> None:
        self._stream = stream
        self._exchange = exchange

    def _count(self, data: bytes) -> bytes:
        self._exchange.request_bytes += len(data)
        return data

    def read(self, *size: int) -> bytes:
        return self._count(self._stream.read(*size))

    def readline(self, *size: int) -> bytes:
        return self._count(self._stream.readline(*size))

    def readlines(self, *hint: int) -> list[bytes]:
        return [self._count(line) for line in self._stream.readlines(*hint)]

    def __iter__(self) -> Iterator[bytes]:
        return map(self._count, self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
