"""Lines of an eval against the schema of its items. Both were written by strangers: a pattern or a chain of references can
take for ever, so this runs in the process of gateway/datasets/isolated.py."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from gateway.datasets.lines import MAX_LINE, foreign, read_lines
from gateway.datasets.unusable import Unusable
from gateway.protocol.evals import Line

SCHEMA = "data_source_config.item_schema"
SOURCE = "data_source.source"
ECHO_LIMIT = 300
"""Characters of a validator's message: it repeats the value."""

_decode = msgspec.json.Decoder(Line).decode


class Fitted(msgspec.Struct):
    """Every line fits."""

    lines: int
    """Without blank ones."""


def fit(schema_path: Path, lines_path: Path, *, max_lines: int) -> Fitted:
    """Args:
        schema_path: JSON Schema of an item.
        lines_path: JSONL, `{"item": {...}, "sample": {...}}` a line.

    Raises:
        Unusable: the first line that does not fit, or what is wrong with the schema.
    """
    validator = _validator(msgspec.json.decode(schema_path.read_bytes()))
    lines = 0
    for lines, (number, line) in enumerate(lines_of(lines_path), start=1):
        if lines > max_lines:
            raise Unusable(f"The data has more than {max_lines} items; split it into several runs.", SOURCE)
        try:
            _check(validator, line.item)
        except (_Unfit, RecursionError) as error:
            why = str(error) if isinstance(error, _Unfit) else "it is nested too deeply"
            raise Unusable(f"Item {lines} (line {number}) does not fit the eval's item_schema: {why}", SOURCE) from None
    return Fitted(lines)


def lines_of(path: Path) -> Iterator[tuple[int, Line]]:
    """Line number, from 1, and what it says; blank ones are passed over. Raises Unusable."""
    with path.open("rb") as file:
        for number, text in read_lines(file):
            if number == 1 and (found := foreign(text)):
                raise Unusable(f"This is no JSONL: {found[0]}. {found[1]}", SOURCE)
            if len(text) > MAX_LINE:
                raise Unusable(f"Line {number} is longer than {MAX_LINE} bytes.", SOURCE)
            if text.strip():
                yield number, _read(number, text)


class _Unfit(Exception):
    pass


def _read(number: int, text: bytes) -> Line:
    try:
        return _decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        why = str(error)[:ECHO_LIMIT] or "it is nested too deeply"
        raise Unusable(
            f'Line {number} is not {{"item": {{...}}}}, with a "sample" or without: {why}.', SOURCE
        ) from None


def _validator(schema: Any) -> Any:
    try:
        kind = validator_for(schema, default=Draft202012Validator)
        kind.check_schema(schema)
    except SchemaError as error:
        raise Unusable(f"Invalid '{SCHEMA}{_path(error)}': {error.message[:ECHO_LIMIT]}.", SCHEMA) from None
    except RecursionError:
        raise Unusable(f"Invalid '{SCHEMA}': it is nested too deeply.", SCHEMA) from None
    return kind(schema, registry=Registry())  # without it, references are fetched from wherever they point


def _check(validator: Any, item: Any) -> None:
    try:
        error: ValidationError | None = next(validator.iter_errors(item), None)
    except Unresolvable as missing:
        raise Unusable(
            f"Invalid '{SCHEMA}': the reference '{str(missing.ref)[:ECHO_LIMIT]}' leads nowhere within it.", SCHEMA
        ) from None
    if error is not None:
        raise _Unfit(f"item{_path(error)}: {error.message[:ECHO_LIMIT]}")


def _path(error: ValidationError | SchemaError) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
