"""What the command line says about the settings: those of one run, and the folders that are trusted."""

from functools import partial
from pathlib import Path

import typer

from llm_call.cli.output import say
from llm_call.core import api
from llm_call.core.config import load, trust_store
from llm_call.core.config.layers import restricted_settings
from llm_call.core.config.trust import PROJECT_FILE
from llm_call.core.domain.errors import ConfigError


def configure(settings: list[str], *, trust: bool) -> None:
    """Have `NAME=VALUE` settings, and trust in the project's folder, for this process.

    Raises:
        ConfigError: There is no `=`.
    """
    pairs = [each.partition("=") for each in settings]
    for name, equals, _ in pairs:
        if not equals:
            raise ConfigError(f"--set {name!r} has no value", hint="Write --set NAME=VALUE.")
    api.load_with(partial(load, arguments={name: value for name, _, value in pairs}, trust=trust))


def trust_folder(folder: Path) -> None:
    """Trust `folder` with its project file as it is, and say what that allows.

    Raises:
        ConfigError: There is no such folder, or its project file is wrong.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder", hint="Give the folder that holds the file.")
    names = restricted_settings(folder / PROJECT_FILE)
    trust_store().add(folder)
    sets = f". Its {PROJECT_FILE} sets: {', '.join(names)}" if names else ""
    typer.echo(f"{folder.resolve()} is trusted{sets}")


def forget(folder: Path) -> None:
    """Trust `folder` no more.

    Raises:
        ConfigError: It was not trusted.
    """
    if not trust_store().remove(folder):
        raise ConfigError(f"{folder.resolve()} is not trusted", hint="`llm-call trust --list` lists those that are.")
    typer.echo(f"{folder.resolve()} is trusted no more")


def list_trusted() -> None:
    """Print every folder that is trusted, and which of them have changed since."""
    store = trust_store()
    folders = store.folders()
    if not folders:
        say("no folder is trusted")
    for folder in folders:
        typer.echo(f"{folder}{'' if store.is_trusted(Path(folder)) else '  (changed since: not trusted)'}")
