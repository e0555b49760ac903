"""What a provider is: a row; and a target: one model at one place."""

from collections.abc import Awaitable, Callable, Mapping
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from importlib import import_module
from typing import Any, Literal

import msgspec
from msgspec import Struct

from llm_call.core.domain.errors import BadRequestError, ConfigError
from llm_call.core.domain.profile import DialectName, Profile
from llm_call.core.domain.request import Request
from llm_call.core.providers.auth import Auth, credential_headers
from llm_call.core.transport.base import Endpoint
from llm_call.core.wire.base import Codec, WireRequest
from llm_call.core.wire.openai_chat_server import OpenAIChatServerCodec

TransportName = Literal["http", "local", "process", "litellm"]
Signing = Literal["google", "aws bedrock", "aws bedrock-mantle"]
Tested = Literal["real server", "documented form", "retired"]

DEFAULT_PROXY_URL = "http://localhost:8002"

Signer = Callable[[Endpoint, WireRequest], Awaitable[Endpoint]]
"""What makes a credential for one request: the endpoint with the headers that carry it."""

DIALECTS: Mapping[DialectName, str] = {
    "openai_chat": "OpenAIChatCodec",
    "openai_responses": "OpenAIResponsesCodec",
    "anthropic_messages": "AnthropicMessagesCodec",
    "gemini": "GeminiCodec",
}
"""The dialects, each with the class in the module of `core.wire` that bears its name."""

DIALECT_AUTH: Mapping[DialectName, Auth] = {
    "openai_chat": "bearer",
    "openai_responses": "bearer",
    "anthropic_messages": "x-api-key",
    "gemini": "x-goog-api-key",
}
"""How the vendor of each dialect takes a key."""

DIALECT_PROFILES: Mapping[DialectName, Profile] = {
    # Its native mode refuses schemas whose objects are open; until they are closed on the way, the prompt says it.
    "anthropic_messages": Profile(output_mode="prompted", schema_hint="schema"),
}
"""What holds of the models of a dialect, where a row says nothing."""


@cache
def codec(dialect: DialectName) -> Codec:
    """The codec of `dialect`. Its module is loaded on first use: a process speaks one or two of them."""
    module = import_module(f"llm_call.core.wire.{dialect}")
    made: Codec = getattr(module, DIALECTS[dialect])()
    return made


class Provider(Struct, frozen=True, kw_only=True):
    """A row.

    `patterns` are globs over model names, matched without regard to case; what stands before the first `/` of a
    pattern is cut from the name that goes to the wire, and `renamed` gives some of the rest their name there. A gap in
    `base_url`, like `{region}`, is filled from `places`, from its variables (`core.providers.places`) or from the name:
    of `runpod/pod/model` the pod.

    `credential_env` are the environment variables that may hold the key, the first that is set counts; without any the
    row asks for no key. `auth` is how the key is sent; `None` is as the dialect's vendor takes it. `signing` makes the
    credential of each request where no key is set; such rows take a key as a bearer's. `models`, where not empty, are all there are. `default_model` makes
    the row eligible when no model is named. `profiles` are globs over wire names with what is known of such models, the
    first match counts; then `profile`, then what holds of the dialect. `tested` says against what the row was tried.
    """

    name: str
    patterns: tuple[str, ...]
    base_url: str = ""
    codec: DialectName = "openai_chat"
    transport: TransportName = "http"
    credential_env: tuple[str, ...] = ()
    auth: Auth | None = None
    signing: Signing | None = None
    places: Mapping[str, str] = {}
    models: tuple[str, ...] = ()
    renamed: Mapping[str, str] = {}
    default_model: str | None = None
    profile: Profile | None = None
    profiles: Mapping[str, Profile] = {}
    tested: Tested = "documented form"

    def profile_of(self, model: str) -> Profile:
        """What is known of `model`, which is a wire name."""
        glob = _first_match(tuple(self.profiles), model) if self.profiles else None
        if glob is not None:
            return self.profiles[glob]
        return self.profile or DIALECT_PROFILES.get(self.codec) or _UNKNOWN

    def headers(self, key: str | None) -> dict[str, str]:
        """The headers that carry `key`; none without one.

        Raises:
            ConfigError: It holds characters that no key holds. The message does not show it.
        """
        auth = self.auth or ("bearer" if self.signing else DIALECT_AUTH[self.codec])
        return credential_headers(auth, key)


_UNKNOWN = Profile()


@lru_cache(maxsize=1024)
def _first_match(globs: tuple[str, ...], name: str) -> str | None:
    return next((glob for glob in globs if fnmatchcase(name, glob)), None)


class Target(Struct, frozen=True, kw_only=True):
    """One model at one place: everything that an attempt needs. `name` is what traces show.

    `sign` is asked right before a request leaves, where its credential cannot be a fixed header. `listed`: its
    provider's list prices hold there, since the host is the provider's own.
    """

    name: str
    provider: str
    model: str
    endpoint: Endpoint
    codec: Codec
    transport: TransportName
    profile: Profile = Profile()
    sign: Signer | None = None
    listed: bool = True


def read_request(body: Mapping[str, Any]) -> Request:
    """The canonical request that a body of the OpenAI chat dialect describes.

    Raises:
        ConfigError: It is no such body; the message says where.
    """
    try:
        return OpenAIChatServerCodec().decode_request(msgspec.json.encode(body))[0]
    except BadRequestError as error:
        raise ConfigError(f"the request: {error.message}", hint=error.hint) from error
    except TypeError as error:
        raise ConfigError(f"the request is no JSON: {error}", hint="Use text, numbers, lists and objects.") from error
