"""A request, fitted to the model that it goes to: what the model is known not to take is left out, and that is said."""

from collections.abc import Iterator

from msgspec.structs import replace

from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import Request, Settings
from llm_call.core.domain.response import Notice

_UNSET = Settings()


def fitted(request: Request, profile: Profile) -> tuple[Request, tuple[Notice, ...]]:
    """`request` without the settings that a model of this profile refuses, and a notice for each."""
    refused = tuple(_refused(request.settings, profile))
    if not refused:
        return request, ()
    settings = replace(request.settings, **{name: getattr(_UNSET, name) for name, _ in refused})
    notices = tuple(Notice(field=name, fate="dropped", message=why) for name, why in refused)
    return replace(request, settings=settings), notices


def _refused(settings: Settings, profile: Profile) -> Iterator[tuple[str, str]]:
    """The settings that are given and not taken, each with the reason."""
    for name in profile.refuses:
        if _given(settings, name):
            yield name, "this model does not take it"
    if (settings.reasoning_effort or profile.default_effort or "none") == "none":
        return
    for name in profile.reasoning_refuses:
        if _given(settings, name):
            yield name, "this model does not take it while it reasons"


def _given(settings: Settings, name: str) -> bool:
    return bool(getattr(settings, name) != getattr(_UNSET, name))
