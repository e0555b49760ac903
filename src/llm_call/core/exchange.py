"""One exchange with a target: the request that goes out, fitted to what it takes, and the answer that comes back."""

from asyncio import CancelledError
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase

from msgspec.structs import replace

from llm_call.core.domain.embedding import EmbeddingRequest, Embeddings
from llm_call.core.domain.errors import APIError, LLMCallError, TransportError, UnsupportedError
from llm_call.core.domain.events import Event, Folding, ResponseEnd
from llm_call.core.domain.messages import Media
from llm_call.core.domain.request import Request
from llm_call.core.domain.response import Response
from llm_call.core.policy.fitting import fitted
from llm_call.core.providers.registry import Target
from llm_call.core.transport.base import Reply
from llm_call.core.transport.deadline import is_late, within
from llm_call.core.transport.masking import Secrets, secrets_of
from llm_call.core.validation.asking import with_instruction
from llm_call.core.wire.base import StreamDecoder, WireRequest
from llm_call.core.wire.embedding import EMBEDDING_CODECS
from llm_call.core.wire.native_schema import fitting_profile

_EMBEDDING = ("http",)  # the transports that can carry more than chats
_LINGER = 0.02  # seconds; a new connection with TLS would cost more


def encode(target: Target, request: Request, *, stream: bool, strict: bool) -> WireRequest:
    """`request` as it goes to `target`. `strict` refuses it where a part of it would be dropped.

    Raises:
        UnsupportedError: The target cannot take it.
    """
    _refuse_unseen(target, request)
    request, refused = fitted(request, target.profile)
    profile = fitting_profile(target.profile, request.output)
    shaped = with_instruction(replace(request, model=target.model), profile)
    wire = target.codec.encode_request(shaped, stream=stream, profile=profile)
    if refused:
        wire = replace(wire, notices=refused + wire.notices)
    lost = [notice for notice in wire.notices if notice.fate == "dropped"] if strict else []
    if lost:
        raise UnsupportedError(
            f"{target.name}: {lost[0].field}: {lost[0].message}", hint="Leave it out, or not strict."
        )
    return wire


def _refuse_unseen(target: Target, request: Request) -> None:
    if request.tools and target.profile.tools is False:
        raise UnsupportedError(f"{target.name} takes no tools", hint="Choose a model that does.")
    seen = target.profile.media
    if seen is None:
        return
    media = [part for message in request.messages for part in message.parts if isinstance(part, Media)]
    for part in media:
        if not any(fnmatchcase(part.media_type, pattern) for pattern in seen):
            raise UnsupportedError(f"{target.name} takes no {part.media_type}", hint="Choose a model that does.")


async def whole(target: Target, wire: WireRequest, reply: Reply) -> Response:
    """The response that `reply` is, also where it comes as a stream.

    Raises:
        LLMCallError: It is none, or its body does not come to its end.
    """
    if not wire.stream:
        try:  # as in `_masked`, which costs more than this hot path should
            if not _is_success(reply):
                raise await _refusal(target, reply)
            return noted(target.codec.decode_response(await reply.read()), wire)
        except LLMCallError as error:
            error.rewrite(_secrets(target).text)
            raise
    folding = Folding()
    async for event in streamed(target, reply):
        folding.add(event)
    return noted(folding.response(), wire)


def encode_embedding(target: Target, request: EmbeddingRequest) -> WireRequest:
    """`request` as it goes to `target`.

    Raises:
        UnsupportedError: The target's dialect has no embeddings, or there is nothing to embed.
    """
    form = EMBEDDING_CODECS.get(target.codec.name)
    if form is None or target.transport not in _EMBEDDING:
        raise UnsupportedError(f"{target.name} makes no embeddings", hint="Choose a model that does.")
    return form.encode(request)


def read_embeddings(count: int) -> Callable[[Target, WireRequest, Reply], Awaitable[Embeddings]]:
    """What reads the vectors of `count` texts from a reply, and raises what keeps them from being read."""

    async def read(target: Target, _wire: WireRequest, reply: Reply) -> Embeddings:
        with _masked(target):
            if not _is_success(reply):
                raise await _refusal(target, reply)
            found = EMBEDDING_CODECS[target.codec.name].decode(await reply.read(), count)
        return found if found.model else replace(found, model=target.model)

    return read


async def streamed(target: Target, reply: Reply) -> AsyncGenerator[Event, None]:
    """The events of a streamed reply, up to the first that ends it.

    Raises:
        LLMCallError: It is an error, or its body does not come to its end.
    """
    decoder = target.codec.stream_decoder()
    with _masked(target):
        if not _is_success(reply):
            raise await _refusal(target, reply)
        chunks = reply.chunks()
        try:
            async for chunk in chunks:
                for event in decoder.feed(chunk):
                    if isinstance(event, ResponseEnd):
                        await _drain(chunks)
                        yield event
                        return
                    yield event
        except TransportError as error:
            last = _complete(decoder, error)
        else:
            last = decoder.close()
        for event in last:
            yield event


def _complete(decoder: StreamDecoder, error: TransportError) -> tuple[Event, ...]:
    """The last events of a stream that broke off: an answer with its finish reason is whole, whatever follows it."""
    try:
        return decoder.close()
    except LLMCallError:
        raise error from None


@contextmanager
def _masked(target: Target) -> Iterator[None]:
    """No error that passes through says what is secret, whatever the peer has put into it."""
    try:
        yield
    except LLMCallError as error:
        error.rewrite(_secrets(target).text)
        raise


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    """Read what closes a stream behind its answer: a connection that is read to its end can serve another request.

    Where the call's time ends meanwhile, the answer is there all the same.
    """

    async def drain() -> None:
        async for _ in chunks:
            pass

    try:
        with suppress(TimeoutError, LLMCallError):
            await within(_LINGER, drain())
    except CancelledError:
        if not is_late():
            raise


async def _refusal(target: Target, reply: Reply) -> APIError:
    """The error that `reply` is. Its body is masked before it is cut: half a key is too much."""
    body = _secrets(target).text((await reply.read()).decode("utf-8", "replace")).encode()
    return target.codec.decode_error(reply.status, reply.headers, body)


def _secrets(target: Target) -> Secrets:
    """What a peer may have learnt from us, and may say aloud."""
    return Secrets(secrets_of(target.endpoint.base_url, target.endpoint.headers))


def _is_success(reply: Reply) -> bool:
    return 200 <= reply.status < 300  # noqa: PLR2004  (what HTTP calls a success)


def noted(response: Response, wire: WireRequest) -> Response:
    """`response` with what its request lost on the way out."""
    return replace(response, notices=wire.notices + response.notices) if wire.notices else response
