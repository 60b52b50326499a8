"""Sends requests over HTTP to one server, over a connection that is kept, each within a deadline.

`requests` takes sixty milliseconds to import, and its time limit starts anew with each byte that arrives.
"""

from __future__ import annotations

import io
import os
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from bext_otel.export.proxies import Proxy, basic, proxy_for

__all__ = ["MAX_ANSWER", "Answer", "HttpClient", "UnsentError"]

MAX_ANSWER = 4 << 20
"""Bytes of an answer that are read at most (OTLP specification)."""

_CHUNK = 65_536
# Characters of a path and a query that go as they are.
_PLAIN = "!#$%&'()*+,/:;=?@[]~"


class Answer(msgspec.Struct, frozen=True):
    """What a server answered. `headers` are known by names in lower case; `body` is empty where it is longer
    than `MAX_ANSWER`."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes


class UnsentError(Exception):
    """There is no answer: `cause` in a word, and the text for people."""

    def __init__(self, cause: str, reason: str) -> None:
        super().__init__(reason)
        self.cause = cause


class _Until:
    """Reads a socket that has until `deadline` (monotonic seconds), for as long as it has anything to say."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline

    def makefile(self, *_: Any) -> io.BufferedReader:
        """As an HTTPResponse asks a socket for."""
        return io.BufferedReader(_Reader(self._sock, self._deadline))


class _Reader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline
        # Holds the socket open, whose connection lets go of it while the answer is still read.
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_left(self._deadline))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


class HttpClient:
    """POSTs to `url`. `trusted` is a file or a folder of certificates, empty for those of the system;
    `client` and `client_key` are files of the client's own certificate.

    One thread at a time. Raises OSError or ValueError where a file cannot be read or the proxy cannot be
    used.
    """

    def __init__(self, url: str, *, trusted: str = "", client: str = "", client_key: str = "") -> None:
        import_module("encodings.idna")  # which a first request would import, in the middle of a fork perhaps
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port
        self._is_https = parts.scheme == "https"
        self._proxy = proxy_for(url)
        self._path = quote(parts.path or "/", _PLAIN) + (
            f"?{quote(parts.query, _PLAIN)}" if parts.query else ""
        )
        self._headers = {"accept-encoding": "identity"}
        if own := basic(parts.username, parts.password):
            self._headers["authorization"] = own
        if self._proxy is not None and not self._is_https:
            netloc = parts.netloc.rpartition("@")[2]
            self._path = f"http://{netloc}{self._path}"
            if self._proxy.authorization:
                self._headers["proxy-authorization"] = self._proxy.authorization
        self._trusted, self._client, self._client_key = trusted, client, client_key
        self._context: tuple[object, ssl.SSLContext] | None = None
        if self._is_https:
            self._tls()
        self._connection: HTTPConnection | None = None

    def post(self, content: bytes, headers: Mapping[str, str], *, seconds: float) -> Answer:
        """Send `content`, and read the answer, within so many seconds. Redirects are answers.

        Raises UnsentError where none came.
        """
        deadline = time.monotonic() + seconds
        kept, self._connection = self._connection, None
        if kept is not None:
            try:
                return self._exchange(kept, content, headers, deadline)
            except TimeoutError as error:
                raise _unsent(error) from error
            except (OSError, HTTPException):
                pass  # the server has closed it meanwhile
        connection = self._connect(deadline)
        try:
            return self._exchange(connection, content, headers, deadline)
        except (OSError, HTTPException) as error:
            raise _unsent(error) from error

    def close(self) -> None:
        """Let go of the connection; the next request makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def __del__(self) -> None:
        # A forked child has its parent's: what it closes is its own end of it.
        with suppress(Exception):
            self.close()

    def _connect(self, deadline: float) -> HTTPConnection:
        try:
            sock = self._open(deadline)
        except TimeoutError as error:
            raise UnsentError("ConnectTimeout", "no connection in time") from error
        except (OSError, HTTPException) as error:
            raise _unsent(error, through=self._proxy) from error
        connection: HTTPConnection = (
            HTTPSConnection(self._host, self._port, context=self._tls())
            if self._is_https
            else HTTPConnection(self._host, self._port)
        )
        connection.sock, connection.auto_open = sock, 0
        connection.debuglevel = 0  # an application may have set it for all of its own
        return connection

    def _open(self, deadline: float) -> socket.socket:
        own = self._port or (443 if self._is_https else 80)
        place = (self._host, own) if self._proxy is None else (self._proxy.host, self._proxy.port)
        sock = _connected(*place, deadline)
        try:
            if not self._is_https:
                return sock
            if self._proxy is not None:
                self._tunnel(sock, own, self._proxy.authorization, deadline)
            sock.settimeout(_left(deadline))
            return self._tls().wrap_socket(sock, server_hostname=self._host)
        except BaseException:
            sock.close()
            raise

    def _tunnel(self, sock: socket.socket, port: int, authorization: str, deadline: float) -> None:
        host = f"[{self._host}]" if ":" in self._host else self._host.encode("idna").decode()
        said = f"Proxy-Authorization: {authorization}\r\n" if authorization else ""
        sock.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{said}\r\n".encode())
        with _response(deadline, sock, method="CONNECT") as answer:
            answer.begin()
        if answer.status != 200:
            raise OSError(f"the proxy answers {answer.status} {answer.reason}")

    def _exchange(
        self, connection: HTTPConnection, content: bytes, headers: Mapping[str, str], deadline: float
    ) -> Answer:
        """Keeps the connection where another request may follow; closes it where this one fails."""
        connection.response_class = partial(_response, deadline)  # type: ignore[assignment]  # one is made by calling it
        try:
            connection.putrequest("POST", self._path, skip_host="host" in headers, skip_accept_encoding=True)
            for name, value in {**self._headers, "content-length": str(len(content)), **headers}.items():
                connection.putheader(name, value if value.isascii() else value.encode())
            with suppress(
                BrokenPipeError, ConnectionResetError
            ):  # who refuses may answer before it has read all
                _send(connection, content, deadline)
            response = connection.getresponse()
            body = _body(response)
        except BaseException:
            connection.close()
            raise
        if body is None or response.will_close:
            response.close()
            connection.close()
        else:
            self._connection = connection
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, response.reason, names, body or b"")

    def _tls(self) -> ssl.SSLContext:
        """Made anew when a file of it has changed, as those of short-lived certificates do."""
        files = [name for name in (self._trusted, self._client, self._client_key) if name]
        state = [(each.st_mtime_ns, each.st_size, each.st_ino) for each in map(os.stat, files)]
        if self._context is None or self._context[0] != state:
            self._context = state, self._new_tls()
        return self._context[1]

    def _new_tls(self) -> ssl.SSLContext:
        if not self._trusted:
            context = ssl.create_default_context(cafile=_packaged_certificates())
        elif Path(self._trusted).is_dir():
            context = ssl.create_default_context(capath=self._trusted)
        else:
            context = ssl.create_default_context(cafile=self._trusted)
        context.set_alpn_protocols(["http/1.1"])
        if self._client:
            context.load_cert_chain(self._client, self._client_key or None)
        return context


def _packaged_certificates() -> str | None:
    """Those of certifi, where it is installed and the system has none; None for the system's."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile or (paths.capath and any(os.scandir(paths.capath))):
        return None
    try:
        found: str = import_module("certifi").where()
    except ImportError:
        return None
    return found


def _connected(host: str, port: int, deadline: float) -> socket.socket:
    """A socket to the first address that takes it, all of them in time."""
    failed: OSError | None = None
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM):
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError as error:  # a family that this system has not
            failed = error
            continue
        try:
            sock.settimeout(_left(deadline))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            failed = error
        else:
            return sock
    raise failed or OSError(f"{host} has no address")


def _send(connection: HTTPConnection, content: bytes, deadline: float) -> None:
    connection.sock.settimeout(_left(deadline))
    connection.endheaders()
    for start in range(0, len(content), _CHUNK):
        connection.sock.settimeout(_left(deadline))
        connection.send(content[start : start + _CHUNK])


def _response(deadline: float, sock: socket.socket, *args: Any, **kwargs: Any) -> HTTPResponse:
    held: Any = _Until(sock, deadline)
    return HTTPResponse(held, *args, **kwargs)


def _body(response: HTTPResponse) -> bytes | None:
    """The body; None of one that does not come to its end, or is longer than anybody need read. The status
    has said already what became of the request."""
    body = bytearray()
    try:
        while chunk := response.read(_CHUNK):
            body += chunk
            if len(body) > MAX_ANSWER:
                return None
    except (OSError, HTTPException):
        return None
    return bytes(body)


def _unsent(error: Exception, *, through: Proxy | None = None) -> UnsentError:
    """By the words that these causes have had since requests sent."""
    if isinstance(error, TimeoutError):
        return UnsentError("ReadTimeout", "no answer in time")
    cause = "SSLError" if isinstance(error, ssl.SSLError) else "ProxyError" if through else "ConnectionError"
    return UnsentError(cause, str(error) or type(error).__name__)
