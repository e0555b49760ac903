"""The model and its tools, in turns: asked, tools run, asked again with what they gave, until it answers.

`policy.tool_loop` decides; here its decisions are carried out.
"""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

from msgspec import Struct
from msgspec.structs import replace

from llm_call.core.domain.messages import Message, Part, ToolCall, ToolResult
from llm_call.core.domain.request import Request, ToolChoice
from llm_call.core.domain.response import Response
from llm_call.core.domain.trace import ToolRun
from llm_call.core.policy.tool_loop import Exhausted, Finish, Run, ToolLimits, Turn, fitted, next_step, size_of
from llm_call.core.tools.base import ToolBox, failed

Ask = Callable[[Request], Awaitable[Response]]


class ToolConversation(Struct, frozen=True, kw_only=True):
    """What a conversation with tools came to: the last response, and the request with all that was said before it.

    `exhausted` is why the model was asked to answer without further tools; empty when it did so by itself.
    """

    response: Response
    request: Request
    exhausted: str = ""


async def converse(
    ask: Ask,
    request: Request,
    box: ToolBox,
    limits: ToolLimits | None = None,
    *,
    left: Callable[[], float | None] = lambda: None,
    observe: Callable[[ToolRun], None] = lambda _: None,
    now: Callable[[], float] = monotonic,
) -> ToolConversation:
    """Ask `request` with the tools of `box`, and run them until the model answers.

    `left` says how many seconds are left in all (`None`: no limit); no tool runs longer. `observe` hears of each run
    when it ends, so that what was run is known even where `ask` raises; its errors pass through, as those of `ask` do.
    A call of a tool that stands in `request` itself is the caller's to run, and ends the conversation.
    """
    table = _Table(box, limits or ToolLimits(), left, observe, now)
    own = frozenset(tool.name for tool in request.tools)
    request = replace(request, tools=(*request.tools, *box.tools))
    turns: list[Turn] = []
    while True:
        response = await ask(request)
        match next_step(response, turns, table.limits, foreign=own):
            case Finish():
                return ToolConversation(response=response, request=request)
            case Exhausted(why=why):
                request = _last(request, response, why)
                return ToolConversation(response=await ask(request), request=request, exhausted=why)
            case Run() as step:
                turn, results = await table.run(step, turns)
                turns.append(turn)
                request = _continued(request, response, results)


class _Table:
    """Where tools are run: the box, and what bounds it."""

    def __init__(
        self,
        box: ToolBox,
        limits: ToolLimits,
        left: Callable[[], float | None],
        observe: Callable[[ToolRun], None],
        now: Callable[[], float],
    ) -> None:
        self.limits = limits
        self._box = box
        self._left = left
        self._observe = observe
        self._now = now

    async def run(self, step: Run, turns: list[Turn]) -> tuple[Turn, list[ToolResult]]:
        """The results of the calls in order, those that are refused last."""
        given = await asyncio.gather(*(self._one(call) for call in step.calls))
        left = self.limits.total_bytes - sum(turn.size for turn in turns)
        results: list[ToolResult] = []
        size = 0
        for each in given:
            result, taken = fitted(each, text=self.limits.result_bytes, total=left - size)
            results.append(result)
            size += taken
        refused = [failed(call, f"Not run: {self.limits.calls} calls at once are the most.") for call in step.refused]
        return Turn(calls=step.calls, size=size), [*results, *refused]

    async def _one(self, call: ToolCall) -> ToolResult:
        begun, left = self._now(), self._left()
        seconds = self.limits.seconds if left is None else max(0.0, min(self.limits.seconds, left))
        result = await self._box.run(call, seconds=seconds)
        run = ToolRun(name=call.name, seconds=self._now() - begun, is_error=result.is_error, size=size_of(result))
        self._observe(run)
        # Whatever the box says: the model must find the result to its call.
        return replace(result, call_id=call.id)


def _continued(request: Request, response: Response, results: list[ToolResult]) -> Request:
    said: tuple[Part, ...] = response.parts
    answers = (Message(role="tool", parts=(each,)) for each in results)
    return replace(request, messages=(*request.messages, Message(role="assistant", parts=said), *answers))


def _last(request: Request, response: Response, why: str) -> Request:
    """The request to answer without further tools. They stay in it: what was said refers to them."""
    results = [failed(call, f"Not run: {why}. Answer with what you have.") for call in response.tool_calls]
    return replace(_continued(request, response, results), tool_choice=ToolChoice(mode="none"))
