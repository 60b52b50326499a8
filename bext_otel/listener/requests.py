"""Requests as bytes (RFC 9112): the head, and the body that it announces. What can be read in two ways is
refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote_to_bytes

from bext_otel.errors import BextOtelError

__all__ = ["BadRequestError", "Body", "Head", "parse"]

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e\x80-\xff]+) HTTP/([0-9])\.([0-9])")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)", re.IGNORECASE)
_MAX_FIELDS = 100
# Longer numbers are no length of anything, and converting them takes time.
_LENGTH = re.compile(r"[0-9]{1,15}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[^\r\n]*)?")
_MAX_CHUNK_LINE = 1024
# What frames chunks, and follows the last one, costs as much to read as what they hold: so many bytes of it,
# and one more for each so many of the body. A chunk of 80 bytes keeps to that.
_MAX_FRAMING = 16 * 1024
_FRAMING_SHARE = 16


class BadRequestError(BextOtelError):
    """A request that is not served; `status` is the HTTP status that says why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class Head:
    """The head of a request. `path` is what stood in the target without its escapes, as Latin-1 (PEP 3333);
    names of `fields` are in lower case, each stands once."""

    method: str
    path: str
    query: str
    minor: int
    fields: dict[str, str]

    @property
    def stays(self) -> bool:
        """Whether the client wants to send another request over the connection."""
        wishes = {wish.strip().lower() for wish in self.fields.get("connection", "").split(",")}
        return "close" not in wishes and (self.minor > 0 or "keep-alive" in wishes)

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for leave to send its body."""
        return self.minor > 0 and self.fields.get("expect", "").lower() == "100-continue"


def parse(head: bytes) -> Head:
    """A head without the empty line at its end; raises `BadRequestError`."""
    line, *lines = head.split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise BadRequestError(400, "this is no HTTP request")
    if match[3] != b"1":
        raise BadRequestError(505, "HTTP/1.0 and HTTP/1.1 are spoken here")
    fields = _fields(lines)
    minor = int(match[4])
    if minor and "host" not in fields:
        raise BadRequestError(400, "a request of HTTP/1.1 has a Host")
    target = match[2]
    if not target.startswith(b"/") and target != b"*":
        absolute = _ABSOLUTE.match(target)
        if absolute is None:
            raise BadRequestError(400, "the target of a request is a path")
        target = target[absolute.end() :]
        fields["host"] = absolute[1].decode("latin-1")  # which counts, whatever Host says (RFC 9112, 3.2.2)
    path, _, query = target.partition(b"#")[0].partition(b"?")
    return Head(
        match[1].decode(),
        unquote_to_bytes(path or b"/").decode("latin-1"),
        query.decode("latin-1"),
        minor,
        fields,
    )


def _fields(lines: list[bytes]) -> dict[str, str]:
    if len(lines) > _MAX_FIELDS:
        raise BadRequestError(431, f"at most {_MAX_FIELDS} header fields are read")
    fields: dict[str, str] = {}
    for line in lines:
        raw, colon, value = line.partition(b":")
        if not colon or _NAME.fullmatch(raw) is None or _CONTROL.search(value) is not None:
            raise BadRequestError(400, "a header field is malformed")
        if b"_" in raw:  # in WSGI it would pass for one with a hyphen
            continue
        name, text = raw.decode().lower(), value.strip(b" \t").decode("latin-1")
        if name not in fields:
            fields[name] = text
        elif name in {"host", "content-length", "transfer-encoding", "authorization"}:
            raise BadRequestError(400, f"{name} stands there twice")
        else:
            fields[name] += f", {text}"
    return fields


class Body:
    """The body of a request, as it comes in. Raises `BadRequestError` for one that is longer than `limit`, or
    that does not say how long it is in the one way that is unambiguous."""

    def __init__(self, head: Head, limit: int) -> None:
        self._limit = limit
        self.content = bytearray()
        coding, length = head.fields.get("transfer-encoding"), head.fields.get("content-length")
        if coding is not None and (length is not None or head.minor == 0):
            raise BadRequestError(400, "the length of the body is ambiguous")
        if coding is not None and coding.lower() != "chunked":
            raise BadRequestError(501, "of transfer codings, chunked is known here")
        if length is not None and _LENGTH.fullmatch(length) is None:
            raise BadRequestError(400, "Content-Length is no length")
        self._chunked = coding is not None
        self.announced = int(length or 0)
        # Of the body, or of the chunk that has begun.
        self._missing = self.announced
        self._awaited: Literal["size", "data", "end", "trailer"] = "size"
        self._framing = 0
        if self.announced > limit:
            raise BadRequestError(413, f"the body has {self.announced} bytes: at most {limit} are taken")

    @property
    def is_empty(self) -> bool:
        """Whether there is none to wait for."""
        return not self._chunked and not self.announced

    def feed(self, received: bytearray) -> bool:
        """Take what belongs to the body from the front of `received`; whether that was all of it."""
        if not self._chunked:
            return self._take(received)
        while True:
            if self._awaited == "data":
                if not self._take(received):
                    return False
                self._awaited = "end"
            line = _line(received)
            if line is None:
                return False
            self._framing += len(line) + 2
            if self._framing > _MAX_FRAMING + len(self.content) // _FRAMING_SHARE:
                raise BadRequestError(400, "the body has more lengths of chunks, or trailers, than content")
            if self._awaited == "size":
                self._begin_chunk(line)
            elif self._awaited == "trailer":
                if not line:
                    return True
            elif line:
                raise BadRequestError(400, "a chunk is longer than it says")
            else:
                self._awaited = "size"

    def _take(self, received: bytearray) -> bool:
        part = received[: self._missing]
        self.content += part
        self._missing -= len(part)
        del received[: len(part)]
        return self._missing == 0

    def _begin_chunk(self, line: bytes) -> None:
        match = _CHUNK_SIZE.fullmatch(line)
        if match is None:
            raise BadRequestError(400, "a chunk is malformed")
        size = int(match[1], 16)
        if len(self.content) + size > self._limit:
            raise BadRequestError(413, f"the body is longer than the {self._limit} bytes that are taken")
        self._awaited = "data" if size else "trailer"
        self._missing = size


def _line(received: bytearray) -> bytes | None:
    """The line at the front, taken from it; None while it is not there yet."""
    end = received.find(b"\r\n", 0, _MAX_CHUNK_LINE)
    if end < 0:
        if len(received) >= _MAX_CHUNK_LINE:
            raise BadRequestError(400, "a chunk is malformed")
        return None
    line = bytes(received[:end])
    del received[: end + 2]
    return line
