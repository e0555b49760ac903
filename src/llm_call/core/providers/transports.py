"""How the transport of each name is made. The heavy ones are imported on first use."""

from collections.abc import Callable, Mapping
from functools import partial

from llm_call.core.domain.errors import UnsupportedError
from llm_call.core.providers.registry import TransportName
from llm_call.core.transport.base import HttpSettings, Transport
from llm_call.core.transport.local import LocalSettings, LocalTransport

TransportFactory = Callable[[], Transport]


def transport_factories(
    *, http: HttpSettings | None = None, local: LocalSettings | None = None, cache: str = ""
) -> Mapping[TransportName, TransportFactory]:
    """A factory for each name. `cache` is the user's cache folder, where a model file may lie."""
    return {
        "http": partial(_http, http or HttpSettings()),
        "local": partial(LocalTransport, local, user_cache=cache),
        "process": _process,
        "litellm": _litellm,
    }


def _http(settings: HttpSettings) -> Transport:
    from llm_call.core.transport.http import HttpTransport  # noqa: PLC0415  (start-up: not every call needs a network)

    return HttpTransport(settings)


def _process() -> Transport:
    raise UnsupportedError("command-line models are not supported in this version", hint="Choose another model.")


def _litellm() -> Transport:
    from llm_call.core.providers.litellm import LitellmTransport  # noqa: PLC0415  (start-up: few calls go there)

    return LitellmTransport()
