"""What is changed in a JSON Schema before a provider's native mode gets it.

Rule: what is sent accepts at least what the caller's schema accepts, bounds on strings apart; the answer is checked
against the caller's own schema in any case. Keywords are told from property names by walking the schema as JSON
Schema 2020-12 (and draft 7) nests it. The given schema is never changed.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

_SCHEMA = frozenset(
    {
        "additionalItems",
        "additionalProperties",
        "contains",
        "contentSchema",
        "else",
        "if",
        "items",
        "not",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
_SCHEMAS_BY_NAME = frozenset(
    {"$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"}
)
_SCHEMA_LIST = frozenset({"allOf", "anyOf", "items", "oneOf", "prefixItems"})
_CONDITIONS = frozenset({"if", "not"})  # to loosen what stands in them is to tighten the whole
_CLOSED = frozenset({"additionalProperties", "unevaluatedProperties"})  # they lean on the patterns beside them
_TYPED = frozenset({"$ref", "anyOf", "const", "enum", "oneOf", "type"})  # without any of these, anything goes
_ALTERNATIVES = frozenset({"$ref", "anyOf", "oneOf"})
# What says something of an object together with what stands beside it.
_JOINED = frozenset(
    {"allOf", "dependentSchemas", "else", "if", "not", "patternProperties", "then", "unevaluatedProperties"}
)
_DEFINITIONS = ("$defs", "definitions")
_BOUNDS = frozenset({"$ref", "const", "enum", "format", "maxLength", "pattern"})

Edit = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def without_keywords(schema: Mapping[str, Any], keywords: Collection[str]) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """`schema` without `keywords`, and which keywords were left out, each once, in the order of their names.

    What would say something else without them goes too: a condition (`not`, `if`) that holds one of them, and what
    closes an object whose `patternProperties` are left out.
    """
    found: set[str] = set()

    def edit(node: Mapping[str, Any]) -> Mapping[str, Any]:
        leave_out = node.keys() & set(keywords)
        if "patternProperties" in leave_out:
            leave_out |= _CLOSED & node.keys()
        leave_out |= {name for name in _CONDITIONS & node.keys() if _holds(node[name], keywords)}
        found.update(leave_out)
        return {name: value for name, value in node.items() if name not in leave_out}

    return _walk(schema, edit), tuple(sorted(found))


def with_string_limit(schema: Mapping[str, Any], limit: int) -> tuple[Mapping[str, Any], int]:
    """`schema` with `maxLength` (characters) in every string that nothing else bounds, and in how many it was put."""
    count = 0

    def edit(node: Mapping[str, Any]) -> Mapping[str, Any]:
        nonlocal count
        kinds = node.get("type")
        if not (kinds == "string" or (isinstance(kinds, list | tuple) and "string" in kinds)) or _BOUNDS & node.keys():
            return node
        count += 1
        return {**node, "maxLength": max(limit, node.get("minLength", 0))}

    return _walk(schema, edit, skip=_CONDITIONS), count


def _walk(node: Any, edit: Edit, skip: Collection[str] = ()) -> Any:
    """`node` with `edit` applied to every schema in it, from the outside in."""
    if not isinstance(node, Mapping):  # `true` and `false` are schemas too
        return node
    return {
        name: value if name in skip else _children(name, value, lambda child: _walk(child, edit, skip))
        for name, value in edit(node).items()
    }


def _children(keyword: str, value: Any, change: Callable[[Any], Any]) -> Any:
    """The value of `keyword`, with `change` applied to the schemas that stand in it."""
    if keyword in _SCHEMAS_BY_NAME and isinstance(value, Mapping):
        return {name: change(child) for name, child in value.items()}
    if keyword in _SCHEMA_LIST and isinstance(value, list | tuple):
        return [change(child) for child in value]
    return change(value) if keyword in _SCHEMA else value


def _holds(node: Any, keywords: Collection[str]) -> bool:
    """Whether one of `keywords` stands anywhere in the schema `node`."""
    found = False

    def look(each: Mapping[str, Any]) -> Mapping[str, Any]:
        nonlocal found
        found = found or not each.keys().isdisjoint(keywords)
        return each

    _walk(node, look)
    return found


def with_closed_objects(schema: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """`schema` with every object closed that does not say otherwise; `None` where that would refuse what it accepts.

    That is where an object is open on purpose (`additionalProperties` that are not false, or no properties at all),
    where closed objects would have to be met together (`allOf`, alternatives beside properties), and where anything
    goes (`true`, `{}`).
    """
    if not all(map(_can_close, nodes(schema))):
        return None
    closed: Mapping[str, Any] = _walk(
        schema, lambda node: {**node, "additionalProperties": False} if is_object(node) else node
    )
    return closed


def with_any_of(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """`schema` with `anyOf` for every `oneOf`: that no more than one fits is left to the check of the answer."""
    changed: Mapping[str, Any] = _walk(
        schema, lambda node: {"anyOf" if name == "oneOf" else name: value for name, value in node.items()}
    )
    return changed


def is_object(node: Any) -> bool:
    """Whether the schema `node` accepts objects by its `type`."""
    kinds = node.get("type") if isinstance(node, Mapping) else None
    return kinds == "object" or (isinstance(kinds, list | tuple) and "object" in kinds)


def _can_close(node: Any) -> bool:
    if not isinstance(node, Mapping):
        return node is not True
    if node.keys().isdisjoint(_TYPED) or _JOINED & node.keys():
        return False
    if not is_object(node) or node.get("additionalProperties") is False:
        return True
    return "additionalProperties" not in node and bool(node.get("properties")) and _ALTERNATIVES.isdisjoint(node)


def contains_itself(schema: Mapping[str, Any]) -> bool:
    """Whether a reference in `schema` leads back to where it stands, or anywhere but to the root and its definitions."""
    defined = {f"#/{place}/{name}": node for place in _DEFINITIONS for name, node in (schema.get(place) or {}).items()}
    root = {name: value for name, value in schema.items() if name not in _DEFINITIONS}
    open_ends = {place: _references(node) for place, node in {"#": root, **defined}.items()}
    if any(not references <= open_ends.keys() for references in open_ends.values()):
        return True
    while settled := [place for place, references in open_ends.items() if references.isdisjoint(open_ends)]:
        for place in settled:
            del open_ends[place]
    return bool(open_ends)


def _references(schema: Any) -> set[str]:
    return {str(node["$ref"]) for node in nodes(schema) if isinstance(node, Mapping) and "$ref" in node}


def nodes(schema: Any) -> Iterator[Any]:
    """`schema` and every schema in it, from the outside in; `true` and `false` are schemas too."""
    yield schema
    if isinstance(schema, Mapping):
        inside: list[Any] = []
        for name, value in schema.items():
            _children(name, value, inside.append)
        for node in inside:
            yield from nodes(node)
