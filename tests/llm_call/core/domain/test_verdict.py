from llm_call.core.domain.verdict import Problem, accepted, rejected


def test_a_verdict_reads_as_the_documented_mapping() -> None:
    good = accepted("json", {"key": "value"})
    assert dict(good) == {"valid": True, "data": {"key": "value"}}
    assert (good["valid"], good["data"], good.get("error")) == (True, {"key": "value"}, None)
    bad = rejected("json", Problem(code="a", message="first"), Problem(code="b", message="second", path="/x"))
    assert dict(bad) == {"valid": False, "error": "first; /x: second"}
    assert "data" not in bad
    assert len(bad) == 2
