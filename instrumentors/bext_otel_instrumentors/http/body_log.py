"""What a request and its answer hold, logged at trace for apps that ask for it (`[apps.NAME] log_bodies`).

Nothing is read that the application does not read: what it reads and answers is noted as it passes. Requests
of other apps have nothing of this in their way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

import msgspec
from opentelemetry._logs import SeverityNumber

from bext_otel.entries import logger, write
from bext_otel.operation import settings
from bext_otel.redaction import redact_form, redact_message, redact_value
from bext_otel.text import encodable
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.http.completion import REQUEST_SCOPE

if TYPE_CHECKING:
    from bext_otel_instrumentors.http.exchange import Exchange

__all__ = ["Bodies", "bodies_of", "note_bodies", "noting_receive", "noting_send"]

_MAX_SHOWN = 4096
# More is noted than shown, so that a secret at the end is known before it is cut.
_MAX_NOTED = 2 * _MAX_SHOWN
_FORM = "application/x-www-form-urlencoded"
_TEXTS = frozenset(
    {"application/json", "application/xml", "application/javascript", "application/graphql", _FORM}
    | {"application/x-ndjson", "application/yaml", "application/toml"}
)
_ENDINGS = ("+json", "+xml", "+yaml")
_EVENT = "bext.request.bodies"


class _Noted:
    """A body, as far as it is shown, and how long it is."""

    __slots__ = ("data", "length")

    def __init__(self) -> None:
        self.data = b""
        self.length = 0

    def add(self, chunk: Any) -> None:
        self.length += len(chunk)
        if (room := _MAX_NOTED - len(self.data)) > 0:
            self.data += bytes(chunk[:room])


class Bodies:
    """Those of one request; `headers` are the request's, pairs of text or bytes."""

    __slots__ = ("_answer", "_request", "headers")

    def __init__(self, headers: Iterable[tuple[Any, Any]]) -> None:
        self.headers = headers
        self._request = _Noted()
        self._answer = _Noted()

    def read(self, chunk: Any) -> Any:
        """The application has read this."""
        self._note(self._request, chunk)
        return chunk

    def answered(self, chunk: Any) -> Any:
        """The application answers this."""
        self._note(self._answer, chunk)
        return chunk

    def each_answered(self, chunks: Iterable[Any]) -> Iterator[Any]:
        """The chunks, noted as they pass."""
        for chunk in chunks:
            yield self.answered(chunk)

    @staticmethod
    def _note(noted: _Noted, chunk: Any) -> None:
        try:
            noted.add(chunk)
        except Exception as error:  # the server says what it makes of it
            report("a body", error)

    def tell(self, exchange: Exchange) -> None:
        """One record for both; none where neither is text."""
        fields: dict[str, Any] = {"app": exchange.app, "method": exchange.method, "path": exchange.path}
        known = len(fields)
        fields |= _shown("request_body", self._request, self.headers)
        if not exchange.is_bodiless():
            fields |= _shown("response_body", self._answer, exchange.headers)
        if len(fields) > known:
            write(
                logger(REQUEST_SCOPE),
                SeverityNumber.TRACE,
                "request bodies",
                fields,
                here=exchange.context,
                event=_EVENT,
            )


def bodies_of(exchange: Exchange, headers: Callable[[], Iterable[tuple[Any, Any]]]) -> Bodies | None:
    """What notes the bodies of a request; None where its app does not ask for them, or nobody would see
    them."""
    try:
        if exchange.app not in settings().bodies or not logger(REQUEST_SCOPE).enabled(
            severity_number=SeverityNumber.TRACE, context=exchange.context, event_name=_EVENT
        ):
            return None
        return Bodies(list(headers()))
    except Exception as error:
        report("the bodies of a request", error)
        return None


def note_bodies(exchange: Exchange, headers: Callable[[], Iterable[tuple[Any, Any]]]) -> None:
    """Have the exchange note its bodies, where its app asks for that."""
    if settings().bodies:
        exchange.bodies = bodies_of(exchange, headers)


def noting_receive(
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]], bodies: Bodies
) -> Callable[[], Awaitable[MutableMapping[str, Any]]]:
    """An ASGI `receive` by which the application reads its request."""

    async def received() -> MutableMapping[str, Any]:
        message = await receive()
        if message.get("type") == "http.request":
            bodies.read(message.get("body") or b"")
        return message

    return received


def noting_send(
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]], bodies: Bodies
) -> Callable[[MutableMapping[str, Any]], Awaitable[None]]:
    """An ASGI `send` by which the application answers."""

    async def sent(message: MutableMapping[str, Any]) -> None:
        if message.get("type") == "http.response.body":
            bodies.answered(message.get("body") or b"")
        await send(message)

    return sent


def _shown(name: str, noted: _Noted, headers: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    if not noted.length:
        return {}
    kind, charset = _type_of(headers)
    if not kind:
        return {}
    text = _safe(_decoded(noted.data, charset), kind, whole=noted.length == len(noted.data))
    shown = encodable(text).encode()[:_MAX_SHOWN].decode(errors="ignore")
    made: dict[str, Any] = {name: shown}
    if len(shown) < len(text) or noted.length > len(noted.data):
        made[f"{name}.length"] = noted.length
    return made


def _type_of(headers: Iterable[tuple[Any, Any]]) -> tuple[str, str]:
    """The type of a body that is text, and its charset; "" for any other, compressed ones included."""
    kind, charset = "", "utf-8"
    for name, value in headers:
        lowered = _text(name).lower()
        if lowered == "content-encoding" and _text(value).strip().lower() not in {"", "identity"}:
            return "", ""
        if lowered == "content-type":
            kind, _, rest = _text(value).lower().partition(";")
            kind = kind.strip()
            if "charset=" in rest:
                charset = rest.partition("charset=")[2].partition(";")[0].strip(" \"'")
    is_text = kind.startswith("text/") or kind in _TEXTS or kind.endswith(_ENDINGS)
    return (kind, charset) if is_text else ("", "")


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _decoded(data: bytes, charset: str) -> str:
    try:
        return data.decode(charset, "replace")
    except (LookupError, ValueError):  # no such charset, or none of text
        return data.decode(errors="replace")


def _safe(text: str, kind: str, *, whole: bool) -> str:
    """Without secrets: of JSON by what is in it, where all of it is here."""
    if kind == _FORM:
        return redact_form(text)
    if whole and kind.endswith("json"):
        try:
            held = msgspec.json.decode(text)
            safe = redact_value("", held)
            return text if safe is held else msgspec.json.encode(safe).decode()
        except Exception:  # it says that it is, and is not; or is nested too deep
            return redact_message(text)
    return redact_message(text)
