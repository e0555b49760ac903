import pytest

from llm_call.cli.output import tell_error
from llm_call.core.domain.errors import AllTargetsFailedError, LLMCallError, ServerError
from llm_call.core.domain.trace import Attempt, Failure, Round, Trace


def trace(attempts: int) -> Trace:
    failure = Failure(kind="ServerError", message="no")
    tried = (Attempt(number=1, target="a/b", started=0, duration=0, failure=failure),) * attempts
    return Trace(model="a/b", rounds=(Round(number=1, rung="ask", attempts=tried),))


@pytest.mark.parametrize(
    ("error", "attempts", "line"),
    [
        (ServerError("it failed"), 1, "error: it failed"),
        (ServerError("it failed"), 3, "error: it failed (3 attempts)"),
        (ServerError("it failed.", hint="Wait."), 3, "error: it failed (3 attempts). Wait."),
        (ServerError("it failed", hint="Wait."), 0, "error: it failed. Wait."),
        (AllTargetsFailedError("no target answered\na/b: no", errors=()), 3, "error: no target answered\n  a/b: no"),
    ],
)
def test_an_error_is_told_with_how_often_it_was_tried(
    capsys: pytest.CaptureFixture[str], error: LLMCallError, attempts: int, line: str
) -> None:
    error.trace = trace(attempts) if attempts else None
    tell_error(error)
    assert capsys.readouterr().err == f"{line}\n"
