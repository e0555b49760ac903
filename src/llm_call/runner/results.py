"""The results file: everything that is known of a run, as JSON, whole or not at all.

`version` is that of this form. `cost` is a decimal number in a string. The configuration of a case, and with it its
key, is not in it.
"""

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Self
from uuid import uuid4

import msgspec
from msgspec import Struct

from llm_call.core.domain.errors import ConfigError
from llm_call.runner.case import CaseResult
from llm_call.runner.report import Summary, summarize
from llm_call.runner.run import Run

_VERSION = 1


class Results(Struct, frozen=True, kw_only=True):
    """The file's content. `model` is the one that overrode every case's; `duration` is in seconds."""

    version: int = _VERSION
    started: datetime
    duration: float
    file: str
    model: str | None
    interrupted: bool
    summary: Summary
    cases: tuple[CaseResult, ...]


def results_of(run: Run, *, started: datetime, file: str, model: str | None) -> Results:
    """The content for `run` of the cases in `file`."""
    return Results(
        started=started,
        duration=run.duration,
        file=file,
        model=model,
        interrupted=run.interrupted,
        summary=summarize(run),
        cases=run.results,
    )


class ResultsFile:
    """A place at `path` for results. What stood there before stays until `write` has succeeded.

    It is taken when this is built, before any call is paid for. As a context it leaves nothing half-written behind.

    Raises:
        ConfigError: Nothing can be written there, or it is the file of cases itself.
    """

    def __init__(self, path: Path, *, cases: Path) -> None:
        self._path = Path(os.path.realpath(path))
        self._partial = self._path.with_name(f".{self._path.name}.{uuid4().hex}.partial")
        if self._path == Path(os.path.realpath(cases)):
            raise ConfigError(f"{path} is the file of cases", hint="Name another file for the results.")
        if self._path.exists() and not self._path.is_file():
            raise ConfigError(f"{path} is no regular file", hint="Name a file for the results.")
        try:
            self._partial.touch(exist_ok=False)
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._partial.unlink(missing_ok=True)

    def write(self, results: Results) -> None:
        """Put `results` there, in one step.

        Raises:
            ConfigError: The disk refused it.
        """
        plain = msgspec.to_builtins(results, str_keys=True, enc_hook=repr)
        # Numbers that JSON has not, which a validator of the user's may give, become their names.
        finite = json.loads(json.dumps(plain), parse_constant=str)
        text = json.dumps(finite, ensure_ascii=False, indent=2)
        try:
            # Half a surrogate pair, which an answer may hold, has no UTF-8; its escape is the same text in JSON.
            self._partial.write_bytes(text.encode("utf-8", "backslashreplace"))
            self._partial.replace(self._path)
        except OSError as error:
            raise ConfigError(f"cannot write {self._path}: {error.strerror}") from error
