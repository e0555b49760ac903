"""The Messages dialect against a real server: llama.cpp's own endpoint, in this process, on loopback."""

import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from llm_call.core.domain.errors import APIError, ContextWindowExceededError, ServerError
from llm_call.core.domain.events import Event, PartDelta, ResponseEnd, ResponseStart, fold
from llm_call.core.domain.messages import Media, Message, Reasoning, Text, ToolCall, ToolResult, message
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import OutputSpec, Request, Settings, Tool
from llm_call.core.domain.response import Response
from llm_call.core.transport.model_file import find_model
from llm_call.core.wire.anthropic_messages import AnthropicMessagesCodec

pytestmark = pytest.mark.model

CODEC = AnthropicMessagesCodec()
SETTINGS = Settings(max_output_tokens=6, temperature=0.0)


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    engine = pytest.importorskip("xllamacpp")
    parameters = engine.CommonParams()
    parameters.model.path = str(find_model(None, ""))
    parameters.n_ctx, parameters.n_parallel, parameters.n_gpu_layers = 512, 1, 0
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.port, parameters.use_jinja, parameters.offline, parameters.verbosity = 0, True, True, -1
    server = engine.Server(parameters)
    yield f"{server.listening_address}/v1"
    del server


def request(*messages: Message, settings: Settings = SETTINGS, **fields: object) -> Request:
    return Request(model="any", messages=messages, settings=settings, **fields)  # type: ignore[arg-type]


def post(base_url: str, asked: Request, *, stream: bool = False) -> Iterator[bytes]:
    """The body of the answer, in small pieces.

    Raises:
        APIError: The server said no.
    """
    wire = CODEC.encode_request(asked, stream=stream, profile=Profile())
    call = urllib.request.Request(base_url + wire.path, wire.body, dict(wire.headers))  # noqa: S310  # loopback alone
    try:
        with urllib.request.urlopen(call, timeout=60) as reply:  # noqa: S310  # loopback alone
            while piece := reply.read(7):
                yield piece
    except urllib.error.HTTPError as error:
        headers = {name.lower(): value for name, value in error.headers.items()}
        with error:
            raise CODEC.decode_error(error.code, headers, error.read()) from None


def whole(base_url: str, asked: Request) -> Response:
    return CODEC.decode_response(b"".join(post(base_url, asked)))


def streamed(base_url: str, asked: Request) -> list[Event]:
    decoder = CODEC.stream_decoder()
    events = [event for piece in post(base_url, asked, stream=True) for event in decoder.feed(piece)]
    return events + list(decoder.close())


def test_an_answer_and_a_stream_of_it_have_the_same_form_and_count_the_same_prompt(base_url: str) -> None:
    """The second prompt comes from the server's cache: on the wire the counts differ, here the cache is included."""
    asked = request(message("system", "Be brief."), message("user", "Count to twenty."))
    plain, events = whole(base_url, asked), streamed(base_url, asked)
    folded = fold(events)
    for response in (plain, folded):
        assert [type(part) for part in response.parts] == [Text]
        assert response.text
        assert (response.finish_reason.unified, response.finish_reason.raw) == ("length", "max_tokens")
        assert response.usage.output_tokens == 6
        assert response.id
    assert plain.usage.input_tokens == folded.usage.input_tokens
    assert (folded.usage.cached_input_tokens or 0) > 0
    assert plain.provider_data == folded.provider_data == {}
    assert (type(events[0]), type(events[-1])) == (ResponseStart, ResponseEnd)
    assert sum(isinstance(event, PartDelta) for event in events) > 2


def test_a_conversation_of_many_turns_with_thoughts_and_tools_is_taken(base_url: str) -> None:
    asked = request(
        message("user", "What is 1 + 1?"),
        Message(
            role="assistant",
            parts=(
                Reasoning(
                    text="Use the tool.", signature="s", provider_data={"anthropic_messages": {"type": "thinking"}}
                ),
                ToolCall(id="t1", name="add", arguments='{"a": 1, "b": 1}'),
            ),
        ),
        Message(role="tool", parts=(ToolResult(call_id="t1", parts=(Text(text="2"),)),)),
        message("user", "So?"),
        tools=(Tool(name="add", description="Adds.", parameters={"type": "object", "properties": {}}),),
    )
    first = whole(base_url, asked)
    again = request(*asked.messages, Message(role="assistant", parts=first.parts), message("user", "Sure?"))
    assert whole(base_url, again).usage.output_tokens
    assert fold(streamed(base_url, again)).usage.output_tokens


def test_an_answer_ends_at_a_stop_sequence(base_url: str) -> None:
    settings = Settings(max_output_tokens=20, temperature=0.0, stop=("e", "a", "o"))
    response = whole(base_url, request(message("user", "Say hello."), settings=settings))
    assert response.finish_reason.unified == "stop"
    assert response.provider_data["anthropic_messages"]["stop_sequence"] in {"e", "a", "o"}


def test_a_form_and_an_effort_are_taken_and_passed_over(base_url: str) -> None:
    """llama.cpp has no schema mode in this dialect: a profile for it has the form told in the prompt."""
    settings = Settings(max_output_tokens=6, temperature=0.0, reasoning_effort="low")
    asked = request(message("user", "Say hello."), settings=settings, output=OutputSpec(schema={"const": 1}))
    assert whole(base_url, asked).text.strip() != "1"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        (request(message("user", "word " * 1000)), ContextWindowExceededError),
        (request(Message(role="user", parts=(Media(media_type="image/png", data=b"x"),))), ServerError),
    ],
)
def test_an_error_is_what_it_is(base_url: str, asked: Request, kind: type[APIError], stream: bool) -> None:
    with pytest.raises(APIError) as caught:
        list(post(base_url, asked, stream=stream))
    assert type(caught.value) is kind
    assert caught.value.status in {400, 500}
