"""The long tail: the litellm library, in process, as a transport of the chat-completions dialect. An optional extra.

The codec writes the body, litellm carries it to whichever provider the model's name says, and what it gives back
becomes chat-completions JSON or events again. The rules:

- One request each: litellm's own retries are off. It drops no parameter: what a provider does not take is an error.
- A key and a base URL are arguments of the call. Where a base URL is given, no key of litellm's own finding goes there;
  without one, litellm looks for the provider's credentials in the environment, by its own names for them.
- Only the dialect's own fields become arguments of litellm's. Any other field goes to the wire as `extra_body`, so that
  no request can set where litellm sends it, or what it does beside.
- The library is imported by the first request, in a worker thread: it takes seconds. Its fetching of price lists and its
  printing are switched off, for the whole process.
"""

import asyncio
import importlib.util
import logging
import os
import sys
import threading
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from typing import Any

import msgspec

from llm_call.core.domain.errors import AttemptTimeoutError, ConfigError, UnknownProviderError, UnsupportedError
from llm_call.core.domain.keys import near_names
from llm_call.core.providers.litellm_answers import chunk_event, completion, is_made_up, refusal
from llm_call.core.transport.base import Endpoint, Reply, Timeouts
from llm_call.core.wire.base import WireRequest

GET_LITELLM = 'Run: pip install "llm-call[litellm]"'

# The fields of a chat-completions request that mean the same to litellm. `metadata` is not one of them: litellm keeps
# it for itself.
_FIELDS = frozenset(
    {
        *("model", "messages", "stream", "stream_options", "n", "stop", "seed", "temperature", "top_p"),
        *("max_tokens", "max_completion_tokens", "frequency_penalty", "presence_penalty", "logit_bias"),
        *("logprobs", "top_logprobs", "tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"),
        *("response_format", "reasoning_effort", "thinking", "modalities", "audio", "prediction", "user"),
        *("service_tier", "store", "verbosity", "web_search_options", "prompt_cache_key", "safety_identifier"),
    }
)
# Providers that litellm signs in to with what it finds on the machine, whatever key it is given.
_SIGNED_IN = frozenset(
    {
        *("azure", "azure_ai", "azure_text", "bedrock", "bedrock_converse", "sagemaker", "sagemaker_chat"),
        *("vertex_ai", "vertex_ai_beta", "watsonx", "watsonx_text", "oci", "sap", "snowflake", "databricks"),
        *("github_copilot", "chatgpt", "gigachat"),
    }
)
# The last one: else every request with tools imports `mcp`, which litellm does not require (1.106).
_ONCE = {"num_retries": 0, "max_retries": 0, "drop_params": False, "_skip_mcp_handler": True}
_NO_KEY = "no-key"  # keeps litellm from looking for one
_BEARER = "Bearer "
_COST_MAP = "LITELLM_LOCAL_MODEL_COST_MAP"
_LOGGERS = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")
_loading = threading.Lock()


def installed() -> bool:
    """Whether litellm can be imported. Imports nothing."""
    return importlib.util.find_spec("litellm") is not None


class LitellmTransport:
    """A `Transport` for every provider that litellm knows. Its endpoint's base URL is empty: litellm knows where."""

    @asynccontextmanager
    async def open(self, endpoint: Endpoint, request: WireRequest, timeouts: Timeouts) -> AsyncIterator[Reply]:
        """Send `request` and wait for the answer; of a streamed one, for its first piece.

        Raises:
            ConfigError: litellm is not installed.
            UnknownProviderError: litellm has no such provider.
            UnsupportedError: A base URL for a provider that litellm signs in to with the machine's own credentials.
            ConnectionFailedError: Refused, reset, or not to be made; also while the body is read.
            AttemptTimeoutError: A stage took longer than its time; also while the body is read.
            ProtocolError: litellm cannot read the answer.
        """
        library = await asyncio.to_thread(_load)
        arguments = _arguments(library, endpoint, request, timeouts)
        answer: Any = None
        outer = sys.exception()
        try:
            first = None
            async with _within(timeouts.connect + timeouts.first_byte, "first byte"):
                answer = await library.acompletion(**arguments)
                if request.stream:
                    first = await anext(answer, None)
            reply: Reply = _Stream(answer, first, timeouts) if request.stream else completion(answer)
        except Exception as error:  # noqa: BLE001  (litellm raises whatever its providers' code raises)
            reply = refusal(error, outer=outer)
        try:
            yield reply
        finally:
            if hasattr(answer, "aclose"):
                await answer.aclose()

    async def close(self) -> None:
        """Nothing is held here: the connections are litellm's, for the whole process."""


class _Stream:
    """A streamed answer: each chunk of litellm's an event, its failure an event or an error."""

    status = 200
    headers: Mapping[str, str] = {"content-type": "text/event-stream"}

    def __init__(self, answer: Any, first: Any, timeouts: Timeouts) -> None:
        self._answer = answer
        self._first = first
        self._seconds = timeouts.between_bytes

    async def read(self) -> bytes:
        """All events."""
        return b"".join([piece async for piece in self.chunks()])

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The events; no end where the provider sent none: litellm makes one up for a stream that was cut off."""
        chunk, outer = self._first, sys.exception()
        while chunk is not None and not is_made_up(chunk, self._answer):
            yield chunk_event(chunk, self._answer)
            try:
                async with _within(self._seconds, "between bytes"):
                    chunk = await anext(self._answer, None)
            except Exception as error:  # noqa: BLE001  (litellm raises whatever its providers' code raises)
                yield refusal(error, outer=outer).event()
                return


@asynccontextmanager
async def _within(seconds: float, stage: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds) as timer:
            yield
    except TimeoutError as error:
        if not timer.expired():
            raise
        raise AttemptTimeoutError(f"litellm: nothing arrived for {seconds:g} s ({stage})", stage=stage) from error


def _arguments(library: Any, endpoint: Endpoint, request: WireRequest, timeouts: Timeouts) -> dict[str, Any]:
    """What `litellm.acompletion` is called with."""
    body: dict[str, Any] = msgspec.json.decode(request.body)
    provider = _provider(library, body["model"])
    arguments = {name: value for name, value in body.items() if name in _FIELDS}
    if more := {name: value for name, value in body.items() if name not in _FIELDS}:
        arguments["extra_body"] = more
    if headers := {name: value for name, value in request.headers.items() if name != "content-type"}:
        arguments["extra_headers"] = headers
    key = endpoint.headers.get("authorization", "").removeprefix(_BEARER)
    if endpoint.base_url:
        if provider in _SIGNED_IN:
            raise UnsupportedError(
                f"litellm signs in to {provider} with credentials of this machine, which go to no other host",
                hint="Leave api_base out.",
            )
        arguments["api_base"] = endpoint.base_url
        key = key or _NO_KEY
    if key:
        arguments["api_key"] = key
    # The stages are timed here; litellm's own time is the most that any of them can take.
    return {**arguments, **_ONCE, "timeout": timeouts.total}


def _provider(library: Any, model: str) -> str:
    """The provider of `model`, by the name that litellm has for it."""
    try:
        provider: str = library.get_llm_provider(model)[1]
    except library.BadRequestError:
        prefix = model.partition("/")[0]
        near = near_names(prefix, [str(getattr(each, "value", each)) for each in library.provider_list])
        raise UnknownProviderError(
            f"no provider for {model!r}, and litellm knows none either",
            did_you_mean=tuple(f"{name}/..." for name in near),
            hint="" if near else "Any OpenAI-compatible server works with api_base.",
        ) from None
    return provider


def _load() -> Any:
    """litellm, made quiet when it is first imported.

    Raises:
        ConfigError: It is not installed.
    """
    with _loading:
        if (loaded := sys.modules.get("litellm")) is not None and hasattr(loaded, "acompletion"):
            return _quiet(loaded)
        try:
            with _without_price_fetching(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                library = import_module("litellm")
                library.ModelResponse(choices=[{}]).model_dump()  # builds what warns when it is first built
        except ModuleNotFoundError as error:
            raise ConfigError(f"litellm cannot be imported: {error}", hint=GET_LITELLM) from error
        return _quiet(library)


def _quiet(library: Any) -> Any:
    library.suppress_debug_info = True  # it prints an appeal to standard output with every error
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:  # else it was set on purpose
            logger.setLevel(logging.CRITICAL)
    return library


@contextmanager
def _without_price_fetching() -> Iterator[None]:
    """While it is imported, litellm fetches its price list; only the environment can tell it not to."""
    if _COST_MAP in os.environ:
        yield
        return
    os.environ[_COST_MAP] = "true"
    try:
        yield
    finally:
        os.environ.pop(_COST_MAP, None)
