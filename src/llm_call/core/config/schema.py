"""What can be set. A new setting is a field with an annotation; a new section or table is one field of `Config`.

Three kinds of field: a value; a section (a struct, one level deep), whose values are set one by one; a table, whose
entries are named by the user and replaced as a whole, so that no two files can mix a key of one with a host of another.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

import msgspec
from msgspec import NODEFAULT, Meta, Struct

from llm_call.core.alerts.settings import ReceiverTable
from llm_call.core.domain.errors import ConfigError
from llm_call.core.domain.profile import Prices
from llm_call.core.domain.setting import Access, access_of, meaning_of, plain_type, setting
from llm_call.core.durable.settings import ReviewSettings
from llm_call.core.policy.backoff import Backoff
from llm_call.core.policy.breaker import BreakerPolicy
from llm_call.core.policy.hedging import HedgingPolicy
from llm_call.core.policy.limits import ConcurrencyPolicy, Limit
from llm_call.core.policy.retry import LONGEST_WAIT, PATIENCE, RetryPolicy
from llm_call.core.policy.retry_budget import RetryBudgetPolicy
from llm_call.core.policy.routing import Route
from llm_call.core.providers.credentials import Reference
from llm_call.core.providers.registry import DEFAULT_PROXY_URL
from llm_call.core.providers.user_rows import ProviderTable
from llm_call.core.state.gates import GatePolicies
from llm_call.core.state.settings import StateSettings
from llm_call.core.store.traces import TraceSettings
from llm_call.core.tools.config import ToolSettings
from llm_call.core.transport.base import HttpSettings, Timeouts
from llm_call.core.transport.cassette import Mode
from llm_call.core.transport.local import LocalSettings

_DEFAULT = Backoff()


class RetrySettings(Struct, frozen=True, kw_only=True):
    """When to ask again, where a call says nothing about it. The delays have full jitter."""

    max_attempts: Annotated[int, Meta(ge=1), setting("Attempts at each target.", access="free")] = 3
    strategy: Annotated[
        Literal["immediate", "basic", "linear", "exponential", "fibonacci"],
        setting("How the delay grows.", access="free"),
    ] = "exponential"
    base_delay: Annotated[float, Meta(ge=0), setting("The first delay, in seconds.", access="free")] = _DEFAULT.base
    factor: Annotated[float, Meta(ge=0), setting("What an exponential delay grows by.", access="free")] = (
        _DEFAULT.factor
    )
    max_delay: Annotated[float, Meta(ge=0), setting("The longest delay, in seconds.", access="free")] = _DEFAULT.cap
    patience: Annotated[
        float,
        Meta(ge=0),
        setting("The longest wait in seconds that a server may ask for while another target is free.", access="free"),
    ] = PATIENCE
    longest_wait: Annotated[
        float,
        Meta(ge=0),
        setting("The longest that it may ask for where there is neither another target nor a timeout.", access="free"),
    ] = LONGEST_WAIT

    def policy(self) -> RetryPolicy:
        """The policy that these settings mean."""
        backoff = Backoff(strategy=self.strategy, base=self.base_delay, factor=self.factor, cap=self.max_delay)
        return RetryPolicy(
            max_attempts=self.max_attempts, backoff=backoff, patience=self.patience, longest_wait=self.longest_wait
        )


class CacheSettings(Struct, frozen=True, kw_only=True):
    """Where the answers of calls that have a `cache_key` are kept."""

    mode: Annotated[
        Literal["off", "memory", "sqlite"], setting("In this process, in a file, or not at all.", access="free")
    ] = "memory"
    ttl: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        setting("Seconds that an answer is kept: an hour in memory, a week in a file.", access="free"),
    ] = None
    path: Annotated[str | None, setting("The file; responses.db in the user's cache.", access="trusted", path=True)] = (
        None
    )


class CassetteSettings(Struct, frozen=True, kw_only=True):
    """A file that every exchange with a peer goes through."""

    path: Annotated[str | None, setting("The file; without it there is none.", access="trusted", path=True)] = None
    mode: Annotated[
        Mode, setting("Record all, replay what is there, record what is not, or require a recording.", access="free")
    ] = "auto"


class TelemetrySettings(Struct, frozen=True, kw_only=True):
    """OpenTelemetry, with the providers that the process has set."""

    enabled: Annotated[bool, setting('Spans and measurements; needs "llm-call[otel]".', access="free")] = False
    capture_content: Annotated[bool, setting("Record what was asked and answered too.", access="trusted")] = False


class Config(Struct, frozen=True, kw_only=True):
    """Every setting."""

    default_model: Annotated[str | None, setting("The model that is asked where a call names none.", access="free")] = (
        None
    )
    claude_proxy_url: Annotated[str, setting("Where the Claude proxy listens.", access="local")] = DEFAULT_PROXY_URL
    timeouts: Timeouts = Timeouts()
    retry: RetrySettings = RetrySettings()
    hedging: HedgingPolicy = HedgingPolicy()
    retry_budget: RetryBudgetPolicy = RetryBudgetPolicy()
    breaker: BreakerPolicy = BreakerPolicy()
    concurrency: ConcurrencyPolicy = ConcurrencyPolicy()
    http: HttpSettings = HttpSettings()
    local: LocalSettings = LocalSettings()
    cache: CacheSettings = CacheSettings()
    cassette: CassetteSettings = CassetteSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    reviews: ReviewSettings = ReviewSettings()
    state: StateSettings = StateSettings()
    tools: ToolSettings = ToolSettings()
    traces: TraceSettings = TraceSettings()
    aliases: Annotated[Mapping[str, str], setting("What a name of your own stands for.", access="free")] = {}
    routes: Mapping[str, Route] = {}
    limits: Mapping[str, Limit] = {}
    prices: Mapping[str, Prices] = {}
    providers: Mapping[str, ProviderTable] = {}
    alerts: Mapping[str, ReceiverTable] = {}

    def __post_init__(self) -> None:
        check_url("claude_proxy_url", self.claude_proxy_url)

    def gates(self) -> GatePolicies:
        """What holds at the gates."""
        return GatePolicies(
            breaker=self.breaker, concurrency=self.concurrency, retry_budget=self.retry_budget, limits=self.limits
        )


def field_types(type_: type[Struct]) -> Mapping[str, Any]:
    """Every field of a struct and its type, with its annotation."""
    return {field.name: field.type for field in msgspec.structs.fields(type_)}


FIELDS: Mapping[str, Any] = field_types(Config)
"""Every field of the configuration and its type."""

# Variables that had their name before all others were named after their setting.
_OLDER_VARIABLES = {"http.ca_file": "LLM_CALL_CA_FILE", "local.model_path": "LLM_CALL_LOCAL_MODEL"}


class Setting(Struct, frozen=True, kw_only=True):
    """A setting as it is documented. The entries of tables have no environment variable."""

    name: str
    type: Any
    default: Any
    meaning: str
    access: Access | None
    variable: str | None = None


def section_type(type_: Any) -> type[Struct] | None:
    """The struct of a section; `None` for another kind of field."""
    return type_ if isinstance(type_, type) and issubclass(type_, Struct) else None


def entry_type(type_: Any) -> Any:
    """The type of a table's entries; `None` for another kind of field."""
    plain = plain_type(type_)
    return get_args(plain)[1] if get_origin(plain) is Mapping else None


def documented() -> Iterator[Setting]:
    """Every setting, in order."""
    for field in msgspec.structs.fields(Config):
        entry = entry_type(field.type)
        if section := section_type(field.type):
            yield from (_documented(each, f"{field.name}.") for each in msgspec.structs.fields(section))
        elif entry is None:
            yield _documented(field)
        elif fields := section_type(entry):
            yield from (_entry(each, f"{field.name}.NAME.") for each in msgspec.structs.fields(fields))
        else:
            yield Setting(
                name=f"{field.name}.NAME",
                type=entry,
                default=None,
                meaning=meaning_of(field.type),
                access=access_of(field.type),
            )


def references_in(name: str) -> frozenset[str]:
    """What in the entries of the table `name` is a reference to a key, and not shown."""
    fields = section_type(entry_type(FIELDS.get(name)))
    types = field_types(fields) if fields else {}
    return frozenset(each for each, type_ in types.items() if Reference in get_args(plain_type(type_)))


@cache
def variables() -> Mapping[str, str]:
    """Setting -> the environment variable that overrides it."""
    return {each.name: each.variable for each in documented() if each.variable}


def check_url(name: str, url: str) -> None:
    """Refuse what is no base URL, and one that holds a credential, without showing it.

    Raises:
        ConfigError: See above.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(f"{name} is no URL", hint="Use something like https://api.example.com/v1.")
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigError(f"{name} holds more than a place", hint="Credentials belong into api_key.")


def _documented(field: msgspec.structs.FieldInfo, prefix: str = "") -> Setting:
    name = f"{prefix}{field.name}"
    variable = _OLDER_VARIABLES.get(name) or f"LLM_CALL_{name.upper().replace('.', '_')}"
    return msgspec.structs.replace(_entry(field, prefix), variable=variable)


def _entry(field: msgspec.structs.FieldInfo, prefix: str) -> Setting:
    return Setting(
        name=f"{prefix}{field.name}",
        type=plain_type(field.type),
        default=None if field.default is NODEFAULT else field.default,
        meaning=meaning_of(field.type),
        access=access_of(field.type),
    )
