"""Credentials by reference: where a key is, not what it is. A key is looked up when its provider is used, not before.

Nothing here shows a key: not in a `repr`, not in a message, and not where a traceback shows local variables. The key
itself leaves `Credentials` as a plain string for the one place that makes a header of it.
"""

import os
import re
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

from llm_call.core.domain.errors import ConfigError, MissingCredentialError
from llm_call.core.domain.keys import near_names

Kind = Literal["env", "file", "keyring", "plain"]

_SCHEME = re.compile(r"([a-z_]+):(?!//)(.*)", re.DOTALL)
_KINDS: tuple[Kind, ...] = ("env", "file", "keyring")
_KEYS = frozenset({"api_key"})
_OTHERS_MAY_READ = 0o077
_LONGEST = 65_536  # bytes of a file that holds one key; a device or a wrong file is not read to its end


class Variables(Mapping[str, str]):
    """Environment variables, which hold keys among other things: their values are not shown."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<{len(self)} variables>"


class Reference:
    """Where a credential is: `env:NAME`, `file:PATH`, `keyring:SERVICE/NAME`, or the credential itself (`plain`).

    A relative path begins at `folder`, the one of the file that says it; `~` is the user's home. `setting` is the name
    of the setting, for messages. `place` is what follows the colon.

    Raises:
        ConfigError: It is none of these. The message does not show it.
    """

    __slots__ = ("kind", "place", "setting")

    def __init__(self, text: str, *, folder: Path, setting: str = "api_key") -> None:
        found = _SCHEME.fullmatch(text)
        if found and found[1] not in _KINDS:
            near = near_names(found[1], _KINDS, count=1)
            hint = f"Did you mean {near[0]}:?" if near else "Use env:NAME, file:PATH or keyring:SERVICE/NAME."
            raise ConfigError(f"{setting}: unknown kind of reference {found[1]!r}", hint=hint)
        self.setting = setting
        self.kind = cast("Kind", found[1]) if found else "plain"
        self.place = found[2] if found else text
        if self.kind == "file":
            self.place = str(folder / Path(self.place).expanduser())
        if not self.place or (self.kind == "keyring" and not all(self.place.rpartition("/"))):
            raise ConfigError(f"{setting} names nothing", hint="Use env:NAME, file:PATH or keyring:SERVICE/NAME.")

    def __repr__(self) -> str:
        return "a key that stands there" if self.kind == "plain" else f"{self.kind}:{self.place}"

    def is_set(self, variables: Mapping[str, str]) -> bool:
        """Whether there is a key, as far as can be said without looking for it."""
        return self.kind != "env" or bool(variables.get(self.place))

    def resolve(self, variables: Mapping[str, str]) -> str:
        """The key.

        Raises:
            MissingCredentialError: There is none.
            ConfigError: It cannot be read.
        """
        match self.kind:
            case "env":
                key = variables.get(self.place, "")
            case "file":
                key = _from_file(Path(self.place), self.setting)
            case "keyring":
                key = _from_keyring(self.place, self.setting)
            case "plain":
                key = self.place
        if not key:
            raise MissingCredentialError(f"{self.setting}: {self!r} holds no key", hint=_PUT_IT_THERE[self.kind])
        return key


_PUT_IT_THERE: Mapping[Kind, str] = {
    "env": "Set that variable, or name another.",
    "file": "Put the key into that file, in one line, or name another.",
    "keyring": "Store it there with `keyring set SERVICE NAME`, or name another.",
    "plain": "Use env:NAME, file:PATH or keyring:SERVICE/NAME.",
}


class Credentials(Mapping[str, str]):
    """Keys by the names that a router knows them by: a variable's, or a provider's. Each is looked up when asked for."""

    def __init__(self, references: Mapping[str, Reference], variables: Mapping[str, str]) -> None:
        self._references = references
        self._variables = Variables(variables)

    def __getitem__(self, name: str) -> str:
        if name not in self:
            raise KeyError(name)
        return self._references[name].resolve(self._variables)

    def __contains__(self, name: object) -> bool:
        reference = self._references.get(name) if isinstance(name, str) else None
        return reference is not None and reference.is_set(self._variables)

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._references if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def at_hand(self) -> tuple[str, ...]:
        """The keys that need no file and no keyring to be opened: what must not be written may be among them."""
        here = {name: each for name, each in self._references.items() if each.kind in {"env", "plain"}}
        return tuple(each.resolve(self._variables) for name, each in here.items() if name in self)

    def resolve(self, reference: Reference) -> str:
        """The key that `reference` leads to, in the same environment.

        Raises:
            MissingCredentialError: There is none.
            ConfigError: It cannot be read.
        """
        return reference.resolve(self._variables)

    def __repr__(self) -> str:
        return f"Credentials({', '.join(self)})"


def with_references(
    values: Mapping[str, Any], folder: Path, prefix: str = "", *, names: frozenset[str] = _KEYS
) -> dict[str, Any]:
    """`values` of a file in `folder`, with a `Reference` for every value whose name is one of `names`."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        where = f"{prefix}{name}"
        if isinstance(value, Mapping):
            result[name] = with_references(value, folder, f"{where}.", names=names)
        elif name in names and isinstance(value, str):
            result[name] = Reference(value, folder=folder, setting=where)
        else:
            result[name] = value
    return result


def warn_if_shared(file: Path, what: str) -> None:
    """Warn where others than its owner may read `file`."""
    if os.name == "posix" and file.stat().st_mode & _OTHERS_MAY_READ:
        warnings.warn(f"{what} is in {file}, which others may read: run chmod 600 {file}", stacklevel=2)


def _from_file(file: Path, setting: str) -> str:
    try:
        with file.open(encoding="utf-8") as opened:
            key = opened.read(_LONGEST).strip()
        warn_if_shared(file, f"the key of {setting}")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigError(f"{setting}: {file}: {error.strerror}", hint="Make it readable, or name another.") from None
    except ValueError:
        raise ConfigError(f"{setting}: {file} is no text", hint="Put the key there in one line.") from None
    return key


@cache
def _from_keyring(text: str, setting: str) -> str:
    """Asked once for each key: a keyring may have to ask its user."""
    try:
        import keyring  # noqa: PLC0415  (an optional extra)
        from keyring.errors import KeyringError  # noqa: PLC0415  (an optional extra)
    except ImportError:
        raise ConfigError(
            f"{setting}: the keyring library is not installed", hint='Run: pip install "llm-call[keyring]"'
        ) from None
    service, _, name = text.rpartition("/")
    try:
        return keyring.get_password(service, name) or ""
    except KeyringError as error:
        problem = type(error).__name__
        raise ConfigError(f"{setting}: the keyring cannot be read ({problem})", hint="Unlock it.") from None
