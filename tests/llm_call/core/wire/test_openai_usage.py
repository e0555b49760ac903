import pytest

from llm_call.core.domain.response import Usage
from llm_call.core.wire.openai_usage import CHAT, RESPONSES, UsageNames, read_usage, write_usage


@pytest.mark.parametrize("names", [CHAT, RESPONSES])
def test_every_count_is_read_and_written_under_the_dialects_names(names: UsageNames) -> None:
    wire = {
        names.sent: 100,
        names.said: 20,
        "total_tokens": 120,
        "cost": 0.5,
        names.sent_details: {"cached_tokens": 60, "cache_write_tokens": 30, "audio_tokens": 1},
        names.said_details: {"reasoning_tokens": 5, "accepted_prediction_tokens": 2},
    }
    usage, rest = read_usage(wire, names)
    assert usage == Usage(
        input_tokens=100,
        output_tokens=20,
        cached_input_tokens=60,
        cache_write_input_tokens=30,
        reasoning_tokens=5,
    )
    assert rest == {
        "cost": 0.5,
        names.sent_details: {"audio_tokens": 1},
        names.said_details: {"accepted_prediction_tokens": 2},
    }
    assert write_usage(usage, {"usage": rest}, names) == wire


def test_a_total_that_is_not_the_sum_is_kept() -> None:
    assert read_usage({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 9}, CHAT)[1] == {"total_tokens": 9}


def test_counts_that_are_none_are_unknown() -> None:
    wire = {"prompt_tokens": -1, "completion_tokens": "2", "prompt_tokens_details": [1]}
    assert read_usage(wire, CHAT)[0] == Usage()


def test_nothing_known_is_nothing_written() -> None:
    assert write_usage(Usage(), {}, CHAT) == {}
