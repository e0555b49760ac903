"""A user and a project, each with a file of settings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llm_call.core.config import Settings, load


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder that holds the user's folders; the user's file is `home/config/llm_call/config.toml`."""
    (tmp_path / "config" / "llm_call").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def project(home: Path) -> Path:
    """The root of a repository."""
    folder = home / "project"
    (folder / ".git").mkdir(parents=True)
    return folder


@pytest.fixture
def loaded(home: Path, project: Path) -> Callable[..., Settings]:
    """`loaded(user="...", project="...", NAME=value)`: the settings in the project's folder."""

    def make(
        *,
        user: str = "",
        shared: str = "",
        arguments: dict[str, Any] | None = None,
        trust: bool = False,
        **environment: str,
    ) -> Settings:
        if user:
            file = home / "config" / "llm_call" / "config.toml"
            file.write_text(user, encoding="utf-8")
            file.chmod(0o600)
        if shared:
            (project / "llm_call.toml").write_text(shared, encoding="utf-8")
        variables = {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CONFIG", "CACHE", "STATE")}
        return load({**variables, **environment}, folder=project, arguments=arguments, trust=trust)

    return make
