"""Application default credentials for real: a generated service-account key, and a token server on 127.0.0.1."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from llm_call.core.client import Client
from llm_call.core.domain.errors import ConnectionFailedError, MissingCredentialError
from llm_call.core.providers.google import GoogleSigner
from llm_call.core.providers.user_rows import user_rows
from llm_call.core.router import Router
from llm_call.core.transport.base import Endpoint
from llm_call.core.wire.base import WireRequest
from llm_call.testing.servers import Behaviour, FaultServer, Received, respond

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ANSWER = json.dumps(
    {"candidates": [{"content": {"role": "model", "parts": [{"text": "hello"}]}, "finishReason": "STOP"}]}
).encode()
PLACES = {"GOOGLE_CLOUD_PROJECT": "mine", "GOOGLE_CLOUD_LOCATION": "us-central1"}


def token(name: str, seconds: int = 3600) -> Behaviour:
    return respond(json.dumps({"access_token": name, "expires_in": seconds, "token_type": "Bearer"}).encode())


def account(folder: Path, server: FaultServer) -> Path:
    pem = KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    file = folder / "account.json"
    file.write_text(
        json.dumps(
            {
                "type": "service_account",
                "project_id": "mine",
                "private_key_id": "1",
                "private_key": pem,
                "client_email": "tester@mine.iam.gserviceaccount.com",
                "token_uri": f"{server.url}/token",
            }
        ),
        encoding="utf-8",
    )
    return file


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")  # nobody asks whether this is a machine of Google's


def signed(signer: GoogleSigner) -> str:
    request = WireRequest(path="/x", body=b"")
    return asyncio.run(signer(Endpoint(base_url="http://localhost:1"), request)).headers["authorization"]


def claims(request: Received) -> dict[str, Any]:
    """What the assertion says, when its signature is that of the account."""
    form = parse_qs(request.body.decode())
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    head, body, signature = (
        base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in form["assertion"][0].split(".")
    )
    said = ".".join(form["assertion"][0].split(".")[:2]).encode()
    KEY.public_key().verify(signature, said, padding.PKCS1v15(), hashes.SHA256())
    assert json.loads(head)["alg"] == "RS256"
    found: dict[str, Any] = json.loads(body)
    return found


def test_a_call_fetches_a_token_and_carries_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with FaultServer([token("first")]) as tokens, FaultServer([respond(ANSWER)]) as vertex:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(account(tmp_path, tokens)))
        path = "/v1/projects/{project}/locations/{location}/publishers/google"
        rows = user_rows({"vertex": {"base_url": f"{vertex.url}{path}"}})
        client = Client(router=Router(rows=rows, places=PLACES))
        for _ in range(2):
            assert client.ask_sync("hi", model="vertex/gemini-x").value == "hello"
    assert len(tokens.requests) == 1
    said = claims(tokens.requests[0])
    assert said["iss"] == "tester@mine.iam.gserviceaccount.com"
    assert said["scope"] == "https://www.googleapis.com/auth/cloud-platform"
    for sent in vertex.requests:
        assert sent.headers["authorization"] == "Bearer first"
        assert sent.path == "/v1/projects/mine/locations/us-central1/publishers/google/models/gemini-x:generateContent"


def test_a_token_that_is_about_to_expire_is_fetched_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with FaultServer([token("first", seconds=60), token("second")]) as tokens:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(account(tmp_path, tokens)))
        signer = GoogleSigner()
        assert [signed(signer), signed(signer), signed(signer)] == ["Bearer first", "Bearer second", "Bearer second"]
    assert len(tokens.requests) == 2


def test_many_calls_at_once_fetch_one_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def many() -> set[str]:
        signer, endpoint = GoogleSigner(), Endpoint(base_url="http://localhost:1")
        found = await asyncio.gather(*(signer(endpoint, WireRequest(path="/x", body=b"")) for _ in range(20)))
        return {each.headers["authorization"] for each in found}

    with FaultServer([token("first"), token("second")]) as tokens:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(account(tmp_path, tokens)))
        assert asyncio.run(many()) == {"Bearer first"}
    assert len(tokens.requests) == 1


def test_an_account_that_is_refused_is_our_error_and_shows_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refusal = respond(b'{"error": "invalid_grant", "error_description": "sk-secret"}', status=400)
    with FaultServer([refusal]) as tokens:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(account(tmp_path, tokens)))
        with pytest.raises(MissingCredentialError, match="RefreshError") as caught:
            signed(GoogleSigner())
    assert "sk-secret" not in str(caught.value)


def test_a_token_server_that_is_not_there_is_a_failed_connection(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with FaultServer([token("first")]) as tokens:
        file = account(tmp_path, tokens)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    with pytest.raises(ConnectionFailedError):
        signed(GoogleSigner())


def test_without_credentials_the_error_says_what_to_do() -> None:
    with pytest.raises(MissingCredentialError) as caught:
        signed(GoogleSigner())
    assert "gcloud auth application-default login" in caught.value.hint


def test_a_token_of_the_environment_goes_as_it_is() -> None:
    router = Router(credentials={"CLOUDSDK_AUTH_ACCESS_TOKEN": "mine"}, places=PLACES)
    target = router.resolve("vertex/gemini-x")
    assert target.endpoint.headers == {"authorization": "Bearer mine"}
    assert target.sign is None
