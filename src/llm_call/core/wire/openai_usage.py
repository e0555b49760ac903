"""Usage as OpenAI's two dialects count it: the same numbers under the names of either.

Rule: what `Usage` has no field for is kept beside it, and goes out again with it. Both dialects demand the tokens of the
prompt and those of the answer, so where one of the two is not known no usage is written: 0 would be a lie.
"""

from collections.abc import Mapping
from typing import Any

from llm_call.core.domain.response import Usage
from llm_call.core.wire.reading import count, unknown
from llm_call.core.wire.writing import as_mapping


class UsageNames:
    """What a dialect calls the tokens of the prompt and those of the answer, and the details of each.

    `unknown_detail` is what stands for a detail that is not known: 0 where the vendor's types demand a number.
    """

    def __init__(self, *, sent: str, said: str, unknown_detail: int | None) -> None:
        self.sent = sent
        self.said = said
        self.unknown_detail = unknown_detail
        self.sent_details = f"{sent}_details"
        self.said_details = f"{said}_details"
        self.known = frozenset({sent, said, self.sent_details, self.said_details, "total_tokens"})


CHAT = UsageNames(sent="prompt_tokens", said="completion_tokens", unknown_detail=None)
RESPONSES = UsageNames(sent="input_tokens", said="output_tokens", unknown_detail=0)

_SENT_DETAILS = {"cached_tokens", "cache_write_tokens"}
_SAID_DETAILS = {"reasoning_tokens"}


def read_usage(wire: Mapping[str, Any], names: UsageNames) -> tuple[Usage, dict[str, Any]]:
    """The counts, and what `Usage` has no field for."""
    sent, said = _details(wire, names.sent_details), _details(wire, names.said_details)
    usage = Usage(
        input_tokens=count(wire.get(names.sent)),
        output_tokens=count(wire.get(names.said)),
        cached_input_tokens=count(sent.get("cached_tokens")),
        cache_write_input_tokens=count(sent.get("cache_write_tokens")),
        reasoning_tokens=count(said.get("reasoning_tokens")),
    )
    rest = unknown(wire, names.known)
    if sent and (more := unknown(sent, _SENT_DETAILS)):
        rest[names.sent_details] = more
    if said and (more := unknown(said, _SAID_DETAILS)):
        rest[names.said_details] = more
    total = wire.get("total_tokens")
    if total is not None and total != (usage.input_tokens or 0) + (usage.output_tokens or 0):
        rest["total_tokens"] = total
    return usage, rest


def _details(wire: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    details = wire.get(name)
    return details if type(details) is dict else {}


def write_usage(usage: Usage, kept: Mapping[str, Any], names: UsageNames) -> dict[str, Any]:
    """The object of the wire; `kept` is what a response keeps. Empty when the tokens of the prompt or the answer are not known."""
    if usage.input_tokens is None or usage.output_tokens is None:
        return {}
    extra = as_mapping(kept.get("usage"))
    total = usage.input_tokens + usage.output_tokens
    wire: dict[str, Any] = {names.sent: usage.input_tokens, names.said: usage.output_tokens, "total_tokens": total}
    wire |= extra
    sent = {"cached_tokens": usage.cached_input_tokens, "cache_write_tokens": usage.cache_write_input_tokens}
    for field, details in (
        (names.sent_details, sent),
        (names.said_details, {"reasoning_tokens": usage.reasoning_tokens}),
    ):
        told = {name: names.unknown_detail if number is None else number for name, number in details.items()}
        if known := {name: number for name, number in told.items() if number is not None}:
            wire[field] = {**as_mapping(extra.get(field)), **known}
    return wire
