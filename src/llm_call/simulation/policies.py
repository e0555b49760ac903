"""A policy file: the user's own configuration, of which the simulator takes what decides, and nothing that acts.

No key is looked up, no folder is read, nothing is sent: every provider counts as one that has its key.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec.structs import replace

from llm_call.core.config.layers import Layer, assembled, user_layer
from llm_call.core.config.rows import provider_rows
from llm_call.core.config.schema import Config
from llm_call.core.config.settings import Settings
from llm_call.core.config.trust import TrustStore
from llm_call.core.domain.errors import ConfigError
from llm_call.core.providers.credentials import Credentials, Reference
from llm_call.core.providers.places import PLACE_VARIABLES

ACTS = frozenset({"http", "local", "cache", "cassette", "telemetry", "claude_proxy_url"})
"""The settings that decide nothing: where things are, what is kept, what is told to whom."""

_NOWHERE = Path("simulated")


def read_policy(file: Path) -> tuple[Settings, tuple[str, ...]]:
    """The settings of `file`, and the sections in it that have no part in a simulation.

    Raises:
        ConfigError: There is no such file, or a setting in it is unknown or wrong.
    """
    if not file.is_file():
        raise ConfigError(f"there is no policy file {file}", hint="It has the form of config.toml: docs/settings.md.")
    layer = user_layer(file)
    passed_over = dict.fromkeys(path[0] for path in layer if path[0] in ACTS)
    return settings_of({path: found for path, found in layer.items() if path[0] not in ACTS}), tuple(passed_over)


def settings_of(layer: Layer) -> Settings:
    """What `layer` decides, for a client that reaches nobody."""
    rows = tuple(replace(row, signing=None) for row in provider_rows(layer))
    return Settings(
        config=assembled(layer),
        origins={},
        rows=rows,
        credentials=Credentials(_EveryKey(), {}),
        places=dict.fromkeys(PLACE_VARIABLES, "simulated"),
        file=_NOWHERE,
        project=None,
        trust=TrustStore(_NOWHERE),
        cache=_NOWHERE,
        state=_NOWHERE,
    )


def first_model(config: Config) -> str:
    """What is asked where no model is named: the default one, else the first route.

    Raises:
        ConfigError: There is neither.
    """
    model = config.default_model or next(iter(config.routes), None)
    if model is None:
        raise ConfigError("the policy says of no model", hint="Set default_model or a route in it, or use --model.")
    return model


class _EveryKey(Mapping[str, Reference]):
    """A key under every name."""

    def __getitem__(self, name: str) -> Reference:
        return Reference("simulated", folder=_NOWHERE)

    def __iter__(self) -> Iterator[str]:
        return iter(("simulated",))  # it is not empty

    def __len__(self) -> int:
        return 1
