"""An example's line, and by what two of them are one."""

import hashlib
from typing import Any

import msgspec

from gateway.protocol.training_examples import Kind, Source

_canonical = msgspec.json.Encoder(order="deterministic").encode


class NewExample(msgspec.Struct, frozen=True, kw_only=True):
    """One that is to be written; its line was checked."""

    line: dict[str, Any]
    kind: Kind
    source: Source
    exchange_id: str | None = None
    file_id: str | None = None

    @property
    def sha256(self) -> str:
        return digest(self.line)


def digest(line: dict[str, Any]) -> str:
    """Of the line in canonical JSON: the order of keys and spaces make no difference."""
    return hashlib.sha256(_canonical(line)).hexdigest()
