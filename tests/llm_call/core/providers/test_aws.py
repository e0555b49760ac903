"""Signature Version 4 over a real connection, checked by a verifier that is written from AWS's description of it."""

import hmac
import json
import re
from hashlib import sha256

import pytest

from llm_call.core.client import Client
from llm_call.core.domain.errors import ConfigError, MissingCredentialError
from llm_call.core.providers.rows import BEDROCK, BEDROCK_CLAUDE
from llm_call.core.providers.user_rows import user_rows
from llm_call.core.router import Router
from llm_call.testing.servers import FaultServer, Received, respond

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
CHAT = json.dumps(
    {
        "id": "c",
        "model": "m",
        "choices": [{"message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    }
).encode()
MESSAGE = json.dumps(
    {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "hello"}],
        "stop_reason": "end_turn",
        "usage": {},
    }
).encode()


def signature(request: Received, secret: str) -> str:
    """The signature that `request` must bear: AWS, "Create a signed AWS API request", steps 1 to 4."""
    found = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=[^/]+/((\d{8})/([^/]+)/([^/]+)/aws4_request), SignedHeaders=(\S+), Signature=\S+",
        request.headers["authorization"],
    )
    assert found is not None
    scope, day, region, service, signed = found.groups()
    path, _, query = request.path.partition("?")
    lines = "".join(f"{name}:{request.headers[name]}\n" for name in signed.split(";"))
    canonical = f"{request.method}\n{path}\n{query}\n{lines}\n{signed}\n{sha256(request.body).hexdigest()}"
    told = f"AWS4-HMAC-SHA256\n{request.headers['x-amz-date']}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request", told):
        key = hmac.digest(key, part.encode(), "sha256")
    return key.hex()


def is_signed(request: Received, secret: str = SECRET) -> bool:
    return request.headers["authorization"].endswith(f"Signature={signature(request, secret)}")


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def ask(server: FaultServer, row: str, path: str, model: str = "m") -> None:
    tables = {row: {"base_url": f"{server.url}{path}", "places": {"region": "eu-west-1"}}}
    client = Client(router=Router(rows=user_rows(tables)))
    assert client.ask_sync("hi", model=f"{row}/{model}").value == "hello"


def test_the_verifier_gives_the_signature_of_the_example_that_aws_publishes() -> None:
    scope = "AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request"
    published = Received(
        method="GET",
        path="/?Action=ListUsers&Version=2010-05-08",
        headers={
            "authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=content-type;host;x-amz-date, Signature=-",
            "content-type": "application/x-www-form-urlencoded; charset=utf-8",
            "host": "iam.amazonaws.com",
            "x-amz-date": "20150830T123600Z",
        },
        body=b"",
    )
    assert signature(published, SECRET) == "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"


@pytest.mark.parametrize(
    ("row", "path", "answer", "service"),
    [
        ("bedrock", "/openai/v1", CHAT, "bedrock"),
        ("bedrockclaude", "/anthropic/v1", MESSAGE, "bedrock-mantle"),
    ],
)
def test_a_request_arrives_with_a_valid_signature(row: str, path: str, answer: bytes, service: str) -> None:
    with FaultServer([respond(answer)]) as server:
        ask(server, row, path)
    sent = server.requests[0]
    assert is_signed(sent)
    assert f"/eu-west-1/{service}/aws4_request" in sent.headers["authorization"]
    assert {"host", "content-type", "x-amz-date"} <= set(
        sent.headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    )
    assert SECRET not in str(sent.headers)


def test_what_was_changed_on_the_way_is_not_signed() -> None:
    with FaultServer([respond(CHAT)]) as server:
        ask(server, "bedrock", "/openai/v1")
    sent = server.requests[0]
    other = Received(method=sent.method, path=sent.path, headers=sent.headers, body=sent.body + b" ")
    assert not is_signed(other)
    assert not is_signed(sent, "another secret")


def test_a_session_token_is_signed_and_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-token")
    with FaultServer([respond(CHAT)]) as server:
        ask(server, "bedrock", "/openai/v1")
    assert server.requests[0].headers["x-amz-security-token"] == "a-token"
    assert is_signed(server.requests[0])


def test_each_attempt_is_signed_anew() -> None:
    with FaultServer([respond(b"{}", status=503, headers={"retry-after": "0"}), respond(CHAT)]) as server:
        ask(server, "bedrock", "/openai/v1")
    assert [is_signed(request) for request in server.requests] == [True, True]


def test_a_bedrock_key_goes_as_a_bearer_token_and_nothing_is_signed() -> None:
    router = Router(credentials={"AWS_BEARER_TOKEN_BEDROCK": "a-key"}, places={"AWS_REGION": "eu-west-1"})
    for model in ("bedrock/openai.gpt-oss-20b", "bedrock/anthropic.claude-haiku-5-5"):
        target = router.resolve(model)
        assert target.endpoint.headers == {"authorization": "Bearer a-key"}
        assert target.sign is None


def test_without_credentials_the_error_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with FaultServer([respond(CHAT)]) as server, pytest.raises(MissingCredentialError) as caught:
        ask(server, "bedrock", "/openai/v1")
    assert "AWS_PROFILE" in caught.value.hint
    assert server.requests == []


def test_a_profile_that_is_not_there_is_our_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with FaultServer([respond(CHAT)]) as server, pytest.raises(MissingCredentialError, match="ProfileNotFound"):
        ask(server, "bedrock", "/openai/v1")


def test_a_region_is_needed_though_the_url_has_none() -> None:
    rows = user_rows({"bedrock": {"base_url": "http://localhost:1/openai/v1"}})
    with pytest.raises(ConfigError) as caught:
        Router(rows=rows).resolve("bedrock/m")
    assert "AWS_REGION" in caught.value.hint


def test_no_signature_leaves_for_another_host() -> None:
    target = Router(places={"AWS_REGION": "eu-west-1"}).resolve("bedrock/m", api_base="http://localhost:9/v1")
    assert target.sign is None
    assert target.endpoint.headers == {}


def test_one_signer_serves_all_calls_of_a_region() -> None:
    router = Router(places={"AWS_REGION": "eu-west-1"})
    assert router.resolve("bedrock/a").sign is router.resolve("bedrock/b").sign
    assert (BEDROCK.signing, BEDROCK_CLAUDE.signing) == ("aws bedrock", "aws bedrock-mantle")
