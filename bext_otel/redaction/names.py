"""Which names stand for secrets: of fields, settings, headers and the parameters of a URL."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate
from functools import lru_cache
from urllib.parse import unquote

__all__ = ["is_secret", "is_secret_field", "is_secret_parameter", "parameter_pattern", "use_names"]

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

# Of fields: words that tell of a secret wherever they stand in a name (`user_session`, `cardNumber`), and
# names that are one only by themselves. What is a `key` there is mostly that of a cache or of a table.
_FIELD_WORDS = frozenset({"session", "sess", "card", "cvv", "cvc", "ssn", "csrf", "xsrf", "otp"})
_FIELD_NAMES = frozenset({"auth", "sid", "pass", "bearer", "pin"})
_FIELD_PARTS = re.compile("creditcard|cardnumber|cardno|socialsecurity|phpsessid|connectsid")
# What is told about a secret, and is none: `token_type`, `session_duration_ms`, `input_tokens`.
_ABOUT = frozenset(
    {
        "age",
        "arn",
        "at",
        "brand",
        "count",
        "duration",
        "enabled",
        "expires",
        "expiry",
        "expired",
        "kind",
        "length",
    }
    | {"limit", "max", "min", "ms", "name", "pid", "policy", "present", "seconds", "size", "source", "start"}
    | {"started", "state", "status", "tokens", "total", "ttl", "type", "used", "valid", "version"}
)
_WORD = re.compile("[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_MAX_NAME = 256

_own: frozenset[str] = frozenset()
_own_pattern: re.Pattern[str] | None = None
_allowed: frozenset[str] = frozenset()


def use_names(names: Iterable[str] = (), allowed: Iterable[str] = ()) -> None:
    """Take these names for secrets too, wherever names are looked at (`*` stands for anything in them), and
    those that are `allowed` for none."""
    global _own, _own_pattern, _allowed
    given = list(names)
    _own = frozenset(_flat(name) for name in given if "*" not in name)
    patterns = [translate(re.sub(r"\*+", "*", _flat(name))) for name in given if "*" in name]
    _own_pattern = re.compile("|".join(patterns)) if patterns else None
    _allowed = frozenset(map(_flat, allowed))
    for known in (is_secret, is_secret_parameter, is_secret_field):
        known.cache_clear()


def is_own(flat: str) -> bool:
    """Is it one of the user's, by its letters?"""
    return flat in _own or (_own_pattern is not None and _own_pattern.match(flat) is not None)


def is_allowed(name: str) -> bool:
    """Has the user said that nothing under this name is a secret?"""
    return bool(_allowed) and _flat(name) in _allowed


@lru_cache(maxsize=4096)
def is_secret(name: str) -> bool:
    """Whether a header, a setting or a detail of this name holds a secret. Errs on the side of yes."""
    flat = _flat(name)
    if flat in _allowed:
        return False
    return flat in _SECRET_NAMES or _SECRET_PARTS.search(flat) is not None or is_own(flat)


@lru_cache(maxsize=4096)
def is_secret_parameter(name: str) -> bool:
    """Whether the parameter of a URL with this name does: all that `is_secret` says, and what is one only
    there, as the `code` of OAuth."""
    flat = _flat(name)
    return (flat in _SECRET_PARAMETERS and flat not in _allowed) or is_secret(name)


@lru_cache(maxsize=4096)
def is_secret_field(name: str) -> bool:
    """Whether a field of a log line, or an attribute of a span, with this name does. What only tells of a
    secret (`token_type`, `session_duration`) does not."""
    name = name[-_MAX_NAME:]
    flat = _flat(name)
    if flat in _allowed:
        return False
    if is_own(flat) or flat in _FIELD_NAMES or ("." in name and is_own(_flat(name.rpartition(".")[2]))):
        return True
    words = [word.lower() for word in _WORD.findall(name)]
    if words and words[-1] in _ABOUT:
        return False
    return (
        _SECRET_PARTS.search(flat) is not None
        or not _FIELD_WORDS.isdisjoint(words)
        or _FIELD_PARTS.search(flat) is not None
    )


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
