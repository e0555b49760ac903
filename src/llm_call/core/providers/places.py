"""The gaps in base URLs: where a provider has one address for each region, project or resource of its users.

A value comes from the row's own settings, then from a variable, then from the model's name. It is checked like the part
of a URL that it becomes, so that it can change neither the host nor the path around it.
"""

import re
from collections.abc import Mapping

from msgspec import Struct

from llm_call.core.domain.errors import ConfigError
from llm_call.core.providers.registry import Provider


class Place(Struct, frozen=True, kw_only=True):
    """A gap that several rows may have. `hosts` are the values whose host does not follow the form of the others."""

    variables: tuple[str, ...] = ()
    hosts: Mapping[str, str] = {}


PLACES: Mapping[str, Place] = {
    "region": Place(variables=("AWS_REGION", "AWS_DEFAULT_REGION")),
    # The second is a URL; the resource is taken from it.
    "resource": Place(variables=("AZURE_RESOURCE_NAME", "AZURE_OPENAI_ENDPOINT")),
    "project": Place(variables=("GOOGLE_CLOUD_PROJECT", "GOOGLE_VERTEX_PROJECT", "VERTEXAI_PROJECT")),
    "location": Place(
        variables=("GOOGLE_CLOUD_LOCATION", "GOOGLE_CLOUD_REGION", "GOOGLE_VERTEX_LOCATION", "VERTEXAI_LOCATION"),
        hosts={
            "global": "aiplatform.googleapis.com",
            "us": "aiplatform.us.rep.googleapis.com",
            "eu": "aiplatform.eu.rep.googleapis.com",
        },
    ),
}
PLACE_VARIABLES: tuple[str, ...] = tuple(name for place in PLACES.values() for name in place.variables)
"""Every environment variable that may fill a gap."""

_NOWHERE = Place()
_GAP = re.compile(r"\{(\w+)\}")
_HOST = re.compile(r"(?<=://)[^/]+")
_HOST_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_PATH_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


class Placed(Struct, frozen=True, kw_only=True):
    """A row at one place: its URL without gaps, what is left of the model's name, and what filled the gaps."""

    base_url: str
    name: str
    places: Mapping[str, str] = {}


def placed(row: Provider, name: str, variables: Mapping[str, str]) -> Placed:
    """The row's URL for the model `name`: each gap filled, or else the next part of `name` fills it.

    Raises:
        ConfigError: A place is missing or cannot stand in a URL; the message names what sets it.
    """
    if "{" not in row.base_url:
        return Placed(base_url=row.base_url, name=name)
    places: dict[str, str] = {}
    for gap in gaps(row):
        value = known_place(row, gap, variables)
        if value is None:
            value, slash, name = name.partition("/")
            if not slash:
                raise _missing(row, gap)
        places[gap] = _checked(row, gap, value)
    return Placed(base_url=_filled(row.base_url, places), name=name, places=places)


def gaps(row: Provider) -> tuple[str, ...]:
    """The names of the gaps in the row's URL, in their order."""
    return tuple(dict.fromkeys(_GAP.findall(row.base_url)))


def known_place(row: Provider, gap: str, variables: Mapping[str, str]) -> str | None:
    """What fills `gap` without a word in the model's name: the row's own setting, or the first variable that is set."""
    if gap in row.places:
        return row.places[gap]
    return next((variables[each] for each in PLACES.get(gap, _NOWHERE).variables if variables.get(each)), None)


def _filled(base_url: str, places: Mapping[str, str]) -> str:
    for gap, value in places.items():
        if host := PLACES.get(gap, _NOWHERE).hosts.get(value):
            base_url = _HOST.sub(host, base_url, count=1)
    return _GAP.sub(lambda found: places[found[1]], base_url)


def _checked(row: Provider, gap: str, value: str) -> str:
    """`value` as it may stand in the gap; where it is the whole URL, what it has in that place."""
    host = _host(row)
    if "://" in value:
        same = re.escape(f"https://{host}").replace(re.escape(f"{{{gap}}}"), "([^/]+?)")
        found = re.fullmatch(f"{same}(?:/.*)?", value, re.IGNORECASE)
        value = found[1].lower() if found else value
    legal = _HOST_LABEL if f"{{{gap}}}" in host else _PATH_SEGMENT
    if not legal.fullmatch(value):
        raise ConfigError(f"{row.name}: {value[:60]!r} is no {gap}", hint=f"{_how(row, gap)} It stands in {host}.")
    return value


def _host(row: Provider) -> str:
    found = _HOST.search(row.base_url)
    return found[0] if found else ""


def _missing(row: Provider, gap: str) -> ConfigError:
    return ConfigError(f"{row.name} needs a {gap}", hint=_how(row, gap))


def _how(row: Provider, gap: str) -> str:
    variables = " or ".join(PLACES.get(gap, _NOWHERE).variables)
    return f"{f'Set {variables}, or use' if variables else 'Use'} {row.name}/<{gap}>/<model>."
