import importlib.util
from pathlib import Path

import pytest

from llm_call.core.domain.errors import ConfigError
from llm_call.core.transport.model_file import find_model, model_name, obstacle


def test_a_path_that_holds_no_gguf_is_refused_before_loading(tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("hello")
    (tmp_path / "empty.gguf").touch()
    for name in ("missing.gguf", "", "text.gguf", "empty.gguf"):
        with pytest.raises(ConfigError) as caught:
            find_model(str(tmp_path / name), "")
        assert caught.value.hint
        assert obstacle(str(tmp_path / name), "") == caught.value.hint


def test_the_model_is_looked_for_in_the_settings_the_package_and_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    for name in ("b.gguf", "a.gguf", "0.txt"):
        (models / name).write_bytes(b"GGUF")
    assert find_model(str(models / "b.gguf"), str(tmp_path)) == models / "b.gguf"
    assert model_name(find_model(None, str(tmp_path))) == "smollm2-135m"
    assert obstacle(None, str(tmp_path)) is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert find_model(None, str(tmp_path)) == models / "a.gguf"
    assert "llm-call[local]" in (obstacle(None, str(tmp_path)) or "")


def test_a_model_is_named_after_its_file() -> None:
    assert model_name("/models/SmolLM2-135M-Instruct.Q4_1.gguf") == "smollm2-135m"
    assert model_name(Path("Qwen3-0.6B.gguf")) == "qwen3-0.6b"
