"""One answer, all its checks: tier after tier, every problem of a tier at once.

The tiers here: completeness, form (extraction and schema), then the validators that were asked for.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from llm_call.core.domain.errors import LLMCallError, ValidatorError
from llm_call.core.domain.request import OutputSpec
from llm_call.core.domain.verdict import Problem, Repair, Verdict, accepted, rejected
from llm_call.core.validation.base import Answer, Context, Validator


class Judgement(Struct, frozen=True, kw_only=True):
    """What the checks came to. `value` is the JSON value where one was asked for, otherwise the text."""

    ok: bool
    value: Any
    verdicts: tuple[Verdict, ...]
    repairs: tuple[Repair, ...] = ()


def judge(answer: Answer, *, output: OutputSpec | None, validators: Sequence[Validator], context: Context) -> Judgement:
    """The verdict of every tier up to the first that rejects.

    Raises:
        ValidatorError: A validator could not decide.
    """
    verdicts = _form(answer, output) if output is not None or answer.finish_reason == "length" else ()
    if all(verdict.valid for verdict in verdicts):
        verdicts += tuple(_ask(validator, answer, context) for validator in validators)
    ok = all(verdict.valid for verdict in verdicts if verdict.severity == "must")
    if output is None:
        return Judgement(ok=ok, value=answer.text, verdicts=verdicts)
    return Judgement(ok=ok, value=answer.extraction.value, verdicts=verdicts, repairs=answer.extraction.repairs)


def _form(answer: Answer, output: OutputSpec | None) -> tuple[Verdict, ...]:
    if answer.finish_reason == "length":
        problem = Problem(code="incomplete", message="the answer was cut off at the token limit")
        return (rejected("complete", problem),)
    name = "json" if output is None or output.schema is None else "schema"
    extraction = answer.extraction
    if extraction.found and not extraction.problems:
        return (accepted(name, extraction.value),)
    return (rejected(name, *extraction.problems),)


def _ask(validator: Validator, answer: Answer, context: Context) -> Verdict:
    try:
        return validator.validate(answer, context)
    except LLMCallError:
        raise
    except Exception as error:
        raise ValidatorError(
            f"validator {validator.name!r} failed: {type(error).__name__}: {error}",
            hint="It is the validator that is wrong here, not the answer.",
        ) from error
