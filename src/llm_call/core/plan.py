"""The plan of a call: everything that it needs, checked before its first byte."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from llm_call.core.cache import Caching
from llm_call.core.call_config import CallConfig, Recovery
from llm_call.core.domain.request import Request
from llm_call.core.domain.result import Result
from llm_call.core.domain.trace import Skipped
from llm_call.core.policy.breaker import BreakerPolicy
from llm_call.core.policy.budget import Budget
from llm_call.core.policy.escalation import Ladder, default_ladder
from llm_call.core.policy.onward import TargetFacts, onward
from llm_call.core.policy.retry import RetryPolicy
from llm_call.core.providers.registry import Target
from llm_call.core.routes import Order
from llm_call.core.tools.config import Toolset
from llm_call.core.transport.base import Timeouts
from llm_call.core.validation.base import Validator


class Simulated(Struct, frozen=True, kw_only=True):
    """Faults that never leave this process: so many attempts refused with a 429, the first target's with a 503."""

    rate_limits: int = 0
    primary_down: bool = False


class Plan(Struct, frozen=True, kw_only=True):
    """Everything that one call needs.

    `targets` are tried in order; where `order` is given, in the one that it gives for each call. `skipped` are those
    that cannot take the request. `rounds` bounds how often the model is asked in all when its answers are rejected, and
    `ladder` says how, where it is not the default one; the targets of its rungs that name a model are in `elsewhere`.
    `timeouts` bound one attempt, the budget's seconds the whole call. `strict` refuses a request that the target's
    dialect cannot express in full, instead of noting what was left out. `recovery` is what becomes of a stream that
    breaks off after its caller has seen a part: it is asked for again and continued where it repeats that part
    (`verified`), it ends with an error (`off`), or nothing is given before the whole is there and accepted (`buffer`).
    `toolsets` are MCP servers by the name of their set; those of the set "" are there from the first round on. `call` is
    what was asked for in the words of `llm_config`, without its key; `again` carries it out otherwise, where a person
    has it go on. `breaker` is one of the call's own, in the place of the client's.
    """

    model: str
    request: Request
    targets: tuple[Target, ...]
    skipped: tuple[Skipped, ...] = ()
    order: Order | None = None
    elsewhere: Mapping[str, tuple[Target, ...]] = {}
    validators: tuple[Validator, ...] = ()
    retry: RetryPolicy = RetryPolicy()
    breaker: BreakerPolicy | None = None
    budget: Budget = Budget()
    rounds: int = 3
    ladder: Ladder | None = None
    timeouts: Timeouts = Timeouts()
    strict: bool = False
    stream: bool = False
    recovery: Recovery = "verified"
    toolsets: Mapping[str, Toolset] = {}
    simulated: Simulated = Simulated()
    caching: Caching | None = None
    call: CallConfig = CallConfig()
    again: Callable[[CallConfig, Request], Awaitable[Result[Any]]] | None = None

    @property
    def checks(self) -> tuple[str, ...]:
        """The names of what is checked on the answer; empty when nothing is."""
        output = self.request.output
        form = () if output is None else ("json" if output.schema is None else "schema",)
        return (*form, *(validator.name for validator in self.validators))

    @property
    def rungs(self) -> Ladder:
        """What follows a rejected answer."""
        return default_ladder(self.rounds) if self.ladder is None else self.ladder

    def onward(self, failed: int, error: Exception) -> int | None:
        """The index of the target that may be asked after the one at `failed`."""
        return onward([_facts(target) for target in self.targets], failed, error) if len(self.targets) > 1 else None


def without_people(plan: Plan) -> Plan:
    """`plan` without the rungs that ask a person."""
    return plan if plan.ladder is None else replace(plan, ladder=tuple(r for r in plan.ladder if r.kind != "human"))


def _facts(target: Target) -> TargetFacts:
    place = target.endpoint
    return TargetFacts(
        credential=repr((place.base_url, sorted(place.headers.items()))), window=target.profile.context_tokens
    )
