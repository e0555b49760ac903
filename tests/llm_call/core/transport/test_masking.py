import string
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from llm_call.core.transport.masking import HIDDEN, Secrets, secrets_of, without_keys
from llm_call.testing import strategies

KEYS = st.text(string.ascii_letters + string.digits + string.punctuation, min_size=8, max_size=30)


def escaped(text: str) -> bytes:
    return msgspec.json.encode(text)[1:-1]


@given(KEYS, strategies.texts(), strategies.texts(), st.data())
def test_a_known_secret_is_hidden_wherever_the_pieces_are_cut(key: str, before: str, after: str, data: Any) -> None:
    assume(key not in HIDDEN)
    body = before.encode() + key.encode() + b" " + escaped(key) + after.encode()
    pieces = data.draw(strategies.cuts(body))
    shown = Secrets([key]).pieces(pieces)
    assert len(shown) == len(pieces)
    assert key.encode() not in b"".join(shown)
    assert escaped(key) not in b"".join(shown)


@given(st.lists(st.binary(max_size=9)))
def test_pieces_without_a_secret_stay_as_they_are(pieces: list[bytes]) -> None:
    assert Secrets(["not-in-there"]).pieces(pieces) == pieces


@given(KEYS, strategies.json_values())
def test_a_known_secret_is_hidden_in_keys_and_values(key: str, value: Any) -> None:
    assume(key not in HIDDEN)
    shown = Secrets([key]).value({key: [f"x{key}", value], "x": value})
    assert key.encode() not in msgspec.json.encode(shown)
    assert key not in str(shown)


@pytest.mark.parametrize(
    "text",
    [
        "sk-proj-abcdefghijklmnop1234",
        "AIzaSyA1234567890abcdefghijklmnopqrstu",
        "ghp_abcdefghijklmnop1234",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3.SflKxwRJSMeKKF2QT4",
    ],
)
def test_what_looks_like_a_key_is_hidden(text: str) -> None:
    assert Secrets().text(f"my key: {text}, yes") == f"my key: {HIDDEN}, yes"


@pytest.mark.parametrize("text", ["risk-assessment-of-everything", "a short sk-1", "task_force_of_many_people"])
def test_ordinary_words_are_not(text: str) -> None:
    assert Secrets(["short"]).text(text) == text


def test_the_secrets_of_a_place_are_found() -> None:
    headers = {"authorization": "Bearer abcdefgh", "x-model-type": "text-general", "x-own": "mine-mine"}
    found = secrets_of("https://me:my%20password@host/v1?api-key=querykey&version=2024-01-01", headers)
    assert {"abcdefgh", "my password", "querykey", "mine-mine"} <= found
    assert not found & {"text-general", "2024-01-01"}


def test_a_query_keeps_what_is_no_key() -> None:
    assert without_keys("key=abc&alt=sse&api-version=1") == f"key={HIDDEN}&alt=sse&api-version=1"
