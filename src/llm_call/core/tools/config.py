"""Which MCP servers there are, in the words that all their users share: `{"mcpServers": {name: {...}}}`.

    {"command": "npx", "args": ["-y", "..."], "env": {"API_KEY": "env:MY_KEY"}, "cwd": "..."}    a program
    {"type": "http", "url": "https://...", "headers": {"Authorization": "Bearer ${MY_KEY}"}}     or "sse": an address

In `env` and `headers`, `env:NAME` and `${NAME}` stand for a variable of our own environment. A program gets of that
environment what is named so, and PATH, HOME and LANG. No value of either is ever shown.
"""

import re
import shlex
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from llm_call.core.domain.errors import ConfigError, MissingCredentialError
from llm_call.core.domain.keys import canonical_keys, near_names
from llm_call.core.domain.setting import setting
from llm_call.core.policy.tool_loop import ToolLimits

_INHERITED = ("PATH", "HOME", "LANG")
_REFERENCE = re.compile(r"\$\{(\w+)\}|^env:(\w+)$")
_KINDS = {
    "http": "http",
    "streamable-http": "http",
    "streamable_http": "http",
    "streamableHttp": "http",
    "sse": "sse",
    "stdio": "stdio",
}
_PROGRAM = ("type", "command", "args", "env", "cwd")
_ADDRESS = ("type", "url", "headers")
_NAME = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SECRET_NAME = re.compile(r"key|token|secret|password|auth", re.IGNORECASE)
# What is hidden of a command could be the harmful part of it: only what can be nothing but a key is.
_SECRET_ARGUMENT = re.compile(r"((?:key|token|secret|password)\w*[= ])[\w+=-]{8,}(?![^\s'])", re.IGNORECASE)
_KEY_SHAPE = re.compile(r"\b(?:sk|pk|gsk|ghp|hf|xai)[-_][\w-]{12,}|\beyJ[\w-]{20,}\.[\w.-]+")
_SHORTEST_SECRET = 8  # characters: hiding something shorter would hide ordinary words


class ToolSettings(ToolLimits, frozen=True, kw_only=True):
    """Tools of MCP servers, and how far a conversation with them may go."""

    allow: Annotated[
        bool, setting("Whether a file of cases may start programs and reach servers as tools.", access="trusted")
    ] = False
    allow_http: Annotated[
        bool, setting("Whether a server on another machine may be reached without TLS.", access="trusted")
    ] = False
    start_seconds: Annotated[
        float, Meta(gt=0), setting("The longest that a server may take to start and list its tools.", access="free")
    ] = 30.0


class Program(Struct, frozen=True, kw_only=True, tag="program"):
    """A server that is a program of ours, spoken to over its standard input and output.

    `env` is its whole environment; `said` is what was said of it, without secrets; `secrets` is what must not be shown.
    """

    name: str
    command: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = {}
    cwd: str | None = None
    said: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Program({self.name!r})"

    @property
    def summary(self) -> str:
        """What is started, in one line."""
        line = _SECRET_ARGUMENT.sub(r"\1<hidden>", shlex.join((self.command, *self.args)))
        where = f" in {self.cwd}" if self.cwd else ""
        return _shown(f"{self.name}: runs {_KEY_SHAPE.sub('<hidden>', line)}{where}", self.said)


class Address(Struct, frozen=True, kw_only=True, tag="address"):
    """A server that listens at `url`; `sse` for the older way to speak to it. `said` and `secrets` as of a program."""

    name: str
    url: str
    headers: Mapping[str, str] = {}
    sse: bool = False
    said: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Address({self.name!r})"

    @property
    def summary(self) -> str:
        """What is reached, in one line."""
        parts = urlsplit(self.url)
        return _shown(f"{self.name}: sends requests to {parts.scheme}://{parts.netloc}{parts.path}", self.said)


Server = Program | Address


class Toolset(Struct, frozen=True, kw_only=True):
    """Servers whose tools a model is given; `only` keeps those of one server, or one tool."""

    servers: tuple[Server, ...]
    only: str | None = None
    settings: ToolSettings = ToolSettings()


class Tooling(Struct, frozen=True, kw_only=True):
    """What a client needs to run tools: its settings, our own environment, and where relative folders begin."""

    settings: ToolSettings = ToolSettings()
    variables: Mapping[str, str] = {}
    folder: Path = Path()

    def __repr__(self) -> str:
        return f"Tooling(settings={self.settings!r}, variables=<hidden>)"

    def toolset(self, config: Mapping[str, Any], only: str | None = None) -> Toolset:
        """The servers that `config` names, checked.

        Raises:
            ConfigError: As `read_servers` says; or the extra is not installed.
        """
        servers = read_servers(
            config, folder=self.folder, variables=self.variables, allow_http=self.settings.allow_http
        )
        if servers and find_spec("mcp") is None:  # missed here, and not when answers have been paid for
            raise ConfigError("tools need the MCP library", hint='Run: pip install "llm-call[mcp]"')
        return Toolset(servers=servers, only=only, settings=self.settings)


def read_servers(
    config: Mapping[str, Any], *, folder: Path, variables: Mapping[str, str], allow_http: bool = False
) -> tuple[Server, ...]:
    """The servers that `config` names. `variables` is our own environment; a relative `cwd` begins at `folder`.

    Raises:
        ConfigError: A key is unknown, or a value cannot be; the message says which and never shows a secret.
        MissingCredentialError: A variable that is referred to is not set.
    """
    keys = canonical_keys(config, known=("mcpServers",), aliases={"mcp_servers": "mcpServers"}, what="mcp_config")
    servers = keys.get("mcpServers")
    if not isinstance(servers, Mapping):
        raise ConfigError("mcp_config: mcpServers must be an object", hint='{"mcpServers": {"name": {"command": ...}}}')
    return tuple(
        _server(str(name), entry, folder=folder, variables=variables, allow_http=allow_http)
        for name, entry in servers.items()
    )


def chosen(servers: tuple[Server, ...], only: str | None) -> tuple[Server, ...]:
    """The servers that have to run so that the tools of `only` are there: it names a server, or else one tool.

    Raises:
        ConfigError: There is no server at all that could have the tool.
    """
    if only is None:
        return servers
    if not servers:
        raise ConfigError(f"no MCP server is given that could have the tool {only!r}", hint="Name one in mcpServers.")
    return tuple(each for each in servers if each.name == only) or servers


def summaries(servers: tuple[Server, ...]) -> tuple[str, ...]:
    """What would be started and reached, a line each: for those who have to allow it."""
    return tuple(each.summary for each in servers)


def refuse_unless_allowed(servers: tuple[Server, ...], *, allowed: bool) -> None:
    """Refuse what a file of cases would start, unless the user has said so.

    Raises:
        ConfigError: It is not allowed; the message has a line for each server.
    """
    if servers and not allowed:
        lines = "".join(f"\n  {line}" for line in summaries(servers))
        raise ConfigError(
            f"tools are not allowed here, and these are asked for:{lines}", hint="Allow with --allow-tools."
        )


def hidden(text: str, secrets: tuple[str, ...]) -> str:
    """`text` without `secrets`."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "<hidden>")
    return text


def _server(name: str, entry: Any, *, folder: Path, variables: Mapping[str, str], allow_http: bool) -> Server:
    what = f"mcpServers.{name}"
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{what}: a server is an object", hint='{"command": ...} or {"type": "http", "url": ...}')
    kind = _kind(entry, what)
    known = _PROGRAM if kind == "stdio" else _ADDRESS
    keys = canonical_keys(entry, known=known, aliases={"transport": "type"}, what=what)
    if kind == "stdio":
        return _program(name, keys, what, folder, variables)
    return _address(name, keys, what, variables, sse=kind == "sse", allow_http=allow_http)


def _kind(entry: Mapping[str, Any], what: str) -> str:
    said = entry.get("type", entry.get("transport", "http" if "url" in entry else "stdio"))
    if isinstance(said, str) and said in _KINDS:
        return _KINDS[said]
    near = near_names(str(said), _KINDS, count=1)
    hint = f"Did you mean {near[0]}?" if near else "It is stdio, http or sse."
    raise ConfigError(f"{what}: unknown type {str(said)[:40]!r}", hint=hint)


def _program(name: str, keys: Mapping[str, Any], what: str, folder: Path, variables: Mapping[str, str]) -> Program:
    given = _given(keys.get("env"), f"{what}.env", variables)
    cwd = keys.get("cwd")
    return Program(
        name=name,
        command=_text(keys.get("command"), f"{what}.command"),
        args=tuple(_text(each, f"{what}.args", empty=True) for each in _list(keys.get("args"), f"{what}.args")),
        env={**{each: variables[each] for each in _INHERITED if each in variables}, **given.values},
        cwd=None if cwd is None else str(folder / Path(_text(cwd, f"{what}.cwd")).expanduser()),
        said=given.said,
        secrets=given.secrets,
    )


def _address(
    name: str, keys: Mapping[str, Any], what: str, variables: Mapping[str, str], *, sse: bool, allow_http: bool
) -> Address:
    url = _text(keys.get("url"), f"{what}.url")
    query = _checked(url, f"{what}.url", allow_http=allow_http)
    given = _given(keys.get("headers"), f"{what}.headers", variables)
    secrets = _secret([*given.secrets, *re.split("[&=]", query)])
    return Address(name=name, url=url, headers=given.values, sse=sse, said=given.said, secrets=secrets)


def _checked(url: str, what: str, *, allow_http: bool) -> str:
    """The query of `url`, which is one that requests may go to."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    if not host or parts.scheme not in {"http", "https"}:
        raise ConfigError(f"{what} is no URL", hint="Use something like https://example.com/mcp.")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(f"{what} holds a credential", hint="Put it into headers, as env:NAME.")
    if parts.scheme == "http" and not allow_http and not _is_here(host):
        raise ConfigError(f"{what}: {host} is reached without TLS", hint="Use https, or set tools.allow_http.")
    return parts.query


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Given(Struct, frozen=True, kw_only=True):
    """The values of `env` or `headers`, how they may be shown, and what in them may not."""

    values: Mapping[str, str]
    said: tuple[str, ...]
    secrets: tuple[str, ...]


def _given(entry: Any, what: str, variables: Mapping[str, str]) -> _Given:
    if not isinstance(entry, Mapping | None):
        raise ConfigError(f"{what} must be an object of texts", hint='{"NAME": "value"} or {"NAME": "env:VARIABLE"}')
    values, said, secrets = {}, [], []
    for name, text in (entry or {}).items():
        if not _NAME.fullmatch(str(name)):
            raise ConfigError(f"{what}: {str(name)[:40]!r} is no name", hint="Use letters, digits, - and _.")
        looked_up = _Lookup(f"{what}.{name}", variables)
        values[name] = looked_up.resolved(_text(text, looked_up.what, empty=True))
        is_secret = _SECRET_NAME.search(name) is not None
        secrets += [*looked_up.found, *([values[name], *values[name].split()] if is_secret else [])]
        said.append(f"{name}={'<hidden>' if is_secret and not looked_up.found else text}")
    return _Given(values=values, said=tuple(said), secrets=_secret(secrets))


class _Lookup:
    """References to variables in one text; `found` are the values that took their place."""

    def __init__(self, what: str, variables: Mapping[str, str]) -> None:
        self.what = what
        self.found: list[str] = []
        self._variables = variables

    def resolved(self, text: str) -> str:
        return _text(_REFERENCE.sub(self._value, text), self.what, empty=True)

    def _value(self, reference: re.Match[str]) -> str:
        name = reference[1] or reference[2]
        value = self._variables.get(name)
        if not value:
            raise MissingCredentialError(f"{self.what}: {name} is not set", hint="Set that variable, or name another.")
        self.found.append(value)
        return value


def _text(value: Any, what: str, *, empty: bool = False) -> str:
    if not isinstance(value, str) or not (value or empty):
        raise ConfigError(f"{what} must be a text", hint="Write it in quotes.")
    if _CONTROL.search(value):
        raise ConfigError(f"{what} has a control character in it", hint="Take it out.")
    return value


def _list(value: Any, what: str) -> Iterable[Any]:
    if not isinstance(value, list | tuple | None):
        raise ConfigError(f"{what} must be a list", hint='["--flag", "value"]')
    return value or ()


def _secret(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if len(value) >= _SHORTEST_SECRET))


def _shown(line: str, said: tuple[str, ...]) -> str:
    """`line` and what goes with it, whole, and without what could play tricks with a terminal."""
    line = ", with ".join(filter(None, (line, " ".join(said))))
    return "".join(each if each.isprintable() else "?" for each in line)
