import importlib.util
from importlib.machinery import ModuleSpec

import pytest

from llm_call.core.domain.errors import MissingCredentialError
from llm_call.core.providers.registry import Provider
from llm_call.core.providers.rows import PROVIDERS
from llm_call.core.providers.signing import can_sign
from llm_call.core.router import Router

SIGNED = [row for row in PROVIDERS if row.signing]
PLACES = {"AWS_REGION": "eu-west-1", "GOOGLE_CLOUD_PROJECT": "mine", "GOOGLE_CLOUD_LOCATION": "global"}


def missing(_: str) -> ModuleSpec | None:
    raise ModuleNotFoundError


@pytest.mark.parametrize("row", SIGNED, ids=lambda row: row.name)
def test_without_the_library_the_error_names_the_key_and_the_extra(
    row: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    signing, key = row.signing, row.credential_env[0]
    assert signing is not None
    extra = "vertex" if signing == "google" else "bedrock"
    for absent in (missing, lambda _: None):
        monkeypatch.setattr(importlib.util, "find_spec", absent)
        assert not can_sign(signing)
        with pytest.raises(MissingCredentialError) as caught:
            Router(places=PLACES).resolve(f"{row.name}/m")
        assert key in caught.value.hint
        assert f'pip install "llm-call[{extra}]"' in caught.value.hint


@pytest.mark.parametrize("row", SIGNED, ids=lambda row: row.name)
def test_with_it_a_target_is_signed_where_no_key_is_set(row: Provider) -> None:
    target = Router(places=PLACES).resolve(f"{row.name}/m")
    assert target.sign is not None
    assert target.endpoint.headers == {}
