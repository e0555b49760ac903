"""Where settings are said, and how what is said becomes values: each checked by itself, so that an error names its place.

Later layers replace earlier ones: the user's file, the project's file, the environment, arguments.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
from msgspec import Struct

from llm_call.core.config.schema import (
    FIELDS,
    Config,
    entry_type,
    field_types,
    references_in,
    section_type,
    variables,
)
from llm_call.core.config.trust import TrustStore, restricted
from llm_call.core.domain.errors import ConfigError
from llm_call.core.domain.keys import canonical_keys
from llm_call.core.domain.setting import is_path, plain_type
from llm_call.core.providers.credentials import Reference, warn_if_shared, with_references

SettingPath = tuple[str, ...]
"""The name of a setting in its parts: a value's, or section and value, or table and entry."""


class Found(Struct, frozen=True, kw_only=True):
    """A value that is set, in which layer, and where exactly."""

    value: Any
    origin: str
    where: str


Layer = Mapping[SettingPath, Found]
Where = Callable[[SettingPath], str]
"""Says where a setting stands: `file:line`, or the variable."""


def user_layer(file: Path) -> Layer:
    """What the user's own file sets. It may hold a key itself, but then nobody else should be able to read it.

    Raises:
        ConfigError: It cannot be read, or a setting is unknown or wrong.
    """
    source = _Source.read(file)
    if source is None:
        return {}
    values = source.checked(f"user file {file}")
    if any(reference.kind == "plain" for _, reference in _references(source.values)):
        warn_if_shared(file, "a key")
    return values


def project_layer(file: Path | None, trust: TrustStore) -> Layer:
    """What the project's file sets. It never holds a key, and says where keys and requests go only in a trusted folder.

    Raises:
        ConfigError: It cannot be read, a setting is unknown or wrong, or needs a folder that is trusted.
    """
    source = _Source.read(file) if file else None
    if source is None:
        return {}
    values = source.checked(f"project file {source.file}")
    for path, reference in _references(source.values):
        if reference.kind == "plain":
            raise ConfigError(
                f"{source.where(path)}: {'.'.join(path)} is a key itself, and projects are shared",
                hint="Use env:NAME, file:PATH or keyring:SERVICE/NAME.",
            )
    _refuse_restricted(source, trust)
    return values


def restricted_settings(file: Path) -> tuple[str, ...]:
    """The settings of a project's `file` that only a trusted folder may have.

    Raises:
        ConfigError: It cannot be read, or a setting is unknown or wrong.
    """
    source = _Source.read(file)
    if source is None:
        return ()
    source.checked("")
    return tuple(".".join(path) for path in restricted(source.values))


def environment_layer(environment: Mapping[str, str]) -> Layer:
    """What environment variables set; an empty one sets nothing.

    Raises:
        ConfigError: One is wrong.
    """
    said = {name: variable for name, variable in variables().items() if environment.get(variable)}
    return dict(_said(name, environment[variable], f"environment {variable}") for name, variable in said.items())


def argument_layer(arguments: Mapping[str, Any]) -> Layer:
    """What arguments set: dotted name -> value, or its text.

    Raises:
        ConfigError: One is unknown or wrong.
    """
    for name in arguments:
        table = name.partition(".")[0]
        if table in FIELDS and entry_type(FIELDS[table]) is not None:
            raise ConfigError(
                f"settings: {name!r} is no single setting", hint=f"Write a table [{table}.NAME] in a file."
            )
    given = canonical_keys(arguments, known=variables(), aliases={}, what="settings")
    return dict(_said(name, value, "argument") for name, value in given.items())


def assembled(layer: Layer) -> Config:
    """The configuration with what `layer` says, and defaults for the rest."""
    values: dict[str, Any] = {}
    for (name, *rest), found in layer.items():
        if rest:
            values.setdefault(name, {})[rest[0]] = found.value
        else:
            values[name] = found.value
    for name, value in values.items():
        if section := section_type(FIELDS[name]):
            values[name] = section(**value)
    return Config(**values)


class _Source(Struct, frozen=True, kw_only=True):
    """A file of settings as it was read. A key in it is no longer in `values` as text, and the text is not shown."""

    file: Path
    content: bytes
    values: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"_Source({str(self.file)!r})"

    @classmethod
    def read(cls, file: Path) -> "_Source | None":
        """The file's settings; `None` where there is no such file."""
        try:
            content = file.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise ConfigError(f"{file}: {error.strerror}", hint="Make it readable, or remove it.") from None
        return cls(file=file, content=content, values=_parsed(content, file))

    def checked(self, origin: str) -> Layer:
        """Every value that the file sets."""
        folder = self.file.parent
        return {
            path: Found(value=_placed(path, value, folder), origin=origin, where=self.where(path))
            for path, value in _checked(self.values, self.where)
        }

    def where(self, path: SettingPath) -> str:
        """`file:line` of a setting, or of the nearest table that holds it."""
        return f"{self.file}:{_line_of(self.content.decode(), path)}"


def _parsed(content: bytes, file: Path) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415  (start-up: most users have no file)

    try:
        values = tomllib.loads(content.decode())
    except ValueError as error:
        why = "it is not in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
    else:
        return {name: _referring(name, value, file.parent) for name, value in values.items()}
    line = re.search(r"at line (\d+)", why)
    raise ConfigError(f"{file}{f':{line[1]}' if line else ''}: {why}", hint="Mend the file, or remove it.")


def _referring(name: str, value: Any, folder: Path) -> Any:
    names = references_in(name) | {"api_key"}  # a key in a wrong place is none to be shown either
    return with_references({name: value}, folder, names=names)[name]


def _refuse_restricted(source: _Source, trust: TrustStore) -> None:
    paths = tuple(restricted(source.values))
    if not paths or trust.is_trusted(source.file.parent, source.content):
        return
    names = ", ".join(".".join(path) for path in paths)
    raise ConfigError(
        f"{source.where(paths[0])}: a project may set {names} only in a folder that you trust",
        hint=f"Look at the file; then run `llm-call trust {source.file.parent}`, or take it out.",
    )


def _said(name: str, value: Any, origin: str) -> tuple[SettingPath, Found]:
    path = tuple(name.split("."))
    if isinstance(value, str) and _is_list(path):
        value = _items(value)
    checked = _value(path, value, lambda _: origin, strict=False)
    return path, Found(value=_placed(path, checked, Path()), origin=origin, where=origin)


def _is_list(path: SettingPath) -> bool:
    return get_origin(plain_type(_type(path))) is tuple


def _items(text: str) -> Any:
    """The items of a list that is said in one word: JSON, or with commas between them."""
    try:
        return msgspec.json.decode(text, type=list[Any])
    except msgspec.MsgspecError:
        return [item.strip() for item in text.split(",")]


def _type(path: SettingPath) -> Any:
    section = section_type(FIELDS[path[0]])
    return field_types(section)[path[1]] if section else FIELDS[path[0]]


def _choices(type_: Any) -> str:
    plain = plain_type(type_)
    return f"; it is one of {', '.join(get_args(plain))}" if get_origin(plain) is Literal else ""


def _placed(path: SettingPath, value: Any, folder: Path) -> Any:
    """`value`, where it is a path from `folder`; `~` is the user's home."""
    return str(folder / Path(value).expanduser()) if isinstance(value, str) and is_path(_type(path)) else value


def _references(values: Mapping[str, Any], prefix: SettingPath = ()) -> Iterator[tuple[SettingPath, Reference]]:
    for name, value in values.items():
        if isinstance(value, Reference):
            yield (*prefix, name), value
        elif isinstance(value, Mapping):
            yield from _references(value, (*prefix, name))


def _checked(values: Mapping[str, Any], where: Where) -> Iterator[tuple[SettingPath, Any]]:
    """Every value with its path."""
    _known(values, FIELDS, (), where)
    for name, value in values.items():
        type_, path = FIELDS[name], (name,)
        section, entry = section_type(type_), entry_type(type_)
        if not (section or entry):
            yield path, _value(path, value, where, strict=True)
            continue
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where(path)}: {name} is a table", hint=f"Write [{name}] on a line of its own.")
        if section:
            _known(value, section.__struct_fields__, path, where)
        elif fields := section_type(entry):
            for each, table in value.items():
                if isinstance(table, Mapping):
                    _known(table, fields.__struct_fields__, (*path, each), where)
        yield from (((*path, key), _value((*path, key), each, where, strict=True)) for key, each in value.items())


def _known(values: Mapping[str, Any], known: Any, prefix: SettingPath, where: Where) -> None:
    for name in values:
        path = (*prefix, name)
        table = f": [{'.'.join(prefix)}]" if prefix else ""
        canonical_keys({name: None}, known=known, aliases={}, what=f"{where(path)}{table}")


def _value(path: SettingPath, value: Any, where: Where, *, strict: bool) -> Any:
    """`value` as the type of the setting at `path`; `strict`: not out of text."""
    name = path[0]
    section, entry = section_type(FIELDS[name]), entry_type(FIELDS[name])
    try:
        if entry is not None:
            return msgspec.convert(value, entry, strict=strict)
        holder = section or Config
        return getattr(msgspec.convert({path[-1]: value}, holder, strict=strict), path[-1])
    except msgspec.ValidationError as error:
        said, _, at = str(error).partition(" - at `$")
        inner = at.rstrip("`") if entry is not None else at.rstrip("`").removeprefix(f".{path[-1]}")
        part = re.match(r"\.(\w+)", inner)
        place = where((*path, part[1]) if part else path)
        fields = section_type(entry)
        type_ = field_types(fields)[part[1]] if fields and part else entry or _type(path)
        raise ConfigError(
            f"{place}: {'.'.join(path)}{inner}: {said}{_choices(type_)}", hint="docs/settings.md lists all settings."
        ) from None
    except ConfigError as error:
        table = "" if entry is None else f"[{'.'.join(path)}] "
        raise ConfigError(f"{where(path)}: {table}{error.message}", hint=error.hint) from None


_LINE = re.compile(r"\s*(?:\[\[?(?P<table>[^\]=]+)\]|(?P<key>[^=#\[]+?)\s*=)")


def _line_of(text: str, path: SettingPath) -> int:
    """The line, from 1, that says most of `path`. Good enough to find it: strings of several lines are not told apart."""
    table: SettingPath = ()
    best, depth = 1, 0
    for number, line in enumerate(text.splitlines(), start=1):
        found = _LINE.match(line)
        if found is None:
            continue
        here = _key_path(found["table"] or found["key"])
        if found["table"]:
            table = here
        else:
            here = (*table, *here)
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(here, path, strict=False)))
        if common > depth:
            best, depth = number, common
    return best


def _key_path(text: str) -> SettingPath:
    return tuple(part.strip().strip("\"'") for part in re.findall(r"""\s*("[^"]*"|'[^']*'|[^.]+)""", text))
