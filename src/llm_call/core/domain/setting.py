"""What a setting says of itself, beside its type and default: its meaning, and who may set it.

The rule: every field of a configuration is annotated with `setting(...)`. The documentation of the settings, the check
of the files and the decision whether a folder must be trusted are all made from these annotations.
"""

from typing import Annotated, Any, Literal, get_args, get_origin

from msgspec import Meta

Access = Literal["free", "trusted", "local"]
"""What the file of a project that nobody has vouched for may do with a setting.

`free`: set it. `trusted`: not set it. `local`: set it to a URL that leads to this machine and to nothing else.
"""

_ACCESS, _PATH = "access", "path"


def setting(meaning: str, *, access: Access, path: bool = False) -> Meta:
    """The annotation of a setting. `meaning` is one sentence for its users; a `Meta` beside it may bound the value.

    `path`: it is one; a relative one begins at the folder of the file that says it.
    """
    return Meta(description=meaning, extra={_ACCESS: access, _PATH: path})


def meaning_of(annotated: Any) -> str:
    """The meaning of the setting that `annotated` is the type of; empty where it says none."""
    meta = _meta(annotated)
    return meta.description or "" if meta else ""


def access_of(annotated: Any) -> Access | None:
    """Who may set the setting that `annotated` is the type of; `None` where it does not say."""
    meta = _meta(annotated)
    return (meta.extra or {}).get(_ACCESS) if meta else None


def is_path(annotated: Any) -> bool:
    """Whether the setting that `annotated` is the type of is a path."""
    meta = _meta(annotated)
    return bool(meta and (meta.extra or {})[_PATH])


def plain_type(annotated: Any) -> Any:
    """The type without its annotations."""
    return get_args(annotated)[0] if get_origin(annotated) is Annotated else annotated


def _meta(annotated: Any) -> Meta | None:
    if get_origin(annotated) is not Annotated:
        return None
    return next((each for each in annotated.__metadata__ if isinstance(each, Meta) and each.extra), None)
