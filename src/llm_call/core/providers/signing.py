"""Credentials that are made for each request, where a key in a header will not do."""

import importlib.util
from collections.abc import Mapping

from llm_call.core.domain.errors import ConfigError, MissingCredentialError
from llm_call.core.providers.places import PLACES, known_place
from llm_call.core.providers.registry import Provider, Signer, Signing

_LIBRARIES: Mapping[Signing, tuple[str, str]] = {
    "google": ("google.auth", "vertex"),
    "aws bedrock": ("botocore", "bedrock"),
    "aws bedrock-mantle": ("botocore", "bedrock"),
}
"""The library behind each way, and the extra that installs it."""


def can_sign(signing: Signing) -> bool:
    """Whether the library behind `signing` is installed. Nothing is imported, but for a namespace."""
    try:
        return importlib.util.find_spec(_LIBRARIES[signing][0]) is not None
    except ModuleNotFoundError:  # the namespace that it would stand in is missing
        return False


def extra(signing: Signing) -> str:
    """The extra that installs the library behind `signing`."""
    return _LIBRARIES[signing][1]


def signer(row: Provider, places: Mapping[str, str], variables: Mapping[str, str]) -> Signer:
    """What signs the requests to `row`, which has a way of signing; `places` are those of its URL.

    Raises:
        MissingCredentialError: The library behind it is not installed.
        ConfigError: The region is missing.
    """
    if row.signing is None or not can_sign(row.signing):
        raise _not_installed(row)
    if row.signing == "google":
        from llm_call.core.providers.google import GoogleSigner  # noqa: PLC0415  (an optional extra)

        return GoogleSigner()
    region = places.get("region") or known_place(row, "region", variables)
    if not region:
        raise ConfigError(f"{row.name} needs a region", hint=f"Set {' or '.join(PLACES['region'].variables)}.")
    from llm_call.core.providers.aws import AwsSigner  # noqa: PLC0415  (an optional extra)

    return AwsSigner(service=row.signing.removeprefix("aws "), region=region)


def _not_installed(row: Provider) -> MissingCredentialError:
    names = " or ".join(row.credential_env)
    install = f'pip install "llm-call[{extra(row.signing)}]"' if row.signing else ""
    hint = f"Set {names}, or, for the credentials of the machine: {install}"
    return MissingCredentialError(f"{row.name} needs a credential", hint=hint)
