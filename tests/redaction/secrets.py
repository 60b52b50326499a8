"""Secrets as they look, and strategies that make some; none of them was ever one."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode

from hypothesis import strategies as st

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

# Those that the networks name for tests.
CARDS = (
    *("4111111111111111", "4012888888881881", "4222222222222", "5555555555554444", "5105105105105100"),
    *("378282246310005", "371449635398431", "6011111111111117", "30569309025904", "3530111333300000"),
    *("2223003122003222", "6304000000000000"),
)


def _jwt(payload: dict[str, str], signature: str) -> str:
    parts = (json.dumps({"alg": "HS256", "typ": "JWT"}), json.dumps(payload), signature)
    return ".".join(urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)


jwts = st.builds(
    _jwt,
    st.fixed_dictionaries({"sub": st.text(LETTERS, max_size=12)}),
    st.text(LETTERS, min_size=8, max_size=32),
)
github_keys = st.builds(
    "{}{}".format,
    st.sampled_from(["ghp_", "gho_", "ghs_", "github_pat_"]),
    st.text(LETTERS, min_size=36, max_size=60),
)
aws_ids = st.builds(
    "{}{}".format,
    st.sampled_from(["AKIA", "ASIA"]),
    st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", min_size=16, max_size=16),
)
private_keys = st.builds(
    "-----BEGIN {0}PRIVATE KEY-----\n{1}\n-----END {0}PRIVATE KEY-----".format,
    st.sampled_from(["", "RSA ", "EC ", "OPENSSH "]),
    st.text(LETTERS + "+/", min_size=64, max_size=400),
)
cards = st.sampled_from(CARDS) | st.sampled_from([card for card in CARDS if len(card) == 16]).flatmap(
    lambda card: st.sampled_from(
        [
            " ".join(card[at : at + 4] for at in range(0, 16, 4)),
            "-".join(card[at : at + 4] for at in range(0, 16, 4)),
        ]
    )
)
bearers = st.text(LETTERS, min_size=20, max_size=60).map("Bearer {}".format)
basics = st.builds(
    lambda user, password: f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}",
    st.text(LETTERS, min_size=1, max_size=10),
    st.text(LETTERS, min_size=6, max_size=20),
)

shaped = st.one_of(jwts, github_keys, aws_ids, private_keys, cards, bearers, basics)
"""Secrets that are known by what they look like."""

words = st.text(LETTERS[:52], min_size=8, max_size=24).map("hunter2{}".format)
"""Secrets that look like nothing."""

secret_names = st.sampled_from(
    (
        *(
            "password",
            "user_password",
            "db_password",
            "passwd",
            "api_key",
            "apiKey",
            "X-API-Key",
            "access_token",
        ),
        *("client_secret", "Authorization", "Cookie", "set-cookie", "session", "user_session", "sessionid"),
        *("card", "card_number", "cvv", "aws_secret_access_key", "private_key", "csrfmiddlewaretoken", "jwt"),
        "http.request.header.cookie",
    )
)


def left(secret: str) -> str:
    """What of a secret must not be seen: what it has beside its scheme, or the marks around it."""
    return (
        secret.split(None, 1)[-1].replace("-----", "")[-12:]
        if " " in secret and "PRIVATE" not in secret
        else (secret[40:60] if "PRIVATE" in secret else secret)
    )
