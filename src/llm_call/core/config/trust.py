"""Which folders the user trusts, and what the files of the others may not say.

A project's file comes with the project: it is read because the user stands in its folder, not because anybody chose
it. So it may set what is harmless, and the rest only after `llm-call trust`, which records the folder with a digest of
the file: whoever changes the file has to be trusted again.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from llm_call.core.config.schema import FIELDS, entry_type, field_types, section_type
from llm_call.core.domain.errors import ConfigError
from llm_call.core.domain.setting import access_of

PROJECT_FILE = "llm_call.toml"
_LOOPBACK = re.compile(r"127(\.\d{1,3}){3}")


class _Stored(Struct, kw_only=True):
    """The file of trusted folders: absolute path -> digest of its project file (empty: it has none)."""

    version: int = 1
    folders: dict[str, str] = {}


class TrustStore:
    """The folders that the user trusts, in a file of the user's own. `always`: all of them are, for this run."""

    def __init__(self, file: Path, *, always: bool = False) -> None:
        self.file = file
        self.always = always

    def __repr__(self) -> str:
        return f"TrustStore({str(self.file)!r}, always={self.always})"

    def is_trusted(self, folder: Path, content: bytes | None = None) -> bool:
        """Whether `folder` is trusted with the project file that it has now; `content`, where it was read already."""
        if self.always:
            return True
        known = self.folders().get(str(folder.resolve()))
        return known is not None and known == (_digest_of(folder) if content is None else _digest(content))

    def covers(self, folder: Path) -> bool:
        """Whether `folder` or one that it lies in is trusted."""
        here = folder.resolve()
        return any(self.is_trusted(each) for each in (here, *here.parents))

    def add(self, folder: Path) -> None:
        """Trust `folder` with the project file that it has now."""
        self._write({**self.folders(), str(folder.resolve()): _digest_of(folder)})

    def remove(self, folder: Path) -> bool:
        """Trust `folder` no more; whether it was trusted."""
        folders = self.folders()
        known = folders.pop(str(folder.resolve()), None)
        if known is not None:
            self._write(folders)
        return known is not None

    def folders(self) -> dict[str, str]:
        """Every recorded folder with the digest of its project file.

        Raises:
            ConfigError: The record cannot be read.
        """
        try:
            return msgspec.json.decode(self.file.read_bytes(), type=_Stored).folders
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is damaged"
            raise ConfigError(f"{self.file}: {why}", hint="Remove it, and trust your folders again.") from None

    def _write(self, folders: dict[str, str]) -> None:
        content = msgspec.json.format(msgspec.json.encode(_Stored(folders=dict(sorted(folders.items())))))
        try:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = self.file.with_suffix(f".{os.getpid()}")
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(content)
            new.replace(self.file)
        except OSError as error:
            raise ConfigError(f"{self.file}: {error.strerror}", hint="Make its folder writable.") from error


def restricted(values: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The paths of those `values` of a project's file that only a trusted folder may set."""
    for name, value in values.items():
        entry = entry_type(FIELDS[name])
        if section := section_type(FIELDS[name]):
            yield from _restricted(section, value, name)
        elif fields := section_type(entry):
            for each, table in value.items():
                yield from _restricted(fields, table, name, each)
        elif _is_restricted(FIELDS[name], value):
            yield (name,)


def leads_here(url: str) -> bool:
    """Whether `url` leads to this machine and to nothing else."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    return host in {"localhost", "::1"} or _LOOPBACK.fullmatch(host) is not None


def _restricted(type_: type[Struct], values: Mapping[str, Any], *prefix: str) -> Iterator[tuple[str, ...]]:
    types = field_types(type_)
    return ((*prefix, name) for name, value in values.items() if _is_restricted(types[name], value))


def _is_restricted(type_: Any, value: Any) -> bool:
    access = access_of(type_)
    return access != "free" and not (access == "local" and isinstance(value, str) and leads_here(value))


def _digest_of(folder: Path) -> str:
    try:
        return _digest((folder / PROJECT_FILE).read_bytes())
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigError(f"{folder / PROJECT_FILE}: {error.strerror}", hint="Make it readable.") from None


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
