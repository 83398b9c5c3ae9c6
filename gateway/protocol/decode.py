"""Decoding of request bodies: what msgspec finds wrong becomes an OpenAI error that names the field."""

import re
from typing import Any, TypeVar

import msgspec

from gateway.errors import InvalidJson, InvalidRequest, MissingParameter

T = TypeVar("T")

_missing = re.compile(r"Object missing required field `([^`]+)`(?: - at `\$\.?([^`]*)`)?")
_unknown = re.compile(r"Object contains unknown field `([^`]+)`(?: - at `\$\.?([^`]*)`)?")
_located = re.compile(r"(.*) - at `\$\.?([^`]*)`")


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Decode a JSON body.

    Raises:
        InvalidJson: it is not JSON.
        MissingParameter, InvalidRequest: it is, and `param` says which field is wrong.
    """
    if not body.strip():
        raise InvalidJson("The request body is empty; a JSON object is expected.")
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _refusal(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidJson(f"We could not parse the JSON body of your request: {error}.") from None
    except RecursionError:
        raise InvalidJson("We could not parse the JSON body of your request: it is nested too deeply.") from None


def convert(raw: Any, kind: type[T]) -> T:
    """Query parameters or form fields into `kind`, numbers and booleans read from text. Raises like `decode`."""
    try:
        return msgspec.convert(raw, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _refusal(str(error)) from None


def _refusal(message: str) -> InvalidRequest:
    if match := _missing.fullmatch(message):
        return MissingParameter(_join(match[2], match[1]))
    if match := _unknown.fullmatch(message):
        name = _join(match[2], match[1])
        return InvalidRequest(f"Unrecognized request argument supplied: {name}", param=name)
    if match := _located.fullmatch(message):
        return InvalidRequest(f"Invalid '{match[2]}': {match[1][0].lower()}{match[1][1:]}.", param=match[2])
    return InvalidRequest(f"Invalid request: {message}.")


def _join(parent: str | None, name: str) -> str:
    return f"{parent}.{name}" if parent else name
