"""Settings, read: which files there are, the layers on top of each other, and what goes with them."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from llm_call.core.config.building import build_router
from llm_call.core.config.hosts import models_in, refuse_chosen_hosts
from llm_call.core.config.layers import argument_layer, assembled, environment_layer, project_layer, user_layer
from llm_call.core.config.rows import provider_rows
from llm_call.core.config.schema import FIELDS, Config, entry_type, variables
from llm_call.core.config.settings import Settings
from llm_call.core.config.trust import PROJECT_FILE, TrustStore
from llm_call.core.domain.errors import ConfigError
from llm_call.core.domain.keys import near_names
from llm_call.core.providers.credentials import Credentials, Reference, Variables
from llm_call.core.providers.places import PLACE_VARIABLES
from llm_call.core.providers.registry import Provider
from llm_call.core.providers.rows import PROVIDERS

TRUST_VARIABLE = "LLM_CALL_TRUST"
_USER = re.compile(r"(?<=://).*(?=@)|(?<=[?&]password=)[^&#]*")  # of a URL, with the password


def load(
    environment: Mapping[str, str] | None = None,
    *,
    folder: Path | None = None,
    arguments: Mapping[str, Any] | None = None,
    trust: bool = False,
) -> Settings:
    """The settings of this user in this folder.

    `environment` replaces the process's own, `folder` its working folder. `arguments` set values by their dotted names.
    `trust` takes the project's folder as trusted, as does `LLM_CALL_TRUST=1`.

    Raises:
        ConfigError: A file cannot be read; a setting is unknown, wrong, or one that an untrusted folder may not set.
    """
    environment = Variables(os.environ if environment is None else environment)
    file = _folder(environment, "XDG_CONFIG_HOME", ".config") / "config.toml"
    project = project_file(folder)
    store = trust_store(environment, trust=trust)
    shared = project_layer(project, store)
    layer = {**user_layer(file), **shared, **environment_layer(environment), **argument_layer(arguments or {})}
    config, rows = assembled(layer), provider_rows(layer)
    settings = Settings(
        config=config,
        origins={".".join(path): found.origin for path, found in layer.items()},
        rows=rows,
        credentials=_credentials(config, rows, environment),
        places={name: environment[name] for name in PLACE_VARIABLES if environment.get(name)},
        file=file,
        project=project,
        trust=store,
        cache=_folder(environment, "XDG_CACHE_HOME", ".cache"),
        environment=environment,
        state=_folder(environment, "XDG_STATE_HOME", ".local/state"),
        unknown_variables=tuple(_unknown_variables(environment)),
    )
    if project and models_in(shared):
        refuse_chosen_hosts(shared, build_router(settings), is_trusted=lambda: store.is_trusted(project.parent))
    return settings


def shown(settings: Settings) -> Iterator[tuple[str, Any, str]]:
    """Every setting in order: its name, its value, where that came from. Of a key it says only where it is.

    Of a URL it leaves out the user and the password.
    """
    for name, value in msgspec.structs.asdict(settings.config).items():
        if isinstance(value, Struct):
            for key, each in msgspec.structs.asdict(value).items():
                yield f"{name}.{key}", _without_user(each), settings.origins.get(f"{name}.{key}", "default")
        elif entry_type(FIELDS[name]) is not None:
            for key, entry in value.items():
                yield from _shown_entry(f"{name}.{key}", entry, settings.origins[f"{name}.{key}"])
        else:
            yield name, value, settings.origins.get(name, "default")


def _without_user(value: Any) -> Any:
    return _USER.sub("<hidden>", value) if isinstance(value, str) else value


def trust_store(environment: Mapping[str, str] | None = None, *, trust: bool = False) -> TrustStore:
    """The record of the folders that this user trusts; `trust`: and all others, for this run.

    Raises:
        ConfigError: `LLM_CALL_TRUST` is neither yes nor no.
    """
    environment = Variables(os.environ if environment is None else environment)
    said = environment.get(TRUST_VARIABLE, "").lower()
    if said not in {"", "0", "1", "false", "true"}:
        raise ConfigError(f"{TRUST_VARIABLE} is neither 1 nor 0", hint="Set it to 1 to trust the project for one run.")
    return TrustStore(
        _folder(environment, "XDG_STATE_HOME", ".local/state") / "trusted.json", always=trust or said in {"1", "true"}
    )


def project_file(folder: Path | None = None) -> Path | None:
    """The project's file that counts in `folder` (the working folder): the nearest one in it or above it.

    The search ends at the root of the repository that `folder` lies in; outside of a repository below the user's home;
    elsewhere no parent is looked at: anybody may be able to write there.
    """
    try:
        here = (folder or Path.cwd()).resolve()
        return next((each / PROJECT_FILE for each in _searched(here) if (each / PROJECT_FILE).is_file()), None)
    except OSError:
        return None  # the working folder is gone, or closed to us: there is no project


def _searched(folder: Path) -> tuple[Path, ...]:
    upward = (folder, *folder.parents)
    for number, each in enumerate(upward, start=1):
        if (each / ".git").exists():
            return upward[:number]
    home = Path.home().resolve()
    return upward[: upward.index(home)] if home in folder.parents else upward[:1]


def _folder(environment: Mapping[str, str], variable: str, fallback: str) -> Path:
    """The user's folder of one kind, by the XDG base directory specification, which ignores relative paths."""
    base = Path(environment.get(variable) or "")
    return (base if base.is_absolute() else Path.home() / fallback) / "llm_call"


def _credentials(config: Config, rows: tuple[Provider, ...], environment: Mapping[str, str]) -> Credentials:
    names = dict.fromkeys(name for row in (*rows, *PROVIDERS) for name in row.credential_env)
    own = {name: table.api_key for name, table in config.providers.items() if table.api_key is not None}
    references = {name: Reference(f"env:{name}", folder=Path()) for name in names}
    return Credentials({**references, **{name: each for name, each in own.items() if each.kind != "env"}}, environment)


def _unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """What looks like a variable of ours and is none, with what may have been meant."""
    known = {TRUST_VARIABLE, *variables().values()}
    for name in sorted(environment):
        if name.startswith("LLM_CALL_") and name not in known:
            near = near_names(name, known, count=1)
            yield f"{name} is no setting{f'. Did you mean {near[0]}?' if near else ''}"


def _shown_entry(name: str, entry: Any, origin: str) -> Iterator[tuple[str, Any, str]]:
    if not isinstance(entry, Struct):
        yield name, entry, origin
        return
    for key, value in msgspec.structs.asdict(entry).items():
        if isinstance(value, Reference):
            yield f"{name}.{key}", f"<set by {value!r}>", origin
        elif value is not None:
            yield f"{name}.{key}", value, origin
