"""What every dialect is: a codec towards providers, a server codec towards clients, and their streams.

The laws, property-tested over all codecs at once:

1. `fold(decoder over the pieces) == decode_response(the whole)`, for any way of splitting the bytes.
2. Every `PartStart` has one `PartEnd`; a stream that stops early raises `StreamInterruptedError` in `close`.
3. `decode_request(encode_request(r))` loses nothing, or says in a Notice what became of the field.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

from msgspec import Struct

from llm_call.core.domain.errors import APIError, LLMCallError
from llm_call.core.domain.events import Event
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import Request
from llm_call.core.domain.response import Fate, Notice, Response


class WireRequest(Struct, frozen=True, kw_only=True):
    """A request as it goes out: `path` is relative to the target's base URL; `notices` say what the dialect lost."""

    path: str
    body: bytes
    headers: Mapping[str, str] = {}
    stream: bool = False
    notices: tuple[Notice, ...] = ()


class Notices(list[Notice]):
    """What a request loses or changes on its way into the dialect, each at its place in the caller's own request."""

    def __init__(self) -> None:
        super().__init__()
        self._gaps: tuple[tuple[str, int], ...] = ()  # the list that a part was left out of, and its place there

    def add(self, field: str, fate: Fate, message: str) -> None:
        """Note what became of `field`."""
        for parts, gap in self._gaps:
            if field.startswith(parts):
                number, _, rest = field.removeprefix(parts).partition("]")
                field = f"{parts}{int(number) + (int(number) >= gap)}]{rest}"
        self.append(Notice(field=field, fate=fate, message=message))

    def pass_over(self, fields: Iterable[str]) -> None:
        """From here on the parts at `fields`, which come in their order, are out of the request, and not counted."""
        places = (field.removesuffix("]").rpartition("[") for field in fields)
        self._gaps = tuple((parts + mark, int(number)) for parts, mark, number in places)


class StreamDecoder(Protocol):
    """Bytes in, events out. One for each response."""

    def feed(self, data: bytes) -> tuple[Event, ...]:
        """The events that `data` completes.

        Raises:
            ProtocolError: The bytes are not this dialect.
            APIError: The stream carries an error of the provider's.
        """

    def close(self) -> tuple[Event, ...]:
        """The last events, when the peer has closed the stream.

        Raises:
            StreamInterruptedError: The answer was not complete.
        """


class StreamEncoder(Protocol):
    """Events in, bytes out. One for each response."""

    def encode(self, event: Event) -> bytes:
        """The bytes for `event`; may be empty."""

    def encode_error(self, error: LLMCallError) -> bytes:
        """The bytes that end a stream which failed on the way."""


class Codec(Protocol):
    """A dialect, from our side: requests out, responses in."""

    name: str

    def encode_request(self, request: Request, *, stream: bool, profile: Profile) -> WireRequest:
        """The request in this dialect.

        Raises:
            UnsupportedError: It cannot be expressed, and leaving a part out would change its meaning.
        """

    def decode_response(self, body: bytes) -> Response:
        """The response that a success carries.

        Raises:
            ProtocolError: It cannot be read, or holds no answer.
            APIError: It says in this way that there is none: a prompt that was blocked, a response that failed.
        """

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> APIError:
        """The error that a failure carries. Header names are in lower case."""

    def stream_decoder(self) -> StreamDecoder:
        """A decoder for one streamed response."""


class ServerCodec(Protocol):
    """The same dialect, from the other side: requests in, responses out."""

    name: str

    def decode_request(self, body: bytes) -> tuple[Request, bool]:
        """The request, and whether its answer is to be streamed.

        Raises:
            BadRequestError: The body is not a request of this dialect; the message says where.
        """

    def encode_response(self, response: Response) -> bytes:
        """The response in this dialect."""

    def encode_error(self, error: LLMCallError) -> tuple[int, bytes]:
        """The status and the body for an error."""

    def stream_encoder(self) -> StreamEncoder:
        """An encoder for one streamed response."""
