"""What the standard variables say of OTLP over HTTP: headers, timeout, compression, certificates. Those of
one signal come before those of all."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Literal
from urllib.parse import unquote

import msgspec

from bext_otel.config import Signal

__all__ = ["HttpSettings", "has_credential_provider", "http_settings"]

_log = logging.getLogger("bext_otel.export")

Compression = Literal["none", "gzip", "deflate"]
_COMPRESSIONS: tuple[Compression, ...] = ("none", "gzip", "deflate")

_TIMEOUT_SECONDS = 10.0
# What HTTP lets a header have (RFC 9110, 5.1 and 5.5).
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NO_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class HttpSettings(msgspec.Struct, frozen=True):
    """How a signal is sent. `headers` are the operator's, by names in lower case. `trusted` is a file, or a
    folder, of the certificates that are trusted; empty for the system's. `client` is the client's
    certificate, `client_key` its key, if that is in another file."""

    headers: Mapping[str, str] = {}
    timeout_seconds: float = _TIMEOUT_SECONDS
    compression: Compression = "none"
    trusted: str = ""
    client: str = ""
    client_key: str = ""


def http_settings(signal: Signal, environ: Mapping[str, str] = os.environ) -> HttpSettings:
    """As the variables say. A header that cannot be sent is one line, without its value, and left out."""

    def named(what: str) -> tuple[str, str]:
        own, general = f"OTEL_EXPORTER_OTLP_{signal.upper()}_{what}", f"OTEL_EXPORTER_OTLP_{what}"
        return (own, environ[own]) if environ.get(own) else (general, environ.get(general, ""))

    # The last two are requests', by which upstream's exporters send; what is said for OTLP holds over them.
    bundles = (named("CERTIFICATE")[1], environ.get("REQUESTS_CA_BUNDLE"), environ.get("CURL_CA_BUNDLE"))
    return HttpSettings(
        dict(_headers(*named("HEADERS"))),
        _timeout(named("TIMEOUT")[1]),
        _compression(named("COMPRESSION")[1]),
        next(filter(None, bundles), ""),
        named("CLIENT_CERTIFICATE")[1],
        named("CLIENT_KEY")[1],
    )


def has_credential_provider(signal: Signal, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether another package is to make the credentials, which it does as a session of requests."""
    return any(
        environ.get(f"OTEL_PYTHON_EXPORTER_OTLP_HTTP_{which}CREDENTIAL_PROVIDER")
        for which in ("", f"{signal.upper()}_")
    )


def _headers(variable: str, given: str) -> Iterator[tuple[str, str]]:
    """`name=value,name=value`; values may be encoded as in URLs."""
    for number, pair in enumerate(given.split(","), 1):
        if not pair.strip():
            continue
        name, mark, value = (unquote(part).strip() for part in pair.partition("="))
        if mark and _NAME.fullmatch(name) and not _NO_VALUE.search(value):
            yield name.lower(), value
        else:
            _log.warning(
                "%s: number %s is no header that can be sent: expected name=value, e.g. api-key=k%%201; "
                "left out",
                variable,
                number,
            )


# What is wrong in these two has been told, and taken out of the environment, when the settings were loaded.


def _timeout(given: str) -> float:
    with suppress(ValueError):
        return max(float(given), 0.001)
    return _TIMEOUT_SECONDS


def _compression(given: str) -> Compression:
    word = given.strip().lower()
    return next((known for known in _COMPRESSIONS if word == known), "none")
