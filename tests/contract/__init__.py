"""OpenAI's wire contract as JSON Schemas, extracted from its public OpenAPI document (`x-source` names the commit)."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

SCHEMAS: dict[str, Any] = json.loads((Path(__file__).parent / "openai_schemas.json").read_text())


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": SCHEMAS["$defs"]})


def conforms(name: str, value: Any) -> None:
    """Raises jsonschema.ValidationError unless `value` is what OpenAI's `name` is."""
    _validator(name).validate(value)
