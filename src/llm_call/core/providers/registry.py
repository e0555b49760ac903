"""The rows. Adding a provider that speaks a known dialect is one row; every list of providers is made from them."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from llm_call.core.domain.errors import BadRequestError, ConfigError
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import Request
from llm_call.core.transport.base import Endpoint
from llm_call.core.transport.model_file import PACKAGED_MODEL, model_name
from llm_call.core.wire.base import Codec
from llm_call.core.wire.openai_chat import OpenAIChatCodec
from llm_call.core.wire.openai_chat_server import OpenAIChatServerCodec

TransportName = Literal["http", "local", "process"]
DialectName = Literal["openai_chat"]

DEFAULT_PROXY_URL = "http://localhost:8002"

CODECS: dict[DialectName, Codec] = {"openai_chat": OpenAIChatCodec()}


class Provider(Struct, frozen=True, kw_only=True):
    """A row.

    `patterns` are globs over model names, matched without regard to case; what stands before the first `/` of a
    pattern is cut from the name that goes to the wire. `credential_env` names the environment variable that holds the
    key; `None` asks for none. `models`, where not empty, are all there are. `default_model` makes the row eligible
    when no model is named.
    """

    name: str
    patterns: tuple[str, ...]
    base_url: str = ""
    codec: DialectName = "openai_chat"
    transport: TransportName = "http"
    credential_env: str | None = None
    models: tuple[str, ...] = ()
    default_model: str | None = None
    profile: Profile = Profile()


class Target(Struct, frozen=True, kw_only=True):
    """One model at one place: everything that an attempt needs. `name` is what traces show."""

    name: str
    provider: str
    model: str
    endpoint: Endpoint
    codec: Codec
    transport: TransportName
    profile: Profile = Profile()


# JSON Schema keywords that llama.cpp's grammar passes over in silence (its release of October 2026, each tried).
LLAMA_CPP_IGNORES = (
    *("not", "if", "then", "else", "contains", "minContains", "maxContains"),
    *("uniqueItems", "unevaluatedItems", "patternProperties", "propertyNames", "minProperties", "maxProperties"),
    *("dependentRequired", "dependentSchemas", "unevaluatedProperties", "multipleOf"),
)

CLAUDE_PROXY = Provider(
    name="claude_proxy",
    patterns=("max", "max/*", "claude/max/*", "claude-code/max/*"),
    base_url=DEFAULT_PROXY_URL,
    transport="process",
)
LOCAL = Provider(
    name="local",
    patterns=("local/*",),
    base_url="in-process",
    transport="local",
    models=(PACKAGED_MODEL,),
    default_model=PACKAGED_MODEL,
    profile=Profile(
        stream_only=True,
        media=(),
        schema_hint="fields",
        unenforced_keywords=LLAMA_CPP_IGNORES,
        string_limit=200,
    ),
)


def local_provider(model_path: str) -> Provider:
    """The row of the embedded model for another file than the packaged one."""
    name = model_name(model_path)
    return replace(LOCAL, models=(name,), default_model=name)


OPENAI = Provider(
    name="openai",
    patterns=("openai/*", "gpt-*", "chatgpt-*", "o1*", "o3*", "o4*"),
    base_url="https://api.openai.com/v1",
    credential_env="OPENAI_API_KEY",
    default_model="gpt-4o-mini",
    profile=Profile(output_limit_field="max_completion_tokens"),
)
# Whatever nobody else takes. It has no row of its own yet: calling it is an error that says so.
LITELLM = Provider(name="litellm", patterns=("*",))

PROVIDERS: tuple[Provider, ...] = (CLAUDE_PROXY, LOCAL, OPENAI, LITELLM)


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
