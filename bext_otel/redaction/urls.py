"""URLs without the secrets that are in them, by the OpenTelemetry semantic conventions for `url.full`."""

from __future__ import annotations

import re

from bext_otel.redaction.names import is_secret_parameter

__all__ = ["REDACTED", "redact_query", "redact_url", "redact_urls"]

REDACTED = "REDACTED"
"""What stands for a secret in a URL, as the OpenTelemetry semantic conventions have it."""

_DELIMITER = re.compile("([&;])")
_AUTHORITY_END = re.compile("[/?#]")
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")

# No scheme is longer, and a bound keeps a long word from being looked at over and over.
_URL_IN_TEXT = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]{0,30}://[^\s\"'<>\\]+")
_QUERY_IN_TEXT = re.compile(r"(?<=[?#])[^\s\"'<>\\?#]*=[^\s\"'<>\\?#]*")


def redact_query(query: str) -> str:
    """A query string with the values of secret parameters replaced by `REDACTED`; names, order and everything
    else stay."""
    if "=" not in query:
        return query
    return "".join([_redact_pair(part) for part in _DELIMITER.split(query)])


def _redact_pair(pair: str) -> str:
    name, equals, value = pair.partition("=")
    return f"{name}={REDACTED}" if equals and value and is_secret_parameter(name) else pair


def redact_url(url: str) -> str:
    """A URL, or something meant to be one, without user, password and secret parameters; never fails.

    By the OpenTelemetry semantic conventions for `url.full`:
    `https://REDACTED:REDACTED@host/path?sig=REDACTED`.
    """
    if "@" in url:
        url = _redact_userinfo(url)
    rest, hash_, fragment = url.partition("#")
    rest, mark, query = rest.partition("?")
    return f"{rest}{mark}{redact_query(query)}{hash_}{redact_query(fragment)}"


def _redact_userinfo(url: str) -> str:
    found = _SCHEME.match(url)
    start = found.end() if found else 2 if url.startswith("//") else 0
    authority = _AUTHORITY_END.split(url[start:], maxsplit=1)[0]
    at = url.rfind("@", start, start + len(authority))
    port = "" if authority.startswith("[") else authority.partition(":")[2]
    if at < 0 and found and port and not port.isdecimal():
        at = url.rfind("@")  # a password with an unescaped "/", "?" or "#", as connection strings have them
    if at < 0:
        return url
    hidden = f"{REDACTED}:{REDACTED}" if ":" in url[start:at] else REDACTED
    return f"{url[:start]}{hidden}{url[at:]}"


def redact_urls(text: str) -> str:
    """Text for people, with the URLs in it as `redact_url` has them, and the query strings of paths without
    secret parameters."""
    if "://" in text:
        text = _URL_IN_TEXT.sub(lambda found: redact_url(found[0]), text)
    if "?" in text and "=" in text:
        text = _QUERY_IN_TEXT.sub(lambda found: redact_query(found[0]), text)
    return text
