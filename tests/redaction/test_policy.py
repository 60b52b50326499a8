"""One policy for every signal."""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.semconv import attributes
from opentelemetry.semconv._incubating import attributes as incubating

from bext_otel.logs.values import plain_fields
from bext_otel.redaction import is_secret_field, redact_attributes, redact_body, redact_value, use_policy
from tests.redaction.secrets import CARDS, left, secret_names, shaped, words

plain_words = st.sampled_from(
    ["placed", "u-48151623", "EUR", "/products/chair", "GET", "4711", "müsli", "a b c"]
)


@given(
    shaped,
    st.sampled_from(["{}", "got {} from it", "x={}, y=2", '{{"v": "{}"}}', "[{}]", "({})", "a\n{}\nb"]),
)
def test_a_secret_that_is_known_by_its_looks_is_never_said(secret: str, form: str) -> None:
    assert left(secret) not in redact_body(form.format(secret))


@given(secret_names, words)
@pytest.mark.parametrize(
    "form", ["{}={}", "{}: {}", '{{"{}": "{}", "n": 1}}', "{{'{}': '{}'}}", '{{\\"{}\\": \\"{}\\"}}']
)
def test_what_is_said_of_a_secrets_name_is_never_said(form: str, name: str, secret: str) -> None:
    if not (form == "{}: {}" and name in {"session", "card"}):  # of those a sentence says how they are
        assert secret not in redact_body("before " + form.format(name, secret) + " after")


@pytest.mark.parametrize("text", ["{token:hunter2}", "<token:pathhunter2>", "{password:path-hunter2}"])
def test_what_is_no_type_of_a_parameter_is_said_of_its_name(text: str) -> None:
    assert "hunter2" not in redact_body(text)


def inside(secret: Any) -> st.SearchStrategy[Any]:
    """A value with `secret` somewhere in it, in any depth."""
    return st.recursive(
        st.just(secret),
        lambda inner: st.one_of(
            inner.map(lambda value: {"a": value, "n": 1}),
            inner.map(lambda value: [1, value]),
            inner.map(lambda v: (v,)),
        ),
        max_leaves=3,
    )


@given(st.data())
def test_no_planted_secret_comes_out_of_fields(data: st.DataObject) -> None:
    """By its looks anywhere, by its name in any depth; in lines and in attributes."""
    shape, word, name = data.draw(shaped), data.draw(words), data.draw(secret_names)
    fields = {
        "free": data.draw(inside(shape)),
        "deep": data.draw(inside({name: word, "ok": True})),
        name: word,
    }
    for made in (plain_fields(fields), redact_attributes(fields)):
        text = json.dumps(made, ensure_ascii=False)
        assert left(shape) not in text
        assert word not in text
        assert set(fields) == set(made)


@given(
    st.dictionaries(
        st.sampled_from(
            ["user", "cart", "total", "input_tokens", "token_type", "session_count", "key", "author"]
        ),
        plain_words
        | st.integers(-(10**11), 10**11)
        | st.booleans()
        | st.none()
        | st.lists(plain_words, max_size=2),
    ),
    plain_words,
)
def test_what_is_no_secret_is_as_it_was(fields: dict[str, Any], message: str) -> None:
    assert fields == plain_fields(fields) == redact_attributes(fields)
    assert message == redact_body(message)


@pytest.mark.parametrize(
    "text",
    [
        *("status: ok", "session: expired", "card: declined", "auth: user logged in", "basic authentication"),
        *("prompt_tokens=12", "token_type: bearer", "the key of cache:products:1", "2026-12-01 08:07:30.123"),
        *(
            "SELECT * FROM users WHERE password = %s AND token = ?",
            "order 1234567890123456",
            "bearer certificate",
        ),
        *("4bf92f3577b34da6a3ce929d0e0e4736", "f47ac10b-58cc-4372-a567-0e02b2c3d479", "0.4111111111111111"),
        *("4111111111111112", "1764576450123456789", "+4915112345678", "Asia/Tokyo", "ghost town", "a.b.c"),
        *(
            "eyJ is how it begins",
            "AKIA is four letters",
            "https://x.example/a?b=c#d",
            "key=value",
            "pass: 3",
        ),
        *("GET /files/{token:path}", "/reset/<token:str>", "/pw/<password:int(min=3)>"),
    ],
)
def test_a_sentence_that_only_looks_alike_stays(text: str) -> None:
    assert text == redact_body(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("paid with 4111 1111 1111 1111.", "paid with REDACTED[card]."),
        (
            "AKIAIOSFODNN7EXAMPLE wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "REDACTED[aws-key] REDACTED[aws-key]",
        ),
        ("Cookie: theme=dark; sid=hunter2; x=1", "Cookie: REDACTED"),
        (
            "<login><password>hunter2</password><n>1</n></login>",
            "<login><password>REDACTED</password><n>1</n></login>",
        ),
        ("at https://u:hunter2@x.example/?page=2", "at https://REDACTED:REDACTED@x.example/?page=2"),
        (f"ghp_{'a1' * 18}!", "REDACTED[api-key]!"),
    ],
)
def test_a_marker_says_why_and_not_what(text: str, shown: str) -> None:
    assert shown == redact_body(text)
    assert shown == redact_body(shown)


def test_the_number_of_a_card_is_known_as_a_number_too() -> None:
    for card in CARDS:
        assert (
            {"n": "REDACTED[card]"} == plain_fields({"n": int(card)}) == redact_attributes({"n": int(card)})
        )


def test_values_under_secret_names_are_hidden_whatever_they_are() -> None:
    hidden = "REDACTED[name]"
    assert {
        "password": hidden,
        "pin": hidden,
        "token": None,
        "auth": True,
        "cookies": hidden,
    } == plain_fields(
        {"password": b"hunter2", "pin": 1234, "token": None, "auth": True, "cookies": {"sid": "hunter2"}}
    )
    assert ["REDACTED[name]"] == redact_value("http.request.header.authorization", ["hunter2"])
    assert [["cookie", hidden], ["accept", "*/*"]] == plain_fields(
        {"headers": [(b"cookie", b"hunter2"), (b"accept", b"*/*")]}
    )["headers"]


@pytest.mark.parametrize(
    "name", ["customer_no", "customerNo", "CUSTOMER-NO", "x.customer_no", "iban", "ibanOld"]
)
def test_names_of_the_users_own_are_hidden_whatever_they_are_written_like(name: str) -> None:
    assert "x" == redact_value(name, "x")
    use_policy(names=["customer_no", "iban*"])
    assert is_secret_field(name)
    assert {name: "REDACTED[name]"} == plain_fields({name: "x"}) == redact_attributes({name: "x"})


def test_what_is_allowed_is_left_as_it_is() -> None:
    use_policy(allow=["order_token", "order_no"])
    fields = {"order_token": "abc", "order_no": 4111111111111111, "other": "4111111111111111"}
    assert {**fields, "other": "REDACTED[card]"} == plain_fields(fields) == redact_attributes(fields)


def test_a_callback_may_remove_and_nothing_else() -> None:
    asked: list[tuple[str, Any]] = []

    def callback(name: str, value: Any) -> object:
        asked.append((name, value))
        return "secret plan" in str(value)

    use_policy(callback=callback)
    told = {"plan": {"b": ["the secret plan", 3]}, "password": "hunter2", "n": 1}
    assert {
        "plan": {"b": ["REDACTED[callback]", 3]},
        "password": "REDACTED[name]",
        "n": 1,
    } == redact_attributes(told)
    assert [("plan.b", "the secret plan"), ("plan.b", 3), ("n", 1)] == asked


def test_what_a_callback_fails_for_is_removed_and_told_once() -> None:
    lines: list[str] = []

    def callback(name: str, value: Any) -> object:
        raise ValueError(name)

    use_policy(callback=callback, tell=lines.append)
    assert {"a": "REDACTED[callback]", "b": "REDACTED[callback]"} == redact_attributes({"a": 1, "b": 2})
    assert ["[redaction] callback: ValueError: a; what it fails for is removed"] == lines


@pytest.mark.parametrize("name", ["no.such:thing", "json:no_such", "json:__doc__"])
def test_a_callback_that_is_none_is_told_and_the_rest_holds(name: str) -> None:
    lines: list[str] = []
    use_policy(names=["n"], callback=name, tell=lines.append)
    (line,) = lines
    assert line.startswith(f"[redaction] callback = '{name}': expected module:function")
    assert {"n": "REDACTED[name]"} == redact_attributes({"n": "x"})


def test_a_callback_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("shop_privacy")
    module.hides = lambda name, value: name == "x"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "shop_privacy", module)
    use_policy(callback="shop_privacy:hides")
    assert {"x": "REDACTED[callback]", "y": 1} == redact_attributes({"x": 1, "y": 1})


def test_what_is_remembered_is_bounded() -> None:
    from bext_otel.redaction.policy import CLEAN, STATES

    for number in range(10_000):
        plain_fields({f"name{number}": f"value {number}"})
    assert len(CLEAN) <= 4096
    assert len(STATES) <= 4096


@pytest.mark.parametrize(
    "secret", ["REDACTEDhunter2", "REDACTED[x]hunter2", "***hunter2", "[REDACTED]hunter2"]
)
def test_what_only_begins_like_a_marker_is_hidden(secret: str) -> None:
    assert "REDACTED[name]" == redact_value("password", secret)
    assert "hunter2" not in redact_body(f'"password": "{secret}"')


def test_what_is_hidden_is_hidden_once() -> None:
    for text in ('{"card":"REDACTED[name]","n":1}', "password=REDACTED", '{"token": "[REDACTED]"}'):
        assert text == redact_body(text)


def test_of_the_semantic_conventions_only_ids_of_sessions_are_secrets() -> None:
    """Names of attributes that any instrumentation writes."""
    found = set()
    for package in (attributes, incubating):
        for module in pkgutil.iter_modules(package.__path__):
            values = vars(importlib.import_module(f"{package.__name__}.{module.name}")).values()
            found |= {
                value for value in values if isinstance(value, str) and " " not in value and "." in value
            }
    assert {"session.id", "session.previous_id", "mcp.session.id"} >= {
        name for name in found if is_secret_field(name) and "opentelemetry" not in name
    }
    assert 200 < len(found)


def test_a_name_that_is_a_secret_is_told_no_time() -> None:
    """Neither the first nor the second: who logs what a client has sent logs its names too."""
    key = "ghp_" + "a1B2" * 9
    for _ in range(2):
        assert {"REDACTED[api-key]": 1, "n": 2} == plain_fields({key: 1, "n": 2})
        assert {"REDACTED[api-key]": 1, "n": 2} == redact_attributes({key: 1, "n": 2})


@pytest.mark.parametrize("word", ["unclosed", "Unexpected", "unterminated"])
def test_what_a_parser_says_of_a_token_is_no_secret(word: str) -> None:
    said = f"{word} token: line 1, column 0"
    assert said == redact_body(said)
    assert "abcd1234" not in redact_body(f"the token: abcd1234 {word}")
