"""A case: one question with the checks that its answer must pass. And what became of it."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal

import msgspec
from msgspec import Struct

from llm_call.core.domain.bill import Charge
from llm_call.core.domain.errors import ConfigError
from llm_call.core.domain.keys import canonical_keys
from llm_call.core.domain.response import Usage
from llm_call.core.domain.trace import Failure, Trace
from llm_call.core.domain.verdict import Verdict

Outcome = Literal["passed", "failed", "error", "skipped"]
Expectation = Literal["passed", "failed", "error"]
DEFAULT_PRIORITY = 5

_ALIASES = {"validation_strategies": "validation"}


class Entry(Struct, frozen=True, kw_only=True):
    """One case as it stands in the file: its `line` (from 1), its fields, and what is wrong with its JSON."""

    test_case_id: str
    line: int
    fields: Mapping[str, Any]
    faults: tuple[str, ...] = ()


class Case(Struct, frozen=True, kw_only=True):
    """One case. `llm_config` is the call; `validation` is added to the checks that stand there.

    `expect` is the outcome that makes the case pass. Cases of a higher `priority` start first. `enabled: false` skips
    the case. `depends_on` and `repeat` belong to the format, but are refused by `read_case`: not supported yet.
    """

    test_case_id: str
    llm_config: Mapping[str, Any]
    description: str = ""
    expect: Expectation = "passed"
    tags: tuple[str, ...] = ()
    priority: int = DEFAULT_PRIORITY
    enabled: bool = True
    depends_on: tuple[str, ...] | str = ()
    repeat: int = 1
    validation: tuple[Any, ...] = ()


class CaseResult(Struct, frozen=True, kw_only=True):
    """What became of a case.

    `outcome` is already judged against `expected`; `why` says in one line what led to it. `unchecked`: the answer was
    taken as it came. `model` was asked, `answered_by` answered. `duration` is in seconds, `cost` in US dollars: that of
    the `charges`. `debug`: the case asks for its timeline.
    """

    test_case_id: str
    outcome: Outcome
    line: int
    expected: Expectation = "passed"
    why: str = ""
    unchecked: bool = False
    model: str | None = None
    answered_by: str | None = None
    duration: float = 0.0
    answer: str | None = None
    value: Any = None
    verdicts: tuple[Verdict, ...] = ()
    failure: Failure | None = None
    usage: Usage | None = None
    cost: Decimal | None = None
    charges: tuple[Charge, ...] = ()
    trace: Trace | None = None
    debug: bool = False


def read_case(entry: Entry) -> Case:
    """The case that `entry` stands for.

    Raises:
        ConfigError: A key is unknown, missing, there twice, of the wrong type, or not supported yet.
    """
    if entry.faults:
        raise ConfigError(entry.faults[0])
    keys = canonical_keys(entry.fields, known=Case.__struct_fields__, aliases=_ALIASES, what="case")
    try:
        case = msgspec.convert(keys, Case)
    except msgspec.ValidationError as error:
        raise ConfigError(str(error)) from error
    if case.enabled:
        _refuse_unsupported(case)
    return case


def configuration(case: Case, model: str | None) -> dict[str, Any]:
    """The configuration of the call: `llm_config` with the case's own `validation`, and `model` where one is given.

    Raises:
        ConfigError: No model is named, or the checks of `llm_config` are no list, so nothing can be added to them.
    """
    config = dict(case.llm_config)
    if model is not None:
        config["model"] = model
    if not config.get("model"):
        raise ConfigError("llm_config names no model", hint="Give it `model`, or the run `--model`.")
    if case.validation:
        key = next((alias for alias in _ALIASES if alias in config), "validation")
        checks = config.get(key, [])
        if not isinstance(checks, list):
            raise ConfigError(f"llm_config: {key} is no list")
        config[key] = [*checks, *case.validation]
    return config


def _refuse_unsupported(case: Case) -> None:
    for key, plain in (("depends_on", not case.depends_on), ("repeat", case.repeat == 1)):
        if not plain:
            raise ConfigError(f"{key} is not supported in this version", hint=f"Leave {key} out.")
