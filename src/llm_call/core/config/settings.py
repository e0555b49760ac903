"""A configuration that was read, with what goes with it."""

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from llm_call.core.config.schema import Config
from llm_call.core.config.trust import TrustStore
from llm_call.core.providers.credentials import Credentials
from llm_call.core.providers.registry import Provider


class Settings(Struct, frozen=True, kw_only=True):
    """A configuration, where each of its values came from, and what goes with it. Keys are never shown.

    `origins` has a line for each setting that is not at its default: `user file PATH`, `project file PATH`,
    `environment VARIABLE` or `argument`. `rows` are the user's own providers; `places` fill the gaps in
    base URLs. `file` is the user's file, there or not;
    `project` the project's, where there is one. `cache` and `state` are our folders
    in the user's cache and state; `environment` is what they were read from.
    """

    config: Config
    origins: Mapping[str, str]
    rows: tuple[Provider, ...]
    credentials: Credentials
    places: Mapping[str, str]
    file: Path
    project: Path | None
    trust: TrustStore
    cache: Path
    state: Path
    environment: Mapping[str, str] = {}
    unknown_variables: tuple[str, ...] = ()
