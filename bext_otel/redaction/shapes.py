"""Secrets that are known by what they look like, whatever they are called: keys, tokens, cards.

Each pattern takes time in proportion to the text: what follows a part that repeats cannot be in that part.
"""

from __future__ import annotations

import re
from base64 import b64decode

__all__ = ["is_card", "is_suspect", "redact_shapes"]

# Looking for a few letters in a text that is folded to what secrets have in common costs a tenth of looking
# for them. Once in lower case, with digits as 0 and without what separates groups of them, and one sign for
# all that stands between a name and what is said of it, or in an address; once with letters and digits as
# one, of which every key has a run.
_SAYING = b"=:?<"


def _folded(byte: int) -> int:
    if 48 <= byte <= 57:
        return ord("0")
    return byte + 32 if 65 <= byte <= 90 else ord("=") if byte in _SAYING else byte


_FOLD = bytes(map(_folded, range(256)))
_RUNS = bytes(
    ord("a") if chr(byte).isascii() and (chr(byte).isalnum() or byte == ord("_")) else 32
    for byte in range(256)
)
_SEPARATORS = b" -"
_CARD_DIGITS = "0" * 13
_RUN = "a" * 10
# No secret has a shape in less.
_LEAST = 12

_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r".*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
    re.DOTALL,
)
_JWT = re.compile(r"(?<![A-Za-z0-9])eyJ[\w-]{8,}")
_JWT_REST = re.compile(r"\.[\w-]{2,}[\w.-]*|\.\.[\w.-]+")
_AWS_ID = re.compile(r"(?<![A-Za-z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{12}[A-Z0-9]{4}(?![A-Za-z0-9])")
# What belongs to such an id has no sign of its own, so it is looked for beside one only.
_AWS_SECRET = re.compile(r"(?<![A-Za-z0-9/+])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])")
_KEYS = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}"
    r"|glpat-[\w-]{20,}|xox[abeoprs]-[A-Za-z0-9-]{10,}|[rs]k_(?:live|test)_[A-Za-z0-9]{10,}"
    r"|sk-(?:ant-|proj-)[\w-]{20,}|AIza[\w-]{35}|npm_[A-Za-z0-9]{36}|pypi-[\w-]{40,}|hf_[A-Za-z0-9]{30,}"
    r"|SG\.[\w-]{16,}\.[\w-]{16,})"
)
_BEGINNINGS = re.compile(
    "-----BEGIN|eyJ|AKIA|ASIA|ABIA|ACCA|gh[pousr]_|github_pat_|glpat-|xox[abeoprs]-|[rs]k_(?:live|test)_|sk-(?:ant|proj)-"
    r"|AIza|npm_|pypi-|hf_|SG\."
)
_SCHEME = re.compile(r"\b(bearer|basic)(\s{1,8})([A-Za-z0-9._~+/=-]{6,})", re.IGNORECASE)
_CARD = re.compile(r"(?<![0-9A-Za-z+.])(?<![0-9][ -])[2-6](?:[ -]?[0-9]){12,18}(?![0-9A-Za-z])(?![ .-][0-9])")
# Who issues cards with these first digits, and how long their numbers are (ISO/IEC 7812).
_ISSUERS = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})"
    r"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"
    r"|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|35(?:2[89]|[3-8][0-9])[0-9]{12}"
    r"|6(?:011|4[4-9][0-9]|5[0-9]{2})[0-9]{12}(?:[0-9]{3})?|62[0-9]{14}(?:[0-9]{3})?"
    r"|(?:50|5[6-9]|6[0-9])[0-9]{14}"
)
_WORDLIKE = 20


def is_suspect(text: str) -> bool:
    """May there be a secret in `text`, by its looks or by what is said? No false no, a few false yes."""
    if len(text) < _LEAST:
        return "=" in text or ":" in text or "?" in text
    written = text.encode("latin-1", "ignore")
    # Text again, in which letters are found ten times as fast as in bytes.
    folded = written.translate(_FOLD, _SEPARATORS).decode("latin-1")
    return (
        "=" in folded
        or _CARD_DIGITS in folded
        or "earer" in folded
        or "basic" in folded
        or (_RUN in written.translate(_RUNS).decode("latin-1") and _BEGINNINGS.search(text) is not None)
    )


def redact_shapes(text: str) -> str:
    """`text` with each such secret replaced by a marker that says what it was, as `REDACTED[jwt]`."""
    if "-----BEGIN" in text:
        text = _PRIVATE_KEY.sub("REDACTED[private-key]", text)
    if "eyJ" in text:
        text = _without_jwts(text)
    if "KIA" in text or "SIA" in text or "BIA" in text or "CCA" in text:
        without = _AWS_ID.sub("REDACTED[aws-key]", text)
        if without is not text and without != text:
            text = _AWS_SECRET.sub(_aws_secret, without)
    text = _KEYS.sub("REDACTED[api-key]", text)
    folded = text.lower()
    if "bearer" in folded or "basic" in folded:
        text = _SCHEME.sub(_credential, text)
    if any(map(str.isdigit, text)):
        text = _CARD.sub(_card, text)
    return text


def is_card(digits: str) -> bool:
    """Whether these digits are the number of a payment card: by who issues such numbers, their length, and
    the check digit (Luhn)."""
    if _ISSUERS.fullmatch(digits) is None:
        return False
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) << (place & 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _without_jwts(text: str) -> str:
    left: list[str] = []
    at = begun = 0
    # By hand, so that a long run of letters is looked at once, however often a token might begin in it.
    while (found := _JWT.search(text, at)) is not None:
        rest = _JWT_REST.match(text, found.end())
        at = found.end() if rest is None else rest.end()
        if rest is not None:
            left += text[begun : found.start()], "REDACTED[jwt]"
            begun = at
    return "".join([*left, text[begun:]]) if left else text


def _aws_secret(found: re.Match[str]) -> str:
    word = found[0]
    is_mixed = any(map(str.isupper, word)) and any(map(str.islower, word)) and any(map(str.isdigit, word))
    return "REDACTED[aws-key]" if is_mixed else word


def _credential(found: re.Match[str]) -> str:
    scheme, blank, word = found.groups()
    is_secret = _looks_basic(word) if scheme.lower() == "basic" else _looks_random(word)
    return f"{scheme}{blank}REDACTED" if is_secret else found[0]


def _looks_basic(word: str) -> bool:
    """Base64 of `user:password`, not the word behind it in a sentence."""
    try:
        return b":" in b64decode(word + "=" * (-len(word) % 4))
    except ValueError:
        return False


def _looks_random(word: str) -> bool:
    word = word.rstrip(".")
    return len(word) >= _WORDLIKE or any(not (each.isalpha() or each == "-") for each in word)


def _card(found: re.Match[str]) -> str:
    digits = found[0].replace(" ", "").replace("-", "")
    return "REDACTED[card]" if is_card(digits) else found[0]
