import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from typer.testing import CliRunner

from llm_call.cli.main import app
from llm_call.core import api
from llm_call.core.domain.errors import ConfigError, MissingCredentialError, ServerError
from llm_call.core.domain.messages import Text
from llm_call.core.domain.response import Response
from llm_call.core.domain.result import Result
from llm_call.core.domain.trace import Trace
from llm_call.core.domain.verdict import Problem, accepted, rejected


class ScriptedPlan(Struct, frozen=True, kw_only=True):
    model: str
    checks: tuple[str, ...] = ("contains",)


class ScriptedClient:
    """The model's name says what happens."""

    def __init__(self) -> None:
        self.calls = 0

    def prepare(self, config: Mapping[str, Any]) -> ScriptedPlan:
        if config["model"] == "keyless":
            raise MissingCredentialError("no key", hint="Set SOME_KEY.")
        if config["model"] == "faulty":
            raise ConfigError("unknown validator 'contians'", hint="Did you mean contains?")
        return ScriptedPlan(
            model=config["model"], checks=() if config.get("default_validate") is False else ("contains",)
        )

    def hooked(self, hook: object) -> nullcontext[None]:
        return nullcontext()

    async def execute(self, plan: ScriptedPlan) -> Result[Any]:
        self.calls += 1
        if plan.model == "down":
            raise ServerError("upstream failed", status=503)
        if plan.model == "interrupted":
            signal.raise_signal(signal.SIGINT)
            await asyncio.Event().wait()
        ok = plan.model != "rejected"
        return Result(
            ok=ok,
            value="yes" if ok else None,
            response=Response(model=plan.model, parts=(Text(text="yes"),)),
            trace=Trace(model=plan.model),
            verdicts=(
                accepted("contains") if ok else rejected("contains", Problem(code="c", message="'x' is missing")),
            ),
        )


class Done(Struct, frozen=True, kw_only=True):
    code: int
    out: list[str]
    err: list[str]


Invoke = Callable[..., Done]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> ScriptedClient:
    scripted = ScriptedClient()
    monkeypatch.setattr(api, "default_client", lambda: scripted)
    return scripted


@pytest.fixture
def invoke(client: ScriptedClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Run the command in a folder of its own, on `cases.json` with one case for each model that is named."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, models: tuple[str, ...] = (), text: str | None = None) -> Done:
        cases = [{"test_case_id": f"{model}_001_words", "llm_config": {"model": model}} for model in models]
        Path("cases.json").write_text(text or json.dumps(cases), encoding="utf-8")
        result = CliRunner().invoke(app, ["test", "run", "cases.json", *arguments])
        return Done(code=result.exit_code, out=result.stdout.splitlines(), err=result.stderr.splitlines())

    return run


def test_standard_output_is_exactly_the_documented_lines(invoke: Invoke) -> None:
    done = invoke("--test-id", "fine_001", models=("fine", "rejected"))
    assert done == Done(
        code=0,
        out=["Running fine_001_words...", "✅ fine_001_words passed", "", "Results: 1 passed, 0 failed"],
        err=[],
    )


def test_all_outcomes_stay_apart(invoke: Invoke) -> None:
    done = invoke(models=("fine", "rejected", "down", "faulty", "keyless"))
    assert done == Done(
        code=1,
        out=[
            "Running fine_001_words...",
            "✅ fine_001_words passed",
            "Running rejected_001_words...",
            "❌ rejected_001_words failed: contains: 'x' is missing",
            "Running down_001_words...",
            "⚠️ down_001_words error: upstream failed",
            "⚠️ faulty_001_words error: cases.json:1: unknown validator 'contians' (Did you mean contains?)",
            "⏭️ keyless_001_words skipped: no key (Set SOME_KEY.)",
            "",
            "Results: 1 passed, 1 failed, 2 errors, 1 skipped",
        ],
        err=[],
    )


def test_in_parallel_the_verdicts_are_the_same(invoke: Invoke) -> None:
    models = ("fine", "rejected", "down", "faulty", "keyless")
    one_at_a_time = invoke(models=models)
    for arguments in (("-p",), ("--parallel", "--max-concurrent", "2")):
        assert sorted(invoke(*arguments, models=models).out) == sorted(one_at_a_time.out)


def test_what_was_tolerated_goes_to_standard_error(invoke: Invoke) -> None:
    done = invoke(text='// mine\n[{"test_case_id": "a", "llm_config": {"model": "fine", "default_validate": False},}]')
    assert done.code == 0
    assert done.out == ["Running a...", "✅ a passed (unchecked)", "", "Results: 1 passed, 0 failed"]
    assert done.err == [
        "warning: cases.json:1: tolerated what is no JSON: comment",
        "warning: cases.json:2: tolerated what is no JSON: Python's False",
        "warning: cases.json:2: tolerated what is no JSON: trailing comma",
    ]


@pytest.mark.parametrize(
    ("arguments", "text", "error"),
    [
        ((), '[{"test_case_id": "a"', "error: cases.json:1:22: expected ',' delimiter, found the end of the file"),
        ((), '[{"llm_config": {}}]', "error: cases.json:1: a case without test_case_id"),
        (("-t", "zzz"), None, "error: no case matches 'zzz'. There are 1, first fine_001_words."),
        (("-t", "fin_001_words"), None, "error: no case matches 'fin_001_words'. Did you mean fine_001_words?"),
        (("-o", "absent/out.json"), None, "error: cannot write absent/out.json: No such file or directory"),
        (("-o", "cases.json"), None, "error: cases.json is the file of cases. Name another file for the results."),
        (("--max-concurrent", "2"), None, "error: --max-concurrent needs --parallel"),
    ],
)
def test_a_wrong_file_or_command_line_is_one_line_and_nothing_runs(
    invoke: Invoke, client: ScriptedClient, arguments: tuple[str, ...], text: str | None, error: str
) -> None:
    done = invoke(*arguments, models=("fine",), text=text)
    assert (done.code, done.out, len(done.err)) == (2, [], 1)
    assert done.err[0].startswith(error)
    assert client.calls == 0


@pytest.mark.parametrize("arguments", [["run"], ["run", "f", "-p", "--max-concurrent", "0"], ["run", "absent.json"]])
def test_a_command_line_that_cannot_be_used_exits_with_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, ["test", *arguments]).exit_code == 2


def test_a_run_in_which_all_were_skipped_needs_leave(invoke: Invoke) -> None:
    assert invoke(models=("keyless",)).code == 1
    assert invoke("--allow-skipped", models=("keyless",)).code == 0


def test_the_model_option_asks_one_model_in_all_cases(invoke: Invoke) -> None:
    assert invoke("-m", "fine", models=("down", "rejected")).out[-1] == "Results: 2 passed, 0 failed"


def test_the_results_file_is_written_also_after_errors(invoke: Invoke) -> None:
    text = json.dumps(
        [
            {"test_case_id": "a", "llm_config": {"model": "fine", "api_key": "sk-secret-1"}},
            {"test_case_id": "b", "llm_config": {"model": "down", "api_key": "sk-secret-2"}},
        ]
    )
    done = invoke("-o", "out.json", text=text)
    assert (done.code, done.err) == (1, ["results: out.json"])
    content = Path("out.json").read_text(encoding="utf-8")
    assert "sk-secret" not in content
    results = json.loads(content)
    assert results["file"] == "cases.json"
    assert results["summary"] == {"passed": 1, "failed": 0, "errors": 1, "skipped": 0, "not_run": 0}
    assert [(case["test_case_id"], case["outcome"], case["answer"]) for case in results["cases"]] == [
        ("a", "passed", "yes"),
        ("b", "error", None),
    ]


def test_an_interrupt_ends_with_the_summary_of_what_was_done_and_with_its_results(invoke: Invoke) -> None:
    done = invoke("-o", "out.json", models=("fine", "interrupted", "rejected"))
    assert done.code == 130
    assert done.out == [
        "Running fine_001_words...",
        "✅ fine_001_words passed",
        "Running interrupted_001_words...",
        "",
        "Results: 1 passed, 0 failed",
    ]
    assert done.err == ["interrupted: 2 of 3 cases have no verdict", "results: out.json"]
    results = json.loads(Path("out.json").read_text(encoding="utf-8"))
    assert results["interrupted"]
    assert [case["test_case_id"] for case in results["cases"]] == ["fine_001_words"]


def test_the_command_line_is_there_without_the_library(tmp_path: Path) -> None:
    program = "import sys, llm_call.cli.test_runner; print([m for m in ('msgspec', 'asyncio') if m in sys.modules])"
    started = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert started.stdout == "[]\n"
