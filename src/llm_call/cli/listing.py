"""The commands that list what there is: models, providers, validators, settings."""

import inspect
from collections.abc import Sequence
from typing import Any

import msgspec
import typer

from llm_call.cli.output import errors_told, print_table, say
from llm_call.core.api import default_settings
from llm_call.core.config import Settings, build_client, shown
from llm_call.core.domain.errors import ConfigError
from llm_call.core.domain.keys import near_names
from llm_call.core.policy.routing import Route
from llm_call.core.providers.litellm import GET_LITELLM, installed
from llm_call.core.providers.places import gaps, known_place
from llm_call.core.providers.registry import Provider
from llm_call.core.providers.signing import can_sign, extra
from llm_call.core.router import Router
from llm_call.core.transport.model_file import obstacle
from llm_call.core.validation import registered


def list_models(provider: str | None) -> None:
    """Print each model that is known by name, with its state, the user's own names, and the names of each provider.

    With `provider`, only what is of that one.
    """
    with errors_told():
        settings = default_settings()
        router = build_client(settings).router
        rows = _rows(router, provider)
        if models := model_lines(rows, router, settings):
            print_table(("model", "state"), models)
            typer.echo()
        if provider is None and (names := name_lines(settings)):
            print_table(("name of yours", "what it stands for"), names)
            typer.echo()
        typer.echo("A name goes to the first provider whose pattern it matches:")
        states = [(row.name, " ".join(row.patterns), _state(row, router, settings)) for row in rows]
        print_table(("provider", "patterns", "state"), states)


def model_lines(rows: Sequence[Provider], router: Router, settings: Settings) -> list[tuple[str, str]]:
    """The full name and the state of each model that the rows name."""
    default = settings.config.default_model or router.default_model()
    return [
        (full, f"{_state(row, router, settings)}{'  (default)' if full == default else ''}")
        for row in rows
        for name in row.models or ((row.default_model,) if row.default_model else ())
        for full in (f"{row.name}/{name}",)
    ]


def name_lines(settings: Settings) -> list[tuple[str, str]]:
    """The user's aliases and routes, each with what it stands for."""
    config = settings.config
    default = config.default_model
    stand_for = dict(config.aliases) | {name: _route(route) for name, route in config.routes.items()}
    return [(name, f"{meant}{'  (default)' if name == default else ''}") for name, meant in stand_for.items()]


def _route(route: Route) -> str:
    weights = route.strategy in ("weighted", "sticky")
    targets = [f"{each.model} ({each.weight:g})" if weights else each.model for each in route.members]
    return f"{route.strategy}: {', '.join(targets)}"


def list_providers() -> None:
    """Print every provider: its dialect and address, its key, how it was tested, and whether it can be used now."""
    with errors_told():
        settings = default_settings()
        print_table(PROVIDER_COLUMNS, provider_lines(build_client(settings).router, settings))


PROVIDER_COLUMNS = ("provider", "state", "key", "tested", "dialect", "base URL")


def provider_lines(router: Router, settings: Settings) -> list[tuple[str, ...]]:
    """A line of `PROVIDER_COLUMNS` for each row of the router."""
    return [
        (row.name, _state(row, router, settings), _key(row, router), row.tested, row.codec, row.base_url or "-")
        for row in router.rows
    ]


def _rows(router: Router, provider: str | None) -> tuple[Provider, ...]:
    if provider is None:
        return router.rows
    found = tuple(row for row in router.rows if row.name == provider)
    if not found:
        near = near_names(provider, [row.name for row in router.rows])
        hint = f"Did you mean {' or '.join(near)}?" if near else "`llm-call providers` lists them."
        raise ConfigError(f"unknown provider {provider!r}", hint=hint)
    return found


def _key(row: Provider, router: Router) -> str:
    name = router.credential_name(row)
    if name is not None:
        return "from the settings" if name == row.name else f"{name} is set"
    return "not set" if row.credential_env else "needs none"


def _state(row: Provider, router: Router, settings: Settings) -> str:
    if row.tested == "retired":
        return "retired by its vendor"
    if row.transport == "local":
        todo = obstacle(settings.config.local.model_path, str(settings.cache))
        return "ready" if todo is None else f"not installed. {todo}"
    if row.transport == "litellm":
        return "ready" if installed() else f"not installed. {GET_LITELLM}"
    if not row.base_url or row.transport == "process":
        return "not in this version"
    return f"ready{_form(row, router)}" if router.has_credential(row) else _needs(row, router)


def _needs(row: Provider, router: Router) -> str:
    """What is to be done where no key is set."""
    if row.signing is None:
        return f"needs {row.credential_env[0]}"
    if can_sign(row.signing):
        return f"signs with the machine's own credentials{_form(row, router)}"
    return f'needs {row.credential_env[0]}, or pip install "llm-call[{extra(row.signing)}]"'


def _form(row: Provider, router: Router) -> str:
    """What a name must say beside the model, because no setting does."""
    unknown = [f"<{gap}>/" for gap in gaps(row) if known_place(row, gap, router.places) is None]
    return f", as {row.name}/{''.join(unknown)}<model>" if unknown else ""


def list_validators(name: str | None) -> None:
    """Print every validator with its first line, or one with its parameters."""
    with errors_told():
        entries = registered()
        if name is None:
            print_table(
                ("validator", "what it says"), [(each, _summary(entry.type)) for each, entry in entries.items()]
            )
            return
        if name not in entries:
            near = near_names(name, entries)
            hint = f"Did you mean {' or '.join(near)}?" if near else "`llm-call validators` lists them."
            raise ConfigError(f"unknown validator {name!r}", hint=hint)
        entry = entries[name]
        typer.echo(f"{name}: {inspect.getdoc(entry.type)}")
        for field in msgspec.structs.fields(entry.type):
            typer.echo(f"  {field.encode_name}: {_type_name(field.type)}{_default(field)}")
        for alias, field_name in entry.aliases.items():
            typer.echo(f"  {alias} is another name of {field_name}")


def list_settings() -> None:
    """Print every setting, its value, and where that came from."""
    with errors_told():
        settings = default_settings()
        typer.echo(f"# user file: {settings.file}{'' if settings.file.is_file() else ' (not there)'}")
        typer.echo(f"# project file: {_project(settings)}")
        for name, value, origin in shown(settings):
            typer.echo(f"{name} = {msgspec.json.encode(value).decode()}  # {origin}")
        for variable in settings.credentials:
            if variable not in settings.config.providers:
                typer.echo(f"# {variable} is set")
        for problem in settings.unknown_variables:
            say(f"warning: {problem}")


def _project(settings: Settings) -> str:
    if settings.project is None:
        return "none"
    trusted = settings.trust.is_trusted(settings.project.parent)
    return f"{settings.project}{' (trusted)' if trusted else ''}"


def _summary(type_: type) -> str:
    return (inspect.getdoc(type_) or "").partition("\n")[0]


def _type_name(type_: Any) -> str:
    return str(getattr(type_, "__name__", type_)) if isinstance(type_, type) else str(type_).replace("typing.", "")


def _default(field: Any) -> str:
    if field.default is msgspec.NODEFAULT:
        return " (required)"
    return "" if field.default is msgspec.UNSET else f" = {field.default!r}"
