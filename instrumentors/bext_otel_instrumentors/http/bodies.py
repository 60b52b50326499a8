"""Bodies of WSGI requests and answers, counted as they pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy, deepcopy
from typing import Any, TypeAlias

from bext_otel._compat import attach, detach
from bext_otel_instrumentors.http.exchange import Exchange

__all__ = ["CountedBody", "Finish", "ListBody", "SizedBody", "counting_input", "read_in_process"]

Finish: TypeAlias = "Callable[[BaseException | None], None]"

# The answers that were handed out during a call, of which nobody else may say that they are over.
_handed_out: ContextVar[list[_Body] | None] = ContextVar("bext-otel-handed-out", default=None)


@contextmanager
def read_in_process() -> Iterator[None]:
    """A client in this process asks an application, and keeps the answer: who looks at the telemetry then
    expects the request to be over.

    It is, if the whole answer is there or its length is known; a stream without one is over when it has been
    read, or given up.
    """
    with _handing_out() as answers:
        yield
    for answer in answers:
        answer.end_early()


@contextmanager
def answering() -> Iterator[None]:
    """A server answers a request, and may not close what it was given, such as werkzeug's, when its client
    has hung up: once it returns, that is given up."""
    with _handing_out() as answers:
        try:
            yield
        finally:
            for answer in answers:
                answer.give_up()


@contextmanager
def _handing_out() -> Iterator[list[_Body]]:
    answers: list[_Body] = []
    token = _handed_out.set(answers)
    try:
        yield answers
    finally:
        _handed_out.reset(token)


class _Body:
    """What an application answers. The request ends when the server closes it, read to the end or not; where
    a server does not, when it lets go of it."""

    __slots__ = ("_chunks", "_error", "_exchange", "_finish")

    def __init__(self, chunks: Any, exchange: Exchange, finish: Finish) -> None:
        self._chunks = chunks
        self._exchange = exchange
        self._finish = finish
        self._error: BaseException | None = None
        if (answers := _handed_out.get()) is not None:
            answers.append(self)

    def __del__(self) -> None:
        if not self._exchange.finished:
            self.give_up()

    def give_up(self) -> None:
        """Nobody will read on, nor close it."""
        if not self._exchange.finished:
            self._finish(self._error)

    def end_early(self) -> None:
        """The client has what it wants: end the request now, or when the answer has been read."""
        raise NotImplementedError


class CountedBody(_Body):
    """An answer that is handed on chunk by chunk; with nothing to be closed it is over when it is read.

    The request's context is current while a chunk is made: an application that streams works for this request
    there.
    """

    __slots__ = ("_early", "_iterator")

    def __init__(self, chunks: Iterable[bytes], exchange: Exchange, finish: Finish) -> None:
        super().__init__(chunks, exchange, finish)
        self._iterator: Iterator[bytes] | None = None
        self._early = not hasattr(chunks, "close")

    def read_by(self, iterator: Iterator[bytes]) -> None:
        """Have the chunks come from here, which are those that it was made of."""
        self._iterator = iterator

    def __iter__(self) -> Iterator[bytes]:
        # A generator, which is left and entered in C. Nothing of ours refers to it, so that who lets go of it
        # lets go of the answer.
        exchange = self._exchange
        while True:
            token = attach(exchange.context)
            try:
                if self._iterator is None:
                    self._iterator = iter(self._chunks)
                chunk = next(self._iterator)
            except StopIteration:
                break
            except BaseException as error:
                self._error = error
                raise
            finally:
                detach(token)
            exchange.response_bytes += len(chunk)
            yield chunk
        exchange.answered()
        if self._early:
            self._finish(self._error)

    def __next__(self) -> bytes:
        return next(iter(self))

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

    def end_early(self) -> None:
        exchange = self._exchange
        self._early = True
        if exchange.finished:
            return
        if exchange.sent_whole() or exchange.ended_ns:
            self._finish(self._error)


class SizedBody(CountedBody):
    """As `CountedBody`, for an answer of another type that knows how many chunks it has: that tells servers
    whether one chunk is all of it."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._chunks)

    def __bool__(self) -> bool:
        return bool(self._chunks)


class ListBody(_Body):
    """As `CountedBody`, for an answer that is complete; it keeps its length, from which servers make a
    Content-Length."""

    __slots__ = ()

    def __init__(self, chunks: list[bytes] | tuple[bytes, ...], exchange: Exchange, finish: Finish) -> None:
        super().__init__(chunks, exchange, finish)
        exchange.sent(sum(map(len, chunks)))

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks
        self._finish(None)  # its application has nothing to close, and the server need not

    def __len__(self) -> int:
        return len(self._chunks)

    def close(self) -> None:
        """The server is done with the answer."""
        self._finish(None)

    def end_early(self) -> None:
        self._finish(None)


def counting_input(stream: Any, exchange: Exchange) -> Any:
    """`wsgi.input` that counts what is read from it."""
    return _WatchedInput(stream, lambda data: exchange.received(len(data)))


def noting_input(stream: Any, note: Callable[[bytes], object]) -> Any:
    """`wsgi.input` that tells what is read from it."""
    return _WatchedInput(stream, note)


class _WatchedInput:
    """The four methods that PEP 3333 asks for, and whatever else the stream has; copied, pickled, compared
    and printed it is the stream."""

    def __init__(self, stream: Any, note: Callable[[bytes], object]) -> None:
        self._stream = stream
        self._note = note

    def _count(self, data: bytes) -> bytes:
        self._note(data)
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

    def __copy__(self) -> Any:
        return copy(self._stream)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return deepcopy(self._stream, memo)

    def __reduce__(self) -> tuple[Any, ...]:
        return copy, (self._stream,)  # what unpickles it may not know us

    def __repr__(self) -> str:
        return repr(self._stream)

    def __eq__(self, other: object) -> bool:
        return other is self or bool(self._stream == other)

    def __hash__(self) -> int:
        return hash(self._stream)
