"""What never leaves the process: secrets in URLs, in settings, and in what exceptions say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from bext_otel.text import encodable

__all__ = [
    "REDACTED",
    "SECRET",
    "describe",
    "is_secret",
    "is_secret_parameter",
    "parameter_pattern",
    "redact_details",
    "redact_query",
    "redact_settings",
    "redact_text",
    "redact_url",
    "redact_urls",
]

REDACTED = "REDACTED"
"""What stands for a secret in a URL, as the OpenTelemetry semantic conventions have it."""

SECRET = "***"  # noqa: S105  # the opposite of one
"""What stands for a secret setting."""

# Names are compared in lower case without separators; here, spaces stand where names have some. The
# conventions for `url.full` and `url.query` name AWSAccessKeyId, Signature, sig and X-Goog-Signature; the
# others are what session, OAuth, SAML and cloud URLs carry.
_PARTS = (
    "token",
    "secret",
    "passw",
    "passphrase",
    "pwd",
    "signature",
    "credential",
    "hmac",
    "api key",
    "access key",
    "private key",
    "session id",
    "sess id",
    "saml request",
    "saml response",
    "client assertion",
    "code verifier",
    "x amz",
    "jwt",
    "authorization",
    "cookie",
)
_NAMES = ("sig", "auth", "key", "pass", "sid", "otp", "bearer")
# Secrets as the parameters of a URL (of an OAuth callback, a CAS ticket), anything elsewhere: in a sentence,
# a code is mostly a status.
_PARAMETERS = ("code", "session", "sess", "ticket", "assertion")
_SECRET_PARTS = re.compile("|".join(part.replace(" ", "") for part in _PARTS))
_SECRET_NAMES = frozenset(_NAMES)
_SECRET_PARAMETERS = frozenset(_PARAMETERS)
_SEPARATORS = str.maketrans("", "", "-_. []")
_DELIMITER = re.compile("([&;])")
_AUTHORITY_END = re.compile("[/?#]")
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")

# No scheme is longer, and a bound keeps a long word from being looked at over and over.
_URL_IN_TEXT = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]{0,30}://[^\s\"'<>\\]+")
_QUERY_IN_TEXT = re.compile(r"(?<=[?#])[^\s\"'<>\\?#]*=[^\s\"'<>\\?#]*")
# In running text: what is said of a name, as in `password=...`, `"token": "..."`, `Authorization: Bearer
# ...`; credentials alone.
_NAMED = re.compile(r"([\w.%\-]{1,64})[\"']?\s{0,4}(?:=>|[=:])\s{0,4}")
_SAID = re.compile(
    r"(?:(?:bearer|basic|digest|negotiate|token)\s{1,4})?(?:\"[^\"]*\"?|'[^']*'?|[^\s,;&\"']+)", re.IGNORECASE
)
_CREDENTIAL = re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE)

_MAX_TEXT = 8192
_MAX_DESCRIPTION = 1024


def is_secret(name: str) -> bool:
    """Whether a header, a setting or a detail of this name holds a secret. Errs on the side of yes."""
    flat = _flat(name)
    return flat in _SECRET_NAMES or _SECRET_PARTS.search(flat) is not None


def is_secret_parameter(name: str) -> bool:
    """Whether the parameter of a URL with this name does: all that `is_secret` says, and what is one only
    there, as the `code` of OAuth."""
    return _flat(name) in _SECRET_PARAMETERS or is_secret(name)


def _flat(name: str) -> str:
    if "%" in name or "+" in name:
        name = unquote(name.replace("+", " "))
    return name.lower().translate(_SEPARATORS)


def parameter_pattern() -> str:
    """A secret parameter with its value, as a regular expression that RE2 and Python read alike: what
    `redact_query` looks for, for those who can't call it.

    Names whose letters are percent-encoded it does not see.
    """
    separators = r"(?:[-_. \[\]]|%5[bBdD])*"
    letters = "[^\\s\"'<>?#&;=:/]*"

    def spelled(names: Iterable[str]) -> str:
        return "|".join(name.replace(" ", "[-_.]?") for name in names)

    parts = f"{letters}(?:{spelled(_PARTS)}){letters}"
    whole = f"{separators}(?:{spelled((*_NAMES, *_PARAMETERS))}){separators}"
    return f"(?i)(?:^|[?#&;,(\\s\"'])(?:{parts}|{whole})=[^\\s\"'<>&;#]+"


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


def redact_text(text: str) -> str:
    """A sentence without the secrets that stand in it in a form that says so: in URLs, behind secret names,
    behind `Bearer`; never fails.

    Errs on the side of redacting, as suits what an exception says; a line of a log, where `key=` names many a
    thing, has `redact_urls`.
    """
    text = redact_urls(text)
    if "=" in text or ":" in text:
        text = _redact_said(text)
    return _CREDENTIAL.sub(rf"\1 {REDACTED}", text)


def _redact_said(text: str) -> str:
    """`text` without what it says of secret names. What is said of another name may be such a pair itself."""
    left: list[str] = []
    at = 0
    while (named := _NAMED.search(text, at)) is not None:
        left.append(text[at : named.end()])
        at = named.end()
        # A URL's scheme says nothing of what comes behind it.
        if (
            is_secret(named[1])
            and not text.startswith("//", at)
            and (said := _SAID.match(text, at)) is not None
        ):
            left.append(REDACTED)
            at = said.end()
    return "".join([*left, text[at:]])


def describe(error: BaseException) -> str | None:
    """What an exception says, as the description of a span's status: redacted, at most 1,024 characters; None
    where it says nothing."""
    try:
        return encodable(redact_text(str(error)[:_MAX_TEXT])[:_MAX_DESCRIPTION]) or None
    except Exception:  # a broken __str__ is the application's business
        return None


def redact_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested settings, fit to be shown: secret settings as `***`, URLs without their secrets."""
    return {
        name: SECRET if value and is_secret(str(name)) else _redact_value(value)
        for name, value in settings.items()
    }


def _redact_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return redact_settings(value)
    if isinstance(value, str):
        return redact_url(value) if "://" in value or "@" in value else value
    if isinstance(value, (list, tuple)):
        return [_redact_value(item) for item in value]
    return value


def redact_details(value: Any) -> Any:
    """A copy of what somebody tells of himself, mappings, lists and texts in any depth, fit to be shown: what
    stands under a secret name as `***`, texts as `redact_text` has them. Truth values and None stay."""
    if isinstance(value, Mapping):
        return {
            name: SECRET
            if inner and not isinstance(inner, bool) and is_secret(str(name))
            else redact_details(inner)
            for name, inner in value.items()
        }
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, (list, tuple)):
        return [redact_details(item) for item in value]
    return value
