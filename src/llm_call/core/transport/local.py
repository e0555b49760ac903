"""The embedded model: llama.cpp in this process, through `xllamacpp`, behind the same `Transport` as any provider.

It speaks the streamed OpenAI chat dialect: a request's JSON body goes to llama.cpp as it is, each chunk that comes
back becomes one server-sent event. What llama.cpp refuses becomes a reply with that status and an error body.

The rules:

- The model is loaded once, by the first request, in a worker thread. A cancelled call leaves the loading to go on.
- Requests take turns, first come, first served: `slots` at a time, `queue` more wait, and the next gets a 503.
- A request's own times begin with its turn: waiting and loading count against the call's deadline alone.
- A request that nobody waits for any more ends within a token, or within `_BATCH` tokens of its prompt; one that
  still waits never runs.
- Worker threads live only while there is work, and nothing outlasts the interpreter: a process exits at once.

llama.cpp opens an HTTP listener on a free port of 127.0.0.1 and offers no way not to. It is made useless: it wants a
random key that nobody is told, and everything but its health check answers 401. No environment variable is written and
nothing is fetched. Only llama.cpp's complaints about a malformed `grammar` or a `pattern` that it skips are printed.
"""

import asyncio
import secrets
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from llm_call.core.domain.errors import (
    AttemptTimeoutError,
    ConfigError,
    ConnectionFailedError,
    LLMCallError,
    UnsupportedError,
)
from llm_call.core.domain.setting import setting
from llm_call.core.transport.base import Endpoint, Timeouts
from llm_call.core.transport.model_file import GET_ENGINE, PACKAGED_MODEL, find_model, model_name, other_file
from llm_call.core.wire.base import WireRequest

# Prompt tokens between two looks at whether the request is still wanted: a third of a second on one slow core, and 4 %
# more time for a long prompt than with llama.cpp's own 512.
_BATCH = 64


class LocalSettings(Struct, frozen=True, kw_only=True):
    """How the embedded model runs.

    One thread, one slot and no prompt cache give the same text for the same prompt at temperature 0; the prompt cache
    does not. `temperature` and `answer_tokens` hold where a request says nothing: such a model rambles on without an
    end.

    Raises:
        ConfigError: A count is out of its range.
    """

    model_path: Annotated[
        str | None,
        setting("A GGUF file; without it the installed package's or the user's cache's.", access="trusted", path=True),
    ] = None
    threads: Annotated[int, setting("Threads of each request.", access="free")] = 1
    slots: Annotated[int, setting("Requests at a time.", access="free")] = 1
    context_tokens: Annotated[int, setting("Each request's window: its prompt and its answer.", access="free")] = 4096
    cache_prompt: Annotated[bool, setting("Keep what prompts have in common.", access="free")] = False
    queue: Annotated[int, setting("Requests that may wait; further ones are refused.", access="free")] = 64
    temperature: Annotated[float, Meta(ge=0), setting("Where a request gives none.", access="free")] = 0.0
    answer_tokens: Annotated[int, setting("The longest answer where a request gives no limit.", access="free")] = 512

    def __post_init__(self) -> None:
        for name, least in (("threads", 1), ("slots", 1), ("context_tokens", 1), ("queue", 0), ("answer_tokens", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"local.{name} must be at least {least}", hint=f"Set local.{name} higher.")


class LocalTransport:
    """A `Transport` to the embedded model. Safe for many calls at once, from any event loops.

    The endpoint of a request is ignored; its `model` must be `model_name` of the file, in any case. `turns` counts the
    requests that have reached the model.
    """

    def __init__(self, settings: LocalSettings | None = None, *, user_cache: str = "") -> None:
        self._settings = settings or LocalSettings()
        self._engine = _Engine(self._settings, user_cache)
        # Also at the interpreter's end: exit while llama.cpp's own thread is at work crashes the process.
        weakref.finalize(self, self._engine.free)
        self._lock = threading.Lock()  # guards the four below; never held for long
        self._waiting: deque[_Turn] = deque()
        self._workers: set[threading.Thread] = set()
        self.turns = 0
        self._closed = False

    @asynccontextmanager
    async def open(
        self,
        endpoint: Endpoint,  # noqa: ARG002 - the protocol's: the model is in this process
        request: WireRequest,
        timeouts: Timeouts,
    ) -> AsyncIterator["LocalReply"]:
        """Queue `request` and wait for its first chunk.

        `timeouts.first_byte` counts from the start of the request's own turn.

        Raises:
            ConfigError: There is no model, no `xllamacpp`, or the transport is closed.
            UnsupportedError: The request is not a streamed chat completion, or hands tools to the packaged model.
            ConnectionFailedError: The transport was closed meanwhile; also while the body is read.
            AttemptTimeoutError: A stage took longer than its time; also while the body is read.
        """
        turn = _Turn(self._body(request))
        self._enqueue(turn)
        try:
            await turn.chunk(None, "total")  # until the turn begins, however long: the deadline is the engine's
            first = await turn.chunk(timeouts.first_byte, "first byte")
            yield _reply(first, turn, timeouts.between_bytes)
        finally:
            self._abandon(turn)

    async def close(self) -> None:
        """End all requests and free the model. Ends within a token."""
        with self._lock:
            self._closed = True
        await asyncio.to_thread(self._free)

    def _body(self, request: WireRequest) -> dict[str, Any]:
        """What llama.cpp is asked: the request's body, and reports on the prompt."""
        if not request.stream or request.path != "/chat/completions":
            raise UnsupportedError("the embedded model answers streamed chat completions alone")
        body = msgspec.json.decode(request.body, type=dict[str, Any])
        if body.get("tools") and model_name(self._engine.path) == PACKAGED_MODEL:
            raise UnsupportedError(f"{PACKAGED_MODEL} takes no tools", hint="Ask for JSON with a schema instead.")
        body.setdefault("temperature", self._settings.temperature)
        if "max_completion_tokens" not in body:
            body.setdefault("max_tokens", self._settings.answer_tokens)
        return {**body, "return_progress": True}

    def _enqueue(self, turn: "_Turn") -> None:
        name, asked = model_name(self._engine.path), turn.body.get("model")
        if str(asked).lower() != name:
            turn.refuse(404, "not_found_error", f"the embedded model is {name!r}, not {asked!r}")
            return
        with self._lock:
            if self._closed:
                raise ConfigError("the local transport is closed", hint="Make a new client.")
            if len(self._workers) < self._settings.slots:
                self._start(turn)
            elif len(self._waiting) < self._settings.queue:
                self._waiting.append(turn)
            else:
                turn.refuse(503, "overloaded_error", f"{len(self._waiting)} requests wait for the embedded model")

    def _start(self, turn: "_Turn") -> None:
        # Not a daemon: one that wakes up in llama.cpp after the interpreter's end would abort the process.
        worker = threading.Thread(target=self._work, args=(turn,), name="llm_call-local", daemon=False)
        self._workers.add(worker)
        worker.start()

    def _abandon(self, turn: "_Turn") -> None:
        turn.abandoned = True
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)

    def _work(self, turn: "_Turn | None") -> None:
        while turn is not None:
            self._take(turn)
            with self._lock:
                turn = self._waiting.popleft() if self._waiting else None
                if turn is None:
                    self._workers.discard(threading.current_thread())

    def _take(self, turn: "_Turn") -> None:
        try:
            server = self._engine.server()
        except LLMCallError as error:
            turn.deliver(error)
            return
        if server and self._wants(turn):
            self._generate(server, turn)
        turn.deliver(ConnectionFailedError("the local transport was closed") if self._closed else None)

    def _generate(self, server: Any, turn: "_Turn") -> None:
        with self._lock:
            self.turns += 1
        turn.deliver(None)
        try:
            server.handle_chat_completions(turn.body, lambda chunk: self._hand_on(turn, chunk))
        except Exception as error:  # noqa: BLE001 - a C++ exception of any kind, and always the request's fault
            turn.deliver(_error(400, "invalid_request_error", str(error)))

    def _hand_on(self, turn: "_Turn", chunk: dict[str, Any]) -> bool:
        # Reports on the prompt are no part of the answer: they are asked for so that this is called during a long one.
        if "prompt_progress" not in chunk:
            turn.deliver(chunk)
        return not self._wants(turn)

    def _wants(self, turn: "_Turn") -> bool:
        return turn.wanted and not self._closed

    def _free(self) -> None:
        for worker in tuple(self._workers):
            worker.join()
        self._engine.free()


class LocalReply(Struct, frozen=True):
    """The embedded model's reply: server-sent events, or one error in JSON."""

    status: int
    headers: Mapping[str, str]
    pieces: AsyncIterator[bytes]

    async def read(self) -> bytes:
        """The whole body."""
        return b"".join([piece async for piece in self.pieces])

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it is generated, an event a piece."""
        return self.pieces


class _Engine:
    """llama.cpp and its model: found, loaded and freed once. It knows nothing of the transport, which it may outlive."""

    def __init__(self, settings: LocalSettings, user_cache: str) -> None:
        self._settings = settings
        self._user_cache = user_cache
        self._lock = threading.Lock()  # guards the two below
        self._server: Any = None
        self._freed = False

    @cached_property
    def path(self) -> Path:
        """The model's file."""
        return find_model(self._settings.model_path, self._user_cache)

    def server(self) -> Any:
        """The loaded model; `None` once it is freed."""
        with self._lock:
            if self._server is None and not self._freed:
                self._server = _load(self.path, self._settings)
            return self._server

    def free(self) -> None:
        """Let go of the model, at once or when the last turn is over."""
        with self._lock:
            self._freed = True
            self._server = None


class _Turn:
    """One request on its way: a worker thread delivers what its event loop awaits.

    What is delivered: `None` when the turn begins, the chunks, `None` when it is over; or an error at any place.
    Nothing holds the worker back when the reader is slow: what piles up is bounded by the model's window.
    """

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body
        self.abandoned = False
        self._opener, self._loop = threading.current_thread(), asyncio.get_running_loop()
        self._inbox: asyncio.Queue[dict[str, Any] | LLMCallError | None] = asyncio.Queue()

    @property
    def wanted(self) -> bool:
        """Whether somebody can still read: not when the caller has left, or the interpreter waits for us alone."""
        keeper = threading.main_thread() if self._opener.daemon else self._opener
        return keeper.is_alive() and not self.abandoned

    def deliver(self, item: dict[str, Any] | LLMCallError | None) -> None:
        """Hand `item` to the loop. Called from a worker thread."""
        try:
            self._loop.call_soon_threadsafe(self._inbox.put_nowait, item)
        except RuntimeError:  # the loop is closed: nobody reads
            self.abandoned = True

    def refuse(self, status: int, kind: str, message: str) -> None:
        self.deliver(None)
        self.deliver(_error(status, kind, message))

    async def chunk(self, seconds: float | None, stage: str) -> dict[str, Any] | None:
        """The next item, within `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                item = await self._inbox.get()
        except TimeoutError:
            raise AttemptTimeoutError(f"the embedded model gave nothing for {seconds} s", stage=stage) from None
        if isinstance(item, LLMCallError):
            raise item
        return item


def _error(status: int, kind: str, message: str) -> dict[str, Any]:
    """An error in llama.cpp's own form, which is OpenAI's but for the `code`: the HTTP status, as a number."""
    return {"error": {"code": status, "type": kind, "message": message}}


def _reply(first: dict[str, Any] | None, turn: _Turn, seconds: float) -> LocalReply:
    if first is None or "error" not in first:
        return LocalReply(200, {"content-type": "text/event-stream"}, _events(first, turn, seconds))
    body = msgspec.json.encode(first)
    return LocalReply(first["error"].get("code", 500), {"content-type": "application/json"}, _once(body))


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def _events(chunk: dict[str, Any] | None, turn: _Turn, seconds: float) -> AsyncIterator[bytes]:
    while chunk is not None:
        yield b"data: " + msgspec.json.encode(chunk) + b"\n\n"
        chunk = await turn.chunk(seconds, "between bytes")
    yield b"data: [DONE]\n\n"


def _load(path: Path, settings: LocalSettings) -> Any:
    try:
        import xllamacpp  # noqa: PLC0415 - an optional extra, and 40 ms
    except ImportError as error:
        raise ConfigError(f"the embedded model needs xllamacpp: {error}", hint=GET_ENGINE) from None
    try:
        return xllamacpp.Server(_parameters(xllamacpp.CommonParams(), path, settings))
    except Exception as error:  # noqa: BLE001 - C++ exceptions of any kind, and settings that another release lacks
        raise ConfigError(f"llama.cpp cannot load {path}: {error}", hint=other_file(path)) from None


def _parameters(parameters: Any, path: Path, settings: LocalSettings) -> Any:
    """`parameters`, in llama.cpp's own names; what is not set keeps its default."""
    parameters.model.path = str(path)
    parameters.model_alias = {model_name(path)}  # else each chunk carries the file's path
    parameters.n_ctx = settings.context_tokens * settings.slots  # llama.cpp divides it among the slots
    parameters.n_parallel = settings.slots
    parameters.n_batch = parameters.n_ubatch = _BATCH
    parameters.n_gpu_layers = 0
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = settings.threads
    parameters.no_extra_bufts = True
    parameters.fit_params = False  # the window is what the settings say, whatever memory is free
    parameters.cache_prompt = settings.cache_prompt
    parameters.use_jinja = parameters.offline = True
    parameters.verbosity = -1
    # The listener: a free port of the loopback, and as little behind it as may be.
    parameters.port, parameters.hostnames = 0, ["127.0.0.1"]
    parameters.api_keys = [secrets.token_urlsafe(32)]
    parameters.n_threads_http = 1
    parameters.endpoint_slots = parameters.ui = False
    return parameters
