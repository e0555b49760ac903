"""The pages that signed links lead to: one that shows a review and takes one decision. On loopback, unless told otherwise.

GET changes nothing, since mail scanners open links; POST decides. Without a good token there is no page, whether or not
there is such a review. The page has no script, loads nothing, and shows all that is not ours escaped.
"""

import asyncio
from collections.abc import Callable
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from llm_call.core.domain.errors import ConfigError, LLMCallError
from llm_call.core.domain.review import Decision
from llm_call.core.durable.inbox import collect
from llm_call.core.durable.notice import is_good
from llm_call.core.durable.records import Came, Case
from llm_call.core.durable.views import outcome, state

_LARGEST = 1024 * 1024
_SECONDS = 30.0  # for one request
_ROUND = 5.0  # seconds between two looks at the inbox and at what processes that have ended had begun
_ACTIONS = ("approve", "edit", "reject", "retry", "escalate", "abort")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Type": "text/html; charset=utf-8",
}
Answer = tuple[HTTPStatus, str]


class Pages:
    """The server, as a context manager; `desk` is where decisions go."""

    def __init__(self, desk: Any) -> None:
        self._desk = desk
        self._loop: asyncio.AbstractEventLoop
        self._server: ThreadingHTTPServer
        self._thread: Thread

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        settings = self._desk.settings
        try:
            self._server = ThreadingHTTPServer((settings.host, settings.port), _handler(self._answered))
        except OSError as error:
            hint = "Set reviews.host and reviews.port to a free place."
            raise ConfigError(f"{settings.host}:{settings.port}: {error.strerror}", hint=hint) from error
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._server.shutdown)
        await asyncio.to_thread(self._thread.join)
        self._server.server_close()

    async def serve(self) -> None:
        """Until it is cancelled: take what lies in the inbox, and carry on what processes that have ended had begun."""
        await self._desk.open()
        while True:
            await self._desk.backend.take_over_all()
            if self._desk.settings.inbox is not None:
                await collect(self._desk)
            await asyncio.sleep(_ROUND)

    def _answered(self, method: str, target: str, body: str) -> Answer:
        """In the thread of a request."""
        parts = urlsplit(target)
        given = parse_qs(parts.query).get("token", [""])[0]
        identity = parts.path.removeprefix("/review/")
        if not parts.path.startswith("/review/") or not identity.isalnum():
            return _refusal()
        work = self._page(identity, given) if method == "GET" else self._decided(identity, given, body)
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result(_SECONDS)
        except LLMCallError as error:
            return HTTPStatus.CONFLICT, _document(f"<p>{escape(str(error))}</p>")

    async def _page(self, identity: str, given: str) -> Answer:
        case = await self._opened(identity, given)
        return _refusal() if case is None else (HTTPStatus.OK, _form(case, ()))

    async def _decided(self, identity: str, given: str, body: str) -> Answer:
        if await self._opened(identity, given) is None:
            return _refusal()
        fields = {name: values[0] for name, values in parse_qs(body).items()}
        if fields.get("action") not in _ACTIONS:
            return HTTPStatus.BAD_REQUEST, _document("<p>There is no such decision.</p>")
        came = await self._desk.decide(identity, _decision(fields), face="link")
        case = await self._desk.case(identity, seconds=0.0)
        if came.what == "bounced":
            return HTTPStatus.UNPROCESSABLE_ENTITY, _form(case, came.objections)
        told = outcome(next(link for link in reversed(case.links) if link.came == came))
        return HTTPStatus.OK, _document(f"<p>{escape(state(case))}: {escape(told)}</p>")

    async def _opened(self, identity: str, given: str) -> Case | None:
        """The review, where it is open and `given` is good for its turn."""
        try:
            case: Case = await self._desk.case(identity, seconds=0.0)
        except ConfigError:
            return None
        came, secret, now = case.standing, await self._desk.secret(), self._desk.now()
        if came is None or came.what != "open" or case.running:
            return None
        good = is_good(given, secret, review=identity, level=came.level, turn=case.turn, now=now)
        return case if good else None


def _decision(fields: dict[str, str]) -> Decision:
    changes = {"feedback": fields["feedback"]} if fields.get("feedback") else {}
    return Decision(
        action=fields["action"],  # type: ignore[arg-type]  # one of them, as was seen
        value=fields.get("value"),
        reason=fields.get("reason", ""),
        changes=changes if fields["action"] == "retry" else {},
        by=fields.get("by", "").strip() or "the holder of the link",
    )


def _refusal() -> Answer:
    return HTTPStatus.FORBIDDEN, _document("<p>This link is not good, or not any more.</p>")


def _form(case: Case, objections: tuple[str, ...]) -> str:
    asked = _asked(case.standing)
    answer = asked.response.text if asked.response else ""
    said = "".join(f"<h2>{escape(each.role)}</h2><pre>{escape(each.text)}</pre>" for each in asked.request.messages)
    buttons = "".join(f'<button name="action" value="{each}">{each}</button> ' for each in _ACTIONS)
    return _document(
        f"{_list('This could not be applied', objections)}{said}<h2>answer</h2><pre>{escape(answer)}</pre>"
        f"{_list('Why you are asked', asked.problems)}"
        f'<form method="post"><p><label>The answer, for edit:<br><textarea name="value" rows="8" cols="80">'
        f"\n{escape(answer)}</textarea></label></p>"
        '<p><label>What the model is told, for retry:<br><input name="feedback" size="80"></label></p>'
        '<p><label>Why: <input name="reason" size="60"></label></p>'
        f'<p><label>You are: <input name="by" size="30"></label></p><p>{buttons}</p></form>'
    )


def _asked(came: Came | None) -> Any:
    assert came is not None  # noqa: S101  (it is open)
    return came.asked


def _list(title: str, lines: tuple[str, ...]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<h2>{title}</h2><ul>{items}</ul>" if lines else ""


def _document(body: str) -> str:
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Review</title><body>{body}</body></html>'


def _handler(answered: Callable[[str, str, str], Answer]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _SECONDS

        def do_GET(self) -> None:
            self._answer("GET", "")

        def do_POST(self) -> None:
            length = self.headers.get("content-length", "")
            if not length.isdecimal() or int(length) > _LARGEST:
                self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
                return
            self._answer("POST", self.rfile.read(int(length)).decode("utf-8", "replace"))

        def _answer(self, method: str, body: str) -> None:
            status, page = answered(method, self.path, body)
            content = page.encode()
            self.send_response(status)
            for name, value in {**_HEADERS, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """A path holds a token: it is not written anywhere."""

        def version_string(self) -> str:
            return "llm-call"

    return Handler
