"""JSON Schemas: the same as Anthropic's own client makes of them."""

import json
from typing import Any

import anthropic
import pytest

from gateway.errors import InvalidRequest
from gateway.upstreams.anthropic.schemas import accepted

SCHEMAS: dict[str, dict[str, Any]] = {
    "bounds": {"type": "integer", "minimum": 1, "maximum": 5, "description": "A grade"},
    "pattern": {"type": "string", "pattern": "^a", "minLength": 2},
    "format": {"type": "string", "format": "date-time"},
    "unknown format": {"type": "string", "format": "iban"},
    "enum": {"type": "string", "enum": ["a", "b"], "title": "Letter"},
    "const": {"const": 3},
    "null": {"const": None},
    "array": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 3},
    "long array": {"type": "array", "items": {"type": "object"}, "minItems": 2},
    "open object": {
        "type": "object",
        "properties": {
            "a": {"type": "object", "additionalProperties": True},
            "b": {"type": "boolean", "default": True},
        },
        "additionalProperties": {"type": "string"},
        "required": ["a"],
    },
    "any of": {"anyOf": [{"type": "string", "maxLength": 3}, {"type": "null"}], "description": "Maybe"},
    "one of": {"oneOf": [{"type": "string"}, {"type": "number", "exclusiveMinimum": 0}]},
    "all of": {"allOf": [{"type": "object", "properties": {"x": {"type": "integer"}}}]},
    "references": {
        "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}},
        "type": "object",
        "properties": {"first": {"$ref": "#/$defs/Node"}},
    },
    "a reference at the root": {"$ref": "#/$defs/A", "$defs": {"A": {"type": "object", "properties": {}}}},
}


class TestAccepted:
    @pytest.mark.parametrize("name", SCHEMAS)
    def test_is_what_anthropics_client_sends(self, name: str) -> None:
        assert accepted(SCHEMAS[name], "x") == anthropic.transform_schema(SCHEMAS[name])

    def test_leaves_the_original_as_it_was(self) -> None:
        original = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}}
        accepted(original, "x")
        assert original == {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}}

    def test_a_type_or_null(self) -> None:
        assert accepted({"type": ["string", "null"], "description": "Maybe"}, "x") == {
            "anyOf": [{"type": "string", "description": "Maybe"}, {"type": "null"}]
        }

    def test_several_types_each_with_what_speaks_of_it(self) -> None:
        schema = {
            "type": ["object", "array", "string", "object"],
            "properties": {"a": {"type": "integer"}},
            "items": {"type": "boolean"},
            "pattern": "x",
        }
        noted = {"description": "{pattern: x}"}
        assert accepted(schema, "x") == {
            "anyOf": [
                {
                    "type": "object",
                    "properties": {"a": {"type": "integer"}},
                    "additionalProperties": False,
                    **noted,
                },
                {"type": "array", "items": {"type": "boolean"}, **noted},
                {"type": "string", **noted},
            ]
        }

    def test_nested_ones_with_several_types_are_taken_in_once(self) -> None:
        schema: dict[str, Any] = {"type": "string"}
        for _ in range(60):
            schema = {
                "type": ["object", "object", "array", "null"],
                "properties": {"a": schema},
                "items": {"type": "null"},
            }
        assert len(json.dumps(accepted(schema, "x"))) < 5 * len(json.dumps(schema))

    def test_a_format_that_is_no_text(self) -> None:
        assert accepted({"type": "string", "format": ["date"]}, "x") == {
            "type": "string",
            "description": "{format: ['date']}",
        }

    @pytest.mark.parametrize(
        ("schema", "param"),
        [
            (None, "x"),
            ([], "x"),
            ({}, "x"),
            ({"type": "object", "properties": {"a": {"description": "?"}}}, "x.properties.a"),
            ({"type": "array", "items": {"anyOf": [{"type": "string"}, {}]}}, "x.items.anyOf[1]"),
            ({"$defs": {"A": True}, "type": "object"}, "x.$defs.A"),
            ({"type": "object", "properties": ["a"]}, "x.properties"),
            ({"type": "object", "properties": {"a": {"type": ["string", "text"]}}}, "x.properties.a.type"),
            ({"type": ["string", {}]}, "x.type"),
        ],
    )
    def test_without_a_type_it_is_refused(self, schema: Any, param: str) -> None:
        with pytest.raises(InvalidRequest) as raised:
            accepted(schema, "x")
        assert raised.value.param == param
