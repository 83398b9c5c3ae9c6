"""JSON Schemas as Anthropic's structured outputs take them (`output_config.format`, tools with `strict`).

They take a part of JSON Schema, and every object must say `additionalProperties: false`; anything else is a 400
(platform.claude.com/docs/en/build-with-claude/structured-outputs). What they do not take moves into the description,
where the model can read it: the rules of `anthropic.transform_schema`, which is what Anthropic's own client does.
"""

from typing import Any

from gateway.errors import InvalidRequest

FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"},
)
_COMBINED = (("anyOf", "anyOf"), ("oneOf", "anyOf"), ("allOf", "allOf"))
_Schema = dict[str, Any]


def accepted(schema: Any, param: str) -> _Schema:
    """`schema` with only what structured outputs take.

    Args:
        param: where it stands in the request, for the error.

    Raises:
        InvalidRequest: it is no object, or says neither a type nor what its values are.
    """
    if not isinstance(schema, dict):
        raise InvalidRequest(f"Invalid '{param}': a JSON Schema object is expected.", param=param)
    rest: _Schema = dict(schema)
    kept: _Schema = {}
    if isinstance(definitions := rest.pop("$defs", None), dict):
        kept["$defs"] = {name: accepted(each, f"{param}.$defs.{name}") for name, each in definitions.items()}
    if "$ref" in rest:
        return kept | {"$ref": rest["$ref"]}
    _take_kind(rest, kept, param)
    for name in ("description", "title"):
        if rest.get(name) is not None:
            kept[name] = rest[name]
        rest.pop(name, None)
    _take_details(kept.get("type"), rest, kept, param)
    return _noted(rest, kept)


def _take_kind(rest: _Schema, kept: _Schema, param: str) -> None:
    """Literals, a combination of schemas, or a type: one of them there must be."""
    kind = rest.pop("type", None)
    for name in ("enum", "const"):
        values = rest.get(name, []) if name == "enum" else [rest.get(name)]
        if name in rest and isinstance(values, list) and values and all(map(_is_primitive, values)):
            kept[name] = rest.pop(name)
    for name, written in _COMBINED:
        variants = rest.pop(name, None)
        if isinstance(variants, list) and not kept.keys() & {"anyOf", "allOf"}:
            kept[written] = [accepted(each, f"{param}.{name}[{index}]") for index, each in enumerate(variants)]
    if kept.keys() & {"enum", "const", "anyOf", "allOf"}:
        return
    if isinstance(kind, list) and kind:  # OpenAI's way to say "or null"
        kept["anyOf"] = [accepted(rest | {"type": each} if each != "null" else {"type": each}, param) for each in kind]
        rest.clear()
    elif isinstance(kind, str):
        kept["type"] = kind
    else:
        raise InvalidRequest(
            f"Invalid '{param}': Anthropic's structured outputs need a type, anyOf, oneOf, allOf, enum or const here.",
            param=param,
        )


def _take_details(kind: str | None, rest: _Schema, kept: _Schema, param: str) -> None:
    match kind:
        case "object":
            properties = rest.pop("properties", None) or {}
            if not isinstance(properties, dict):
                raise InvalidRequest(
                    f"Invalid '{param}.properties': an object is expected.", param=f"{param}.properties"
                )
            kept["properties"] = {
                name: accepted(each, f"{param}.properties.{name}") for name, each in properties.items()
            }
            rest.pop("additionalProperties", None)
            kept["additionalProperties"] = False
            if (required := rest.pop("required", None)) is not None:
                kept["required"] = required
        case "string" if isinstance(rest.get("format"), str) and rest["format"] in FORMATS:
            kept["format"] = rest.pop("format")
        case "array":
            if (items := rest.pop("items", None)) is not None:
                kept["items"] = accepted(items, f"{param}.items")
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
