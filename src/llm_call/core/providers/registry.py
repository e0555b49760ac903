"""What a provider is: a row; and a target: one model at one place."""

from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any, Literal

import msgspec
from msgspec import Struct

from llm_call.core.domain.errors import BadRequestError, ConfigError
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import Request
from llm_call.core.providers.auth import Auth
from llm_call.core.transport.base import Endpoint
from llm_call.core.wire.base import Codec, WireRequest
from llm_call.core.wire.openai_chat_server import OpenAIChatServerCodec

TransportName = Literal["http", "local", "process", "litellm"]
DialectName = Literal["openai_chat", "openai_responses", "anthropic_messages", "gemini"]

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


@cache
def codec(dialect: DialectName) -> Codec:
    """The codec of `dialect`. Its module is loaded on first use: a process speaks one or two of them."""
    module = import_module(f"llm_call.core.wire.{dialect}")
    made: Codec = getattr(module, DIALECTS[dialect])()
    return made


class Provider(Struct, frozen=True, kw_only=True):
    """A row.

    A `{}` in `base_url` is taken from the name: of `runpod/pod/model` the pod.

    `patterns` are globs over model names, matched without regard to case; what stands before the first `/` of a
    pattern is cut from the name that goes to the wire. `credential_env` names the environment variable that holds the
    key, `None` asks for none; `auth` is how the key is sent. `models`, where not empty, are all there are. `default_model` makes the row eligible
    when no model is named.
    """

    name: str
    patterns: tuple[str, ...]
    base_url: str = ""
    codec: DialectName = "openai_chat"
    transport: TransportName = "http"
    credential_env: str | None = None
    auth: Auth = "bearer"
    models: tuple[str, ...] = ()
    default_model: str | None = None
    profile: Profile = Profile()


class Target(Struct, frozen=True, kw_only=True):
    """One model at one place: everything that an attempt needs. `name` is what traces show.

    `sign` is asked right before a request leaves, where its credential cannot be a fixed header.
    """

    name: str
    provider: str
    model: str
    endpoint: Endpoint
    codec: Codec
    transport: TransportName
    profile: Profile = Profile()
    sign: Signer | None = None


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
