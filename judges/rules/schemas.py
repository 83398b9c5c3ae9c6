"""JSON Schemas of strangers: nothing is fetched, and no pattern runs for ever."""

import json
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache, partial
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend, validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from judges.rules import patterns
from judges.rules.rule import RuleFailed

MAX_FAULTS = 5
ECHO_LIMIT = 200


def problem(schema: Any) -> str | None:
    """What is wrong with a schema."""
    if isinstance(schema, dict) and not isinstance(schema.get("$schema", ""), str):
        return "$schema is no text."
    try:
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
    except SchemaError as error:
        return f"{_path(error)} {error.message[:ECHO_LIMIT]}.".strip()
    except RecursionError:
        return "it is nested too deeply."
    return None


def faults(schema: Any, value: Any) -> list[str]:
    """What of a value does not fit: the first few, as sentences.

    Raises:
        RuleFailed: the schema is none, refers to what is not in it, or has a pattern that takes too long.
    """
    found: list[str] = []
    try:
        for error in _validator(json.dumps(schema)).iter_errors(value):
            found.append(f"At {_path(error) or 'its top'}: {error.message[:ECHO_LIMIT]}.")
            if len(found) == MAX_FAULTS:
                break
    except Unresolvable as missing:
        raise RuleFailed(f"the schema's reference '{str(missing.ref)[:ECHO_LIMIT]}' leads nowhere within it") from None
    except RecursionError:
        raise RuleFailed("the answer, or the schema, is nested too deeply") from None
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise RuleFailed(f"the schema cannot be held against this answer ({type(error).__name__})") from None
    return found


@lru_cache(maxsize=256)
def _validator(schema: str) -> Any:
    """To look at a schema takes longer than to hold a value against it. Raises RuleFailed."""
    read = json.loads(schema)
    if wrong := problem(read):
        raise RuleFailed(f"the schema is none: {wrong.rstrip('.')}")
    known: Any = validator_for(read, default=Draft202012Validator)
    kind: Any = extend(known, _KEYWORDS | {"additionalProperties": partial(_additional, known.VALIDATORS)})
    return kind(read, registry=Registry())


def _pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not patterns.search(pattern, instance):
        yield ValidationError(f"{instance[:ECHO_LIMIT]!r} does not match {pattern[:ECHO_LIMIT]!r}")


def _pattern_properties(validator: Any, wanted: Any, instance: Any, _: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "object"):
        for pattern, below in wanted.items():
            for name, value in instance.items():
                if patterns.search(pattern, name):
                    yield from validator.descend(value, below, path=name, schema_path=pattern)


def _additional(
    known: dict[str, Any], validator: Any, wanted: Any, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    """The library's own, of those properties alone that are additional: it would look for them with `re`."""
    if validator.is_type(instance, "object"):
        named, allowed = schema.get("properties", {}), schema.get("patternProperties", {})
        extra = {
            name: value
            for name, value in instance.items()
            if name not in named and not any(patterns.search(pattern, name) for pattern in allowed)
        }
        yield from known["additionalProperties"](validator, wanted, extra, {})


def _multiple_of(validator: Any, step: Any, instance: Any, _: Any) -> Iterator[ValidationError]:
    """By the decimals as they are written: doubles find 4.35 to be no multiple of 0.01, and end at 309 digits."""
    if validator.is_type(instance, "number") and Fraction(repr(instance)) % Fraction(repr(step)):
        yield ValidationError(f"{str(instance)[:ECHO_LIMIT]} is not a multiple of {step}")


_KEYWORDS: dict[str, Any] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "multipleOf": _multiple_of,
}


def _path(error: ValidationError | SchemaError) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
    return "".join(steps).lstrip(".")
