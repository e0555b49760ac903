"""What is changed in a JSON Schema before a provider's native mode gets it.

Rule: what is sent accepts at least what the caller's schema accepts, bounds on strings apart; the answer is checked
against the caller's own schema in any case. Keywords are told from property names by walking the schema as JSON
Schema 2020-12 (and draft 7) nests it. The given schema is never changed.
"""

from collections.abc import Callable, Collection, Mapping
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
