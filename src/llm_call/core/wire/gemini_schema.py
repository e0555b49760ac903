"""What of a JSON Schema `responseJsonSchema` takes.

Rule: what is sent accepts at least what the caller's schema accepts; the answer is checked against the caller's own
schema in any case. The vendor documents the field as JSON Schema of which it heeds a subset: `$id`, `$defs`, `$ref`,
`$anchor`, `type`, `format`, `title`, `description`, `enum` (of strings and numbers), `items`, `prefixItems`,
`minItems`, `maxItems`, `minimum`, `maximum`, `anyOf`, `oneOf` (read as `anyOf`), `properties`,
`additionalProperties`, `required`; beside a `$ref` stands nothing that does not begin with `$`. Every other keyword
that demands something of an answer is left out; what demands nothing (`default`, `examples`) may stay.
"""

from collections.abc import Collection, Mapping
from typing import Any

from msgspec import Struct

from llm_call.core.wire.schema import without_keywords

UNTAKEN = frozenset(
    {
        *("allOf", "not", "if", "then", "else", "dependencies", "dependentRequired", "dependentSchemas"),
        *("minLength", "maxLength", "pattern", "contentEncoding", "contentMediaType", "contentSchema"),
        *("exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("contains", "minContains", "maxContains", "uniqueItems", "additionalItems", "unevaluatedItems"),
        *("minProperties", "maxProperties", "patternProperties", "propertyNames", "unevaluatedProperties"),
        *("$dynamicRef", "$recursiveRef"),
    }
)
_WORDS = frozenset({"title", "description", "default", "examples"})  # they demand nothing
_OLD_REFERENCE = "#/definitions/"
_SCHEMA = frozenset({"items", "additionalProperties"})
_SCHEMAS_BY_NAME = frozenset({"$defs", "properties"})
_SCHEMA_LIST = frozenset({"anyOf", "oneOf", "prefixItems"})


class Subset(Struct, frozen=True, kw_only=True):
    """The schema to send; which keywords were left out, and which are said or read in another way, each once."""

    schema: Mapping[str, Any]
    left_out: tuple[str, ...]
    translated: tuple[str, ...]


def subset(schema: Mapping[str, Any], unenforced: Collection[str] = ()) -> Subset:
    """What of `schema` the dialect takes, without the keywords in `unenforced`. The given schema is never changed."""
    schema, left_out = without_keywords(schema, UNTAKEN | set(unenforced))
    fitting = _Fitting()
    fitted = fitting.schema(schema)
    return Subset(
        schema=fitted,
        left_out=tuple(sorted({*left_out, *fitting.left_out})),
        translated=tuple(sorted(fitting.translated)),
    )


class _Fitting:
    """One schema's way into the subset, from the outside in."""

    def __init__(self) -> None:
        self.left_out: set[str] = set()
        self.translated: set[str] = set()

    def schema(self, node: Any) -> Any:
        if not isinstance(node, Mapping):  # `true` and `false` are schemas too
            return node
        fitted = dict(node)
        self._name_as_now(fitted)
        self._list_values(fitted)
        if "$ref" in fitted:
            self._stand_alone(fitted)
        if "oneOf" in fitted:
            self.translated.add("oneOf")
        return {name: self._children(name, value) for name, value in fitted.items()}

    def _name_as_now(self, node: dict[str, Any]) -> None:
        """Draft 7's names for what is called otherwise since."""
        if isinstance(definitions := node.get("definitions"), Mapping):
            self.translated.add("definitions")
            del node["definitions"]
            node["$defs"] = {**definitions, **node.get("$defs", {})}
        if isinstance(reference := node.get("$ref"), str) and reference.startswith(_OLD_REFERENCE):
            node["$ref"] = "#/$defs/" + reference.removeprefix(_OLD_REFERENCE)
        if isinstance(node.get("items"), list | tuple):
            self.translated.add("items")
            node["prefixItems"] = node.pop("items")

    def _list_values(self, node: dict[str, Any]) -> None:
        """`const` is an `enum` of one; an `enum` of anything but strings and numbers is not taken."""
        if "const" in node:
            constant = node.pop("const")
            (self.translated if _is_listable(constant) else self.left_out).add("const")
            node["enum"] = [constant]
        if "enum" in node and not all(_is_listable(value) for value in node["enum"]):
            del node["enum"]
            if "const" not in self.left_out:
                self.left_out.add("enum")

    def _stand_alone(self, node: dict[str, Any]) -> None:
        """Move a reference away from what it may not stand beside: words for the model stay, demands go."""
        beside = {name for name in node if not name.startswith("$")}
        self.left_out |= beside - _WORDS
        for name in beside - _WORDS:
            del node[name]
        if beside & _WORDS:
            self.translated.add("$ref")
            node["anyOf"] = [{"$ref": node.pop("$ref")}]

    def _children(self, keyword: str, value: Any) -> Any:
        if keyword in _SCHEMAS_BY_NAME and isinstance(value, Mapping):
            return {name: self.schema(child) for name, child in value.items()}
        if keyword in _SCHEMA_LIST and isinstance(value, list | tuple):
            return [self.schema(child) for child in value]
        return self.schema(value) if keyword in _SCHEMA else value


def _is_listable(value: Any) -> bool:
    return type(value) in {str, int, float}
