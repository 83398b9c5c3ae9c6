"""JSON Schemas as Anthropic's structured outputs take them (`output_config.format`, tools with `strict`).

They take a part of JSON Schema, and every object must say `additionalProperties: false`; anything else is a 400
(platform.claude.com/docs/en/build-with-claude/structured-outputs). What they do not take moves into the description,
where the model can read it: the rules of `anthropic.transform_schema`, which is what Anthropic's own client does.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gateway.errors import InvalidRequest

FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"},
)
_COMBINED = (("anyOf", "anyOf"), ("oneOf", "anyOf"), ("allOf", "allOf"))
_KINDS = frozenset({"null", "boolean", "object", "array", "number", "string", "integer"})
_OF_KIND = {"object": ("properties", "required", "additionalProperties"), "array": ("items", "minItems")}
"""What speaks of values of one kind, where a schema has several."""
_Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a schema stands in the request. It is written down for an error alone: there may be many, far down."""

    within: "_Place | None"
    step: str

    def __str__(self) -> str:
        return "".join(reversed(list(self._steps())))

    def _steps(self) -> Iterator[str]:
        place: _Place | None = self
        while place is not None:
            yield place.step
            place = place.within


def accepted(schema: Any, param: str) -> _Schema:
    """`schema` with only what structured outputs take, in time and memory of its own size.

    Args:
        param: where it stands in the request, for the error.

    Raises:
        InvalidRequest: it is no object, or says neither a type nor what its values are.
    """
    return _accepted(schema, _Place(None, param))


def _accepted(schema: Any, place: _Place) -> _Schema:
    if not isinstance(schema, dict):
        raise InvalidRequest(f"Invalid '{place}': a JSON Schema object is expected.", param=str(place))
    rest: _Schema = dict(schema)
    kept: _Schema = {}
    if isinstance(definitions := rest.pop("$defs", None), dict):
        kept["$defs"] = {name: _accepted(each, _Place(place, f".$defs.{name}")) for name, each in definitions.items()}
    if "$ref" in rest:
        return kept | {"$ref": rest["$ref"]}
    _take_kind(rest, kept, place)
    for name in ("description", "title"):
        if rest.get(name) is not None:
            kept[name] = rest[name]
        rest.pop(name, None)
    _take_details(kept.get("type"), rest, kept, place)
    return _noted(rest, kept)


def _take_kind(rest: _Schema, kept: _Schema, place: _Place) -> None:
    """Literals, a combination of schemas, or a type: one of them there must be."""
    kind = rest.pop("type", None)
    for name in ("enum", "const"):
        values = rest.get(name, []) if name == "enum" else [rest.get(name)]
        if name in rest and isinstance(values, list) and values and all(map(_is_primitive, values)):
            kept[name] = rest.pop(name)
    for name, written in _COMBINED:
        variants = rest.pop(name, None)
        if isinstance(variants, list) and not kept.keys() & {"anyOf", "allOf"}:
            kept[written] = [_accepted(each, _Place(place, f".{name}[{index}]")) for index, each in enumerate(variants)]
    if kept.keys() & {"enum", "const", "anyOf", "allOf"}:
        return
    if isinstance(kind, list) and kind:  # OpenAI's way to say "or null"
        kept["anyOf"] = [_accepted(each, place) for each in _by_kind(rest, kind, place)]
        rest.clear()
    elif isinstance(kind, str):
        kept["type"] = kind
    else:
        raise InvalidRequest(
            f"Invalid '{place}': Anthropic's structured outputs need a type, anyOf, oneOf, allOf, enum or const here.",
            param=str(place),
        )


def _by_kind(schema: _Schema, kinds: list[Any], place: _Place) -> Iterator[_Schema]:
    """One schema for each kind, with what speaks of it. What is in a schema goes into one of them alone: a nested one would be
    taken in twice as often with each level."""
    for each in kinds:
        if not isinstance(each, str) or each not in _KINDS:
            told = f"Invalid '{place}.type': {str(each)[:50]!r} is no type of JSON Schema."
            raise InvalidRequest(told, param=f"{place}.type")
    for kind in dict.fromkeys(kinds):
        others = {name for other in kinds if other != kind for name in _OF_KIND.get(other, ())}
        own = {name: value for name, value in schema.items() if kind != "null" and name not in others}
        yield own | {"type": kind}


def _take_details(kind: str | None, rest: _Schema, kept: _Schema, place: _Place) -> None:
    match kind:
        case "object":
            properties = rest.pop("properties", None) or {}
            if not isinstance(properties, dict):
                raise InvalidRequest(
                    f"Invalid '{place}.properties': an object is expected.", param=f"{place}.properties"
                )
            kept["properties"] = {
                name: _accepted(each, _Place(place, f".properties.{name}")) for name, each in properties.items()
            }
            rest.pop("additionalProperties", None)
            kept["additionalProperties"] = False
            if (required := rest.pop("required", None)) is not None:
                kept["required"] = required
        case "string" if isinstance(rest.get("format"), str) and rest["format"] in FORMATS:
            kept["format"] = rest.pop("format")
        case "array":
            if (items := rest.pop("items", None)) is not None:
                kept["items"] = _accepted(items, _Place(place, ".items"))
            if rest.get("minItems") in (0, 1):
                kept["minItems"] = rest.pop("minItems")
        case _:
            pass


def _noted(rest: _Schema, kept: _Schema) -> _Schema:
    """What is left goes into the description."""
    if rest:
        note = "{" + ", ".join(f"{name}: {value}" for name, value in rest.items()) + "}"
        kept["description"] = f"{kept['description']}\n\n{note}" if kept.get("description") else note
    return kept


def _is_primitive(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)
