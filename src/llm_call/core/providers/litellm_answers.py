"""What litellm gives back, as replies on the wire: completions, chunks, and what its exceptions stand for.

Rule: a failure is what the provider said, its status, headers and body found in the exception's causes. litellm's own
reading of it, which goes by words, is not used. What litellm makes up (a finish reason for a stream that was cut off,
token counts that the provider did not send) is left out.
"""

from collections.abc import AsyncGenerator, Iterator, Mapping
from importlib import import_module
from typing import Any

import msgspec
from msgspec import Struct

from llm_call.core.domain.errors import AttemptTimeoutError, ConnectionFailedError, LLMCallError, ProtocolError
from llm_call.core.wire.http_errors import excerpt

_SHOWN = 300
_OWN = "provider_specific_fields"  # litellm's copy of what it has no field for
_JSON = {"content-type": "application/json"}


class WholeReply(Struct, frozen=True, kw_only=True):
    """A `Reply` of which everything is here."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    async def read(self) -> bytes:
        """The body."""
        return self.body

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body, in one piece."""
        yield self.body

    def event(self) -> bytes:
        """A failure in the middle of a stream, as an event of it. The status becomes the error's code."""
        said = _json_object(self.body)
        error = said.get("error", said)
        details = error if isinstance(error, dict) else {"message": str(error)}
        if self.status == _OK:
            return _event({"error": details})
        kind = details.get("code") or details.get("type") or details.get("status")
        return _event({"error": {**details, "code": self.status, "type": kind}})


_OK = 200


def completion(answer: Any) -> WholeReply:
    """A whole answer."""
    body = _plain(answer)
    if not any(body.get("usage", {}).get(name) for name in ("prompt_tokens", "completion_tokens")):
        body.pop("usage", None)  # zeros stand for counts that never came
    return WholeReply(status=_OK, headers=_JSON, body=msgspec.json.encode(body))


def chunk_event(chunk: Any, stream: Any) -> bytes:
    """One chunk of `stream`, litellm's wrapper of the provider's own."""
    body = _plain(chunk)
    if "usage" in body and not any(getattr(each, "usage", None) for each in stream.chunks):
        del body["usage"]
    return _event(body)


def is_made_up(chunk: Any, stream: Any) -> bool:
    """Whether `chunk` ends a `stream` whose provider gave no finish reason."""
    said = stream.received_finish_reason or stream.intermittent_finish_reason
    return not said and any(choice.finish_reason for choice in chunk.choices)


def refusal(error: Exception, *, outer: BaseException | None) -> WholeReply:
    """The reply that litellm's exception stands for. `outer` was being handled before: it is no cause.

    Raises:
        AttemptTimeoutError: litellm waited too long.
        ConnectionFailedError: There was no whole reply.
        ProtocolError: litellm could not make an answer of it.
    """
    if isinstance(error, LLMCallError):
        raise error
    causes = tuple(_causes(error, outer))
    httpx = import_module("httpx")
    for cause in causes:
        if isinstance(cause, httpx.HTTPStatusError):
            return _as_sent(cause)
    for cause in causes:
        if isinstance(details := getattr(cause, "body", None), dict):
            return WholeReply(status=_OK, headers=_JSON, body=msgspec.json.encode({"error": details}))
    message = excerpt(str(getattr(error, "message", error)).encode(), _SHOWN)
    if any(isinstance(cause, httpx.TimeoutException | TimeoutError) for cause in causes):
        raise AttemptTimeoutError(message) from error
    if any(isinstance(cause, httpx.TransportError | ConnectionError) for cause in causes):
        raise ConnectionFailedError(message, hint="Check the address and the network.") from error
    status = getattr(error, "status_code", None)
    if type(status) is int and 400 <= status < 500:  # noqa: PLR2004  (HTTP's class of refusals: here, litellm's own)
        said = {"error": {"message": message, "type": type(error).__name__}}
        return WholeReply(status=status, headers=_JSON, body=msgspec.json.encode(said))
    raise ProtocolError(f"{type(error).__name__}: {message}") from error


def _causes(error: BaseException | None, outer: BaseException | None) -> Iterator[BaseException]:
    """`error` and what it came from, which litellm keeps in one of three places."""
    seen: list[BaseException] = []
    while error is not None and error is not outer and error not in seen:
        seen.append(error)
        yield error
        error = getattr(error, "original_exception", None) or error.__cause__ or error.__context__


def _as_sent(error: Any) -> WholeReply:
    """The response that an HTTP library's exception holds."""
    response = error.response
    try:
        body = response.content
    except RuntimeError:  # a streamed body that nobody has read
        body = b""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return WholeReply(status=response.status_code, headers=headers, body=body)


def _plain(answer: Any) -> dict[str, Any]:
    """`answer` as the dialect has it."""
    body: dict[str, Any] = answer.model_dump(mode="json", exclude_none=True)
    for choice in body.get("choices", ()):
        for holder in (choice, choice.get("message", {}), choice.get("delta", {})):
            own = {name: value for name, value in holder.pop(_OWN, {}).items() if value is not None}
            if own:
                holder[_OWN] = own
    return body


def _event(value: Any) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"message": excerpt(body, _SHOWN)}
