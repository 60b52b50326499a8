"""What never leaves the process."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bext_otel.redaction import (
    describe,
    is_secret_parameter,
    parameter_pattern,
    redact_details,
    redact_query,
    redact_settings,
    redact_text,
    redact_url,
)

SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        # The examples of the OpenTelemetry semantic conventions for url.full.
        ("https://username:password@www.example.com/", "https://REDACTED:REDACTED@www.example.com/"),
        (
            "https://www.example.com/path?color=blue&sig=s3cr3t",
            "https://www.example.com/path?color=blue&sig=REDACTED",
        ),
        (
            "https://x/?q=OpenTelemetry&X-Goog-Signature=1#top",
            "https://x/?q=OpenTelemetry&X-Goog-Signature=REDACTED#top",
        ),
        ("https://x/?AWSAccessKeyId=1&Signature=2", "https://x/?AWSAccessKeyId=REDACTED&Signature=REDACTED"),
        ("https://user@x/", "https://REDACTED@x/"),
        ("//user:pw@x/y", "//REDACTED:REDACTED@x/y"),
        ("user:pw@x:4317", "REDACTED:REDACTED@x:4317"),
        (
            "postgresql+psycopg://u:p@h:5432/db?sslmode=require",
            "postgresql+psycopg://REDACTED:REDACTED@h:5432/db?sslmode=require",
        ),
        ("https://u:p@ss@x/", "https://REDACTED:REDACTED@x/"),
        ("https://x/@me", "https://x/@me"),
        ("https://x?email=a@b.example", "https://x?email=a@b.example"),
        ("https://x:80/?email=a@b.example", "https://x:80/?email=a@b.example"),
        ("https://[::1]:80/?email=a@b.example", "https://[::1]:80/?email=a@b.example"),
        ("https://[::1]/?email=a@b.example", "https://[::1]/?email=a@b.example"),
        ("postgres://u:p?a/s#s@h/db", "postgres://REDACTED:REDACTED@h/db"),
        ("https://x/callback#access_token=1&state=2", "https://x/callback#access_token=REDACTED&state=2"),
        ("/path?token=1", "/path?token=REDACTED"),
        ("https://x/?a@b=1", "https://x/?a@b=1"),
        ("", ""),
    ],
)
def test_a_url_loses_its_secrets_and_nothing_else(url: str, expected: str) -> None:
    assert expected == redact_url(url)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "token",
            "access_token",
            "refreshToken",
            "id-token",
            "X-Amz-Security-Token",
            "csrfmiddlewaretoken",
            "TOKEN",
        ),
        *(
            "password",
            "passwd",
            "pwd",
            "pass",
            "new_password",
            "secret",
            "client_secret",
            "api_key",
            "apikey",
            "key",
            "X-API-Key",
        ),
        *(
            "sig",
            "signature",
            "X-Amz-Signature",
            "X-Amz-Credential",
            "jwt",
            "auth",
            "Authorization",
            "session_id",
            "SAMLResponse",
        ),
        *("code", "session", "PHPSESSID", "JSESSIONID", "ticket", "hmac", "client_assertion", "SAMLRequest"),
        *("X-Amz-Date", "x-amz-anything", "code_verifier", "CODE"),
        *("%74oken", "user[password]", "tok%65n", "api+key"),
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert f"a=1&{name}=REDACTED&b=2" == redact_query(f"a=1&{name}={SECRET}&b=2")


@pytest.mark.parametrize(
    "name",
    [
        *("q", "page", "author", "keyword", "sigma", "passenger", "monkey", "color", "utm_source", "id", ""),
        *("postcode", "country_code", "sessions", "tickets", "state", "amz"),
    ],
)
def test_names_of_anything_else(name: str) -> None:
    assert f"{name}={SECRET}" == redact_query(f"{name}={SECRET}")


@pytest.mark.parametrize("query", ["", "token", "token=", "=", "&&", "a=1;b=2", "a=b=c&"])
def test_a_query_without_secrets_stays_as_it_is(query: str) -> None:
    assert query == redact_query(query)


def test_a_semicolon_separates_too() -> None:
    assert "a=1;token=REDACTED;b=2" == redact_query("a=1;token=2;b=2")


NAMES = st.sampled_from(["q", "token", "page", "sig", "user[password]", "ключ"])


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.tuples(NAMES, st.text(max_size=20).map(SECRET.__add__)), max_size=6))
def test_no_value_of_a_secret_parameter_survives(pairs: list[tuple[str, str]]) -> None:
    """Whatever the value is, as long as it is encoded; names and order stay."""
    left = parse_qsl(urlsplit(redact_url(f"https://x/?{urlencode(pairs)}")).query, keep_blank_values=True)
    assert [(name, "REDACTED" if is_secret_parameter(name) else value) for name, value in pairs] == left


@settings(deadline=None)  # a busy machine is no failure
@given(st.text() | st.from_regex(r"\A[a-z:/@?#&=;%\[\].+]*\Z"))
@example("http://[::1")
@example("@@//@?#?@")
def test_any_text_is_redacted_once_and_for_all(url: str) -> None:
    once = redact_url(url)
    assert once == redact_url(once)


def test_settings_are_shown_without_secrets() -> None:
    settings = {
        "telemetry": {"token": SECRET, "otlp_endpoint": f"http://u:{SECRET}@collector", "engine": "bext"},
        "database": [{"dsn": f"postgres://u:{SECRET}@h/db", "password": SECRET, "port": 5432}],
        "api_key": "",
        "metrics": {"budgets": {"route": 5}},
    }
    assert {
        "telemetry": {
            "token": "***",
            "otlp_endpoint": "http://REDACTED:REDACTED@collector",
            "engine": "bext",
        },
        "database": [{"dsn": "postgres://REDACTED:REDACTED@h/db", "password": "***", "port": 5432}],
        "api_key": "",
        "metrics": {"budgets": {"route": 5}},
    } == redact_settings(settings)
    assert SECRET == settings["telemetry"]["token"]  # type: ignore[call-overload,index]  # the original stays


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "no answer from postgres://u:hunter2@h/db?sslpassword=hunter2",
            "no answer from postgres://REDACTED:REDACTED@h/db?sslpassword=REDACTED",
        ),
        ("host=h password=hunter2 dbname=d", "host=h password=REDACTED dbname=d"),
        ("password='hunter2 and 3', user=u", "password=REDACTED, user=u"),
        ('{"api_key": "hunter2", "n": 1}', '{"api_key": REDACTED, "n": 1}'),
        ("Authorization: Bearer hunter2.x.y refused", "Authorization: REDACTED refused"),
        ("sent Bearer hunter2.x.y", "sent Bearer REDACTED"),
        ("401 for /items?token=hunter2&page=2", "401 for /items?token=REDACTED&page=2"),
        ("invalid literal for int() with base 10: 'x'", "invalid literal for int() with base 10: 'x'"),
        (
            "see https://docs.example/errors#e12: it is full",
            "see https://docs.example/errors#e12: it is full",
        ),
    ],
)
def test_what_an_exception_says_is_told_without_its_secrets(said: str, shown: str) -> None:
    assert shown == redact_text(said) == describe(RuntimeError(said))


@given(st.text())
def test_any_exception_is_described_in_bounds_and_can_be_exported(said: str) -> None:
    found = describe(ValueError(said * 200))
    assert found is None if not said else len((found or "").encode()) <= 4 * 1024


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize("error", [Mute(), RuntimeError(), RuntimeError("")])
def test_an_exception_that_says_nothing_has_no_description(error: Exception) -> None:
    assert describe(error) is None


def test_a_lone_surrogate_is_replaced() -> None:
    assert "a\N{REPLACEMENT CHARACTER}b" == describe(ValueError("a\ud800b"))


SECRETS = [
    *("token", "access_token", "refreshToken", "id-token", "TOKEN", "password", "passwd", "pwd", "pass"),
    *("new_password", "secret", "client_secret", "api_key", "api-key", "apikey", "key", "X-API-Key", "sig"),
    *("signature", "X-Amz-Signature", "X-Amz-Date", "X-Goog-Signature", "AWSAccessKeyId", "jwt", "auth"),
    *("session_id", "sessionid", "PHPSESSID", "JSESSIONID", "SAMLResponse", "SAMLRequest", "code", "Code"),
    *(
        "session",
        "ticket",
        "hmac",
        "client_assertion",
        "user[password]",
        "user%5Bpassword%5D",
        "code_verifier",
    ),
]
PLAIN = [
    *("q", "page", "author", "keyword", "sigma", "passenger", "monkey", "color", "utm_source", "id"),
    *("postcode", "country_code", "sessions", "tickets", "state", "amz", "encode"),
]


@pytest.mark.parametrize("name", [*SECRETS, *PLAIN])
@pytest.mark.parametrize(
    "form", ["{}={}", "https://x/cb?a=1&{}={}&b=2", "GET /cb?{}={} 200", "a=1;{}={};b=2"]
)
def test_the_collectors_rule_knows_the_names_that_we_know(name: str, form: str) -> None:
    text = form.format(name, SECRET)
    masked = re.sub(parameter_pattern(), "****", text)
    assert (name in SECRETS) == (SECRET not in masked)
    assert (name in SECRETS) == is_secret_parameter(name)
    assert ("b=2" in text) == ("b=2" in masked)


@pytest.mark.parametrize("name", ["agent", "collector"])
def test_the_shipped_collector_files_have_the_one_list(name: str) -> None:
    file = Path(__file__).parent.parent / "collector-config" / f"{name}.yaml"
    shipped = yaml.safe_load(file.read_text())["processors"]["redaction"]["blocked_values"]
    assert parameter_pattern() == shipped[0]


def test_the_collectors_rule_is_of_re2() -> None:
    """RE2 knows neither looking around nor going back, and repeats at most a thousand times."""
    assert [] == re.findall(r"\(\?[=!<]|\\[1-9]|\{\d{4}", parameter_pattern())


def test_what_is_a_code_elsewhere_stays() -> None:
    assert "exit code: 1, status code=404" == redact_text("exit code: 1, status code=404")
    assert "https://x/?code=REDACTED" == redact_text("https://x/?code=4/0Ab")


def test_details_are_shown_without_secrets_in_any_depth() -> None:
    told = {
        "password": SECRET,
        "dsn": f"host=db user=shop password={SECRET}",
        "nested": [{"url": f"postgres://u:{SECRET}@db/x", "api_key": SECRET}],
        "token": None,
        "auth": True,
        "code": 200,
        "rows": 3,
    }
    shown = redact_details(told)
    assert SECRET not in str(shown)
    assert (None, True, 200, 3) == (shown["token"], shown["auth"], shown["code"], shown["rows"])
    assert "host=db user=shop password=REDACTED" == shown["dsn"]
